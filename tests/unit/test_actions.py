"""The registry of actions: what a handler may look like, and what its data is checked against."""

import asyncio
import functools
import sys
from collections.abc import Callable, Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Annotated, Any

import pytest
from pydantic import BaseModel, Field, ValidationError

from taskqueue import Backoff, Reject, Retry, Snooze, TaskContext, action
from taskqueue.actions import HandlersError, describe_actions, find_action, load_handlers, registry
from taskqueue.contract.requests import SubmitBody

CONTEXT = TaskContext("1", "act", 2)


@pytest.fixture(autouse=True)
def empty_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "ACTIONS", {})


@pytest.fixture
def write_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str, str], None]]:
    """Writes an importable module, and forgets it afterwards."""
    monkeypatch.syspath_prepend(tmp_path)
    before = set(sys.modules)

    def write(name: str, text: str) -> None:
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("from taskqueue import action\n" + text)

    yield write
    for module in set(sys.modules) - before:
        del sys.modules[module]


def call(name: str, data: str) -> Any:
    found = find_action(name)
    assert found is not None
    return found.bind(data, CONTEXT)()


def refused(name: str, data: str) -> str:
    found = find_action(name)
    assert found is not None
    with pytest.raises(ValidationError) as caught:
        found.bind(data, CONTEXT)
    return str(caught.value)


# Which handler an action has


def test_a_function_is_registered_under_its_name() -> None:
    @action
    def greet() -> dict[str, Any]:
        return {"output": "hello"}

    assert call("greet", "{}") == {"output": "hello"}
    assert greet() == {"output": "hello"}  # the function stays what it was


def test_a_function_is_registered_under_the_name_given() -> None:
    @action("sum")
    def total() -> dict[str, Any]:
        return {}

    assert find_action("sum") is not None
    assert find_action("total") is None


def test_an_action_without_a_handler_of_its_own_takes_the_fallback() -> None:
    @action("*")
    def others() -> dict[str, Any]:
        return {"by": "others"}

    @action
    def known() -> dict[str, Any]:
        return {"by": "known"}

    assert call("whatever", "{}") == {"by": "others"}
    assert call("known", "{}") == {"by": "known"}


def test_without_a_fallback_an_unknown_action_has_no_handler() -> None:
    assert find_action("whatever") is None


def test_a_name_can_be_taken_once_only() -> None:
    @action("same")
    def one() -> dict[str, Any]:
        return {}

    with pytest.raises(HandlersError, match=r"'same' is registered twice, by .*one.* and .*two"):

        @action("same")
        def two() -> dict[str, Any]:
            return {}


@pytest.mark.parametrize("is_async", [True, False])
def test_def_and_async_def_are_told_apart(is_async: bool) -> None:
    async def on_the_loop() -> dict[str, Any]:
        return {}

    def in_a_thread() -> dict[str, Any]:
        return {}

    action("act")(on_the_loop if is_async else in_a_thread)
    found = find_action("act")
    assert found is not None
    assert found.is_async is is_async


class Greeter:
    """Handlers with a state of their own."""

    def __init__(self, greeting: str) -> None:
        self.greeting = greeting

    async def __call__(self, name: "str") -> dict[str, Any]:
        return {"output": f"{self.greeting} {name}"}

    def now(self, name: str, mark: str) -> dict[str, Any]:
        return {"output": f"{self.greeting} {name}{mark}"}


@pytest.mark.parametrize(
    ("handler", "is_async"),
    [
        (Greeter("hello"), True),
        (Greeter("hello").__call__, True),
        (functools.partial(functools.partial(Greeter("hello")), name="you"), True),
        (functools.partial(Greeter("hello").now, mark="!"), False),
    ],
    ids=["an object", "its method", "a partial of a partial of it", "a partial of a plain method"],
)
def test_whatever_can_be_called_is_a_handler(handler: Callable[..., Any], is_async: bool) -> None:
    action("act")(handler)
    found = find_action("act")
    assert found is not None
    assert found.is_async is is_async
    result = call("act", '{"name": "world"}')
    if is_async:
        assert asyncio.run(result) == {"output": "hello world"}
    else:
        assert result == {"output": "hello world!"}
    assert "valid string" in refused("act", '{"name": 5}')


@pytest.mark.parametrize("handler", [Greeter("hello"), functools.partial(Greeter("hello").now, mark="!")])
def test_what_has_no_name_needs_one(handler: Callable[..., Any]) -> None:
    with pytest.raises(HandlersError, match="no name"):
        action(handler)


# Where it runs


async def on_the_loop() -> dict[str, Any]:
    return {}


def in_a_thread() -> dict[str, Any]:
    return {}


@pytest.mark.parametrize(
    ("handler", "executor", "runs"),
    [
        (on_the_loop, None, "async"),
        (on_the_loop, "async", "async"),
        (on_the_loop, "process", "process"),
        (in_a_thread, None, "thread"),
        (in_a_thread, "thread", "thread"),
        (in_a_thread, "process", "process"),
    ],
)
def test_a_handler_runs_where_it_usually_does_or_in_a_process(
    handler: Callable[..., Any], executor: Any, runs: str
) -> None:
    action("act", executor=executor)(handler)
    found = find_action("act")
    assert found is not None
    assert found.executor == runs


@pytest.mark.parametrize(
    ("handler", "executor", "told"),
    [
        (on_the_loop, "thread", "'act'.*executor.*not 'thread'"),
        (in_a_thread, "async", "'act'.*executor.*not 'async'"),
        (in_a_thread, "fiber", "'act'.*executor.*should be 'async', 'thread' or 'process'"),
    ],
)
def test_a_handler_that_cannot_run_there_is_refused(handler: Callable[..., Any], executor: Any, told: str) -> None:
    with pytest.raises(HandlersError, match=told):
        action("act", executor=executor)(handler)
    assert find_action("act") is None


def test_with_an_executor_alone_it_has_the_name_of_its_function() -> None:
    @action(executor="process")
    def crunch() -> dict[str, Any]:
        return {}

    assert find_action("crunch") is not None


# What its data must be


def test_the_members_of_data_are_the_keyword_arguments() -> None:
    @action
    def act(a: int, b: str = "default", *, c: list[int] | None = None) -> dict[str, Any]:
        return {"a": a, "b": b, "c": c}

    assert call("act", '{"a": 1}') == {"a": 1, "b": "default", "c": None}
    assert call("act", '{"a": 1, "b": "x", "c": [2]}') == {"a": 1, "b": "x", "c": [2]}


@pytest.mark.parametrize(
    ("data", "why"),
    [
        ("{}", "required"),
        ('{"number": "1"}', "valid integer"),
        ('{"number": 1.0}', "valid integer"),
        ('{"number": true}', "valid integer"),
        ('{"number": null}', "valid integer"),
        ('{"number": 1, "more": 2}', "(?s)more.*not permitted"),
    ],
)
def test_data_is_checked_strictly(data: str, why: str) -> None:
    @action
    def act(number: int) -> dict[str, Any]:
        return {"number": number}

    with pytest.raises(ValidationError, match=why):
        find_action("act").bind(data, CONTEXT)  # type: ignore[union-attr]


def test_json_has_no_dates_and_no_models_so_their_json_form_is_taken() -> None:
    class Point(BaseModel):
        x: int
        y: int

    @action
    def act(point: Point, size: Annotated[int, Field(gt=0)]) -> dict[str, Any]:
        return {"sum": point.x + point.y + size}

    assert call("act", '{"point": {"x": 1, "y": 2}, "size": 3}') == {"sum": 6}
    assert "greater than 0" in refused("act", '{"point": {"x": 1, "y": 2}, "size": 0}')
    assert "point.y" in refused("act", '{"point": {"x": 1}, "size": 1}')


def test_a_handler_of_any_data_takes_it_all() -> None:
    @action
    def act(known: int, **rest: Any) -> dict[str, Any]:
        return {"known": known, "rest": rest}

    assert call("act", '{"known": 1, "b": [2], "c": null}') == {"known": 1, "rest": {"b": [2], "c": None}}


def test_a_parameter_without_an_annotation_takes_anything() -> None:
    @action
    def act(x):  # type: ignore[no-untyped-def]
        return {"x": x}

    assert call("act", '{"x": [1, "a", null]}') == {"x": [1, "a", None]}


def test_annotations_may_be_texts() -> None:
    def act(number: "int", context: "TaskContext") -> "dict[str, Any]":
        return {"number": number, "id": context.id}

    action(act)
    assert call("act", '{"number": 1}') == {"number": 1, "id": "1"}


def test_the_task_is_told_to_a_parameter_of_type_task_context() -> None:
    @action
    def act(text: str, task: TaskContext) -> dict[str, Any]:
        return {"text": text, "id": task.id, "action": task.action, "attempt": task.attempt}

    assert call("act", '{"text": "a"}') == {"text": "a", "id": "1", "action": "act", "attempt": 2}


def test_a_client_cannot_send_the_task_context() -> None:
    @action
    def strict(task: TaskContext) -> dict[str, Any]:
        return {"id": task.id}

    @action
    def open_to_all(task: TaskContext, **data: Any) -> dict[str, Any]:
        return {"id": task.id, "data": data}

    assert "task" in refused("strict", '{"task": {"id": "forged"}}')
    assert call("open_to_all", '{"task": {"id": "forged"}, "a": 1}') == {"id": "1", "data": {"a": 1}}


def test_parameters_that_cannot_be_passed_by_name_are_refused_at_once() -> None:
    with pytest.raises(HandlersError, match="'args' can't be passed by name"):

        @action
        def variadic(*args: int) -> dict[str, Any]:
            return {}

    with pytest.raises(HandlersError, match="'x' can't be passed by name"):

        @action
        def positional(x: int, /) -> dict[str, Any]:
            return {}


def test_parameters_that_json_cannot_fill_are_refused_at_once() -> None:
    class NotForPydantic:
        pass

    with pytest.raises(HandlersError, match="'act'"):

        @action
        def act(x: NotForPydantic) -> dict[str, Any]:
            return {}


def test_the_arguments_have_a_json_schema() -> None:
    @action
    def act(text: str, times: int = 1) -> dict[str, Any]:
        return {}

    schema = find_action("act").arguments.json_schema()  # type: ignore[union-attr]
    assert schema["properties"]["text"]["type"] == "string"
    assert schema["required"] == ["text"]
    assert schema["additionalProperties"] is False


# What it says of its tasks


def test_an_action_tells_the_defaults_of_its_tasks() -> None:
    @action(timeout=30, max_attempts=5, priority="high", retry=Backoff(first=5, jitter=False))
    def resize() -> None: ...

    @action(name="other", validate="lax")
    def some_name() -> None: ...

    @action()
    def plain() -> None: ...

    assert {told["name"]: told["defaults"] for told in describe_actions()} == {
        "resize": {
            "timeout": 30,
            "max_attempts": 5,
            "priority": "high",
            "retry": {"first": 5, "factor": 2, "most": 600, "jitter": False},
        },
        "other": {"validate": "lax"},
        "plain": {},
    }


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"timeout": 0}, "timeout: "),
        ({"timeout": 23 * 3600 + 1}, "timeout: "),
        ({"timeout": "5"}, "timeout: "),
        ({"max_attempts": 0}, "max_attempts: "),
        ({"max_attempts": 101}, "max_attempts: "),
        ({"priority": "urgent"}, "priority: "),
        ({"retry": 5}, "retry: "),
        ({"validate": True}, "validate: "),
        ({"tiemout": 5}, "tiemout: "),
    ],
    ids=str,
)
def test_an_option_that_is_no_good_is_refused_at_once_in_a_line(options: Any, why: str) -> None:
    with pytest.raises(HandlersError, match=rf"^action 'act': {why}[^\n]*$"):

        @action("act", **options)
        def act() -> None: ...

    assert describe_actions() == []


def test_a_submission_without_a_priority_takes_its_actions() -> None:
    defaults = {"priority": "high", "timeout": 5}
    unsaid, said = SubmitBody(action="act"), SubmitBody(action="act", priority="normal")
    assert (unsaid.with_defaults(defaults).priority, unsaid.with_defaults({}).priority) == ("high", "normal")
    assert said.with_defaults(defaults) is said


def test_lax_data_is_converted_as_pydantic_does() -> None:
    @action(validate="lax")
    def act(number: int, when: date) -> list[Any]:
        return [number, when]

    assert call("act", '{"number": "5", "when": "2027-01-02"}') == [5, date(2027, 1, 2)]
    assert "valid integer" in refused("act", '{"number": "five", "when": "2027-01-02"}')
    assert "not permitted" in refused("act", '{"number": 5, "when": "2027-01-02", "more": 1}')


def test_unchecked_data_is_handed_over_as_it_is_by_name() -> None:
    @action(validate=False)
    def act(number: int, size: int = 2) -> list[Any]:
        return [number, size]

    assert call("act", '{"number": "five"}') == ["five", 2]
    assert "required" in refused("act", "{}")
    assert "not permitted" in refused("act", '{"number": 5, "more": 1}')


# Where handlers come from


def test_modules_and_all_modules_of_packages_are_imported(write_module: Callable[[str, str], None]) -> None:
    write_module("single.py", "@action\ndef one(): ...\n")
    write_module("many/__init__.py", "@action\ndef two(): ...\n")
    write_module("many/inner.py", "@action\ndef three(): ...\n")
    write_module("many/deeper/__init__.py", "")
    write_module("many/deeper/still.py", "@action\ndef four(): ...\n")
    assert load_handlers(" single , many,") == ["four", "one", "three", "two"]


def test_no_modules_are_no_handlers() -> None:
    assert load_handlers("") == []


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("import no_such_module_at_all", "ModuleNotFoundError: No module named 'no_such_module_at_all'"),
        ("def broken(:", "SyntaxError"),
        ("1 / 0", "ZeroDivisionError"),
        ("raise SystemExit(3)", "SystemExit"),
        ("@action\ndef act(x: NoSuchName): ...", "NoSuchName"),
        ("@action\ndef act(*x: int): ...", "'x' can't be passed by name"),
        ("@action\ndef same(): ...\n@action('same')\ndef other(): ...", "registered twice"),
    ],
    ids=["import", "syntax", "error", "exit", "annotation", "parameter", "duplicate"],
)
def test_handlers_that_cannot_be_imported_are_told_with_the_cause(
    write_module: Callable[[str, str], None], text: str, why: str
) -> None:
    write_module("pack/__init__.py", "")
    write_module("pack/broken.py", text)
    with pytest.raises(HandlersError, match=why):
        load_handlers("pack")


def test_a_missing_module_is_told_by_name() -> None:
    with pytest.raises(HandlersError, match="handlers 'no_such_handlers' can't be imported"):
        load_handlers("no_such_handlers")


# What is told of the actions


def test_the_actions_are_described_by_what_they_take() -> None:
    @action
    def greet(name: str, times: Annotated[int, Field(le=9)] = 1) -> dict[str, Any]:
        return {}

    @action("*")
    def others(**data: Any) -> dict[str, Any]:
        return {}

    fallback, described = describe_actions()
    assert (fallback["name"], described["name"]) == ("*", "greet")
    assert described["arguments"]["required"] == ["name"]
    assert described["arguments"]["properties"]["times"]["maximum"] == 9
    assert described["arguments"]["additionalProperties"] is False


def test_arguments_that_no_schema_describes_hinder_nobody() -> None:
    @action
    def odd(value: int, then: Callable[[], Any] = list) -> dict[str, Any]:
        return {"output": value, "then": then()}

    [described] = describe_actions()
    assert described["arguments"] == {}
    assert call("odd", '{"value": 1}') == {"output": 1, "then": []}


# What a handler may raise


@pytest.mark.parametrize("after", [0, 1, 2.5, 86_400, None])
def test_retry_takes_seconds(after: float | None) -> None:
    assert Retry(after=after).after == after
    assert Retry("why", after=after).args == ("why",)


@pytest.mark.parametrize("after", [-1, float("nan"), float("inf"), 1e30])
def test_retry_refuses_what_is_no_time_to_wait(after: float) -> None:
    with pytest.raises(ValueError, match="after"):
        Retry(after=after)


@pytest.mark.parametrize("after", ["5", [1], timedelta(seconds=5)])
def test_retry_refuses_what_is_no_number(after: Any) -> None:
    with pytest.raises(TypeError):
        Retry(after=after)


@pytest.mark.parametrize("seconds", [-1, float("nan"), float("inf"), 1e30])
def test_snooze_refuses_what_is_no_time_to_wait(seconds: float) -> None:
    assert Snooze(2.5).seconds == 2.5
    with pytest.raises(ValueError, match="seconds"):
        Snooze(seconds)


def test_reject_takes_its_reason() -> None:
    assert str(Reject("no such customer")) == "no such customer"
