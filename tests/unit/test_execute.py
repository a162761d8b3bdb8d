"""One attempt: what becomes of a handler that returns, raises, takes too long or is told to stop."""

import asyncio
import contextlib
import contextvars
import gc
import json
import threading
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Annotated, Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import AfterValidator, BaseModel

from taskqueue import Reject, Retry, Snooze, TaskContext, action
from taskqueue.actions import registry
from taskqueue.contract.limits import MAX_DEPTH, MAX_VALUES
from taskqueue.message import Message, encode
from taskqueue.settings import Settings
from taskqueue.task import Claim, Outcome
from taskqueue_worker import execute
from taskqueue_worker.execute import Ending, Run, _check_result

#: Seconds after which a test gives up waiting for something that should happen.
PATIENCE = 20

#: Any JSON that results may be.
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@pytest.fixture(autouse=True)
def empty_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "ACTIONS", {})


@pytest.fixture
def short_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(execute, "GRACE", 0.05)


@pytest.fixture
def let_go() -> Iterator[threading.Event]:
    """Set at the end, so that no thread of a test outlives it."""
    event = threading.Event()
    yield event
    event.set()


def claimed(data: dict[str, Any] | None = None, *, timeout: int | None = None, **settings: Any) -> Run:
    """The run of a claimed task of the action `act`; `timeout` is in milliseconds."""
    payload = encode(Message("7", "act", data or {}, 0))
    claim = Claim(
        seq=1,
        id="7",
        attempt=1,
        worker="worker",
        action="act",
        payload=payload,
        failures=0,
        max_attempts=3,
        timeout=timeout,
        started_at=0,
    )
    return Run(claim, Settings(**settings))


async def ending_of(run: Run) -> Ending:
    async with asyncio.timeout(PATIENCE):
        return await run.ending()


def error_of(ending: Ending) -> dict[str, Any]:
    assert ending.result is None
    assert ending.error is not None
    error: dict[str, Any] = json.loads(ending.error)
    return error


@pytest.fixture(params=["async def", "def"])
def act(request: pytest.FixtureRequest) -> Callable[[Callable[..., Any]], None]:
    """Registers a function as the action `act`: as it is, or as an `async def` handler."""

    def register(function: Callable[..., Any]) -> None:
        if request.param == "def":
            action("act")(function)
            return

        async def handler(**data: Any) -> Any:
            return function(**data)

        action("act")(handler)

    return register


# A handler that returns


async def test_an_async_handler_runs_on_the_loop() -> None:
    loop = asyncio.get_running_loop()

    @action("act")
    async def handler(n: int) -> dict[str, Any]:
        assert asyncio.get_running_loop() is loop
        await asyncio.sleep(0)
        return {"output": n + 1}

    assert await ending_of(claimed({"n": 1})) == Ending(Outcome.OK, result='{"output":2}')


async def test_a_plain_handler_runs_in_a_thread_of_its_own() -> None:
    threads: list[threading.Thread] = []

    @action("act")
    def handler(n: int) -> dict[str, Any]:
        threads.append(threading.current_thread())
        return {"output": n + 1}

    assert await ending_of(claimed({"n": 1})) == Ending(Outcome.OK, result='{"output":2}')
    assert threads[0] is not threading.main_thread()
    assert threads[0].daemon  # a hung one never delays the worker's exit
    assert threads[0].name == "task-7"


async def test_a_thread_sees_the_context_variables_of_its_starter() -> None:
    variable = contextvars.ContextVar("variable", default="unset")

    @action("act")
    def handler() -> dict[str, Any]:
        return {"output": variable.get()}

    variable.set("set")
    assert (await ending_of(claimed())).result == '{"output":"set"}'


async def test_what_a_plain_handler_returns_to_be_awaited_is_awaited_on_the_loop() -> None:
    loop = asyncio.get_running_loop()

    async def later(n: int) -> dict[str, Any]:
        assert asyncio.get_running_loop() is loop
        await asyncio.sleep(0)
        return {"output": n + 1}

    @action("act")
    def handler(n: int) -> Awaitable[dict[str, Any]]:
        assert threading.current_thread() is not threading.main_thread()
        return later(n)

    assert await ending_of(claimed({"n": 1})) == Ending(Outcome.OK, result='{"output":2}')


async def test_what_is_awaited_may_fail_as_any_handler() -> None:
    async def later() -> dict[str, Any]:
        raise SystemExit

    @action("act")
    def handler() -> Awaitable[dict[str, Any]]:
        return later()

    ending = await ending_of(claimed())
    assert error_of(ending)["message"] == "the handler raised SystemExit"


async def test_a_blocking_thread_does_not_block_the_loop(let_go: threading.Event) -> None:
    @action("act")
    def handler() -> dict[str, Any]:
        let_go.wait(PATIENCE)
        return {}

    running = asyncio.create_task(ending_of(claimed()))
    await asyncio.sleep(0)
    let_go.set()
    assert (await running).outcome is Outcome.OK


async def test_a_handler_is_told_its_task() -> None:
    @action("act")
    async def handler(task: TaskContext) -> dict[str, Any]:
        return {"id": task.id, "action": task.action, "attempt": task.attempt, "cancelled": task.cancelled}

    assert (await ending_of(claimed())).result == '{"id":"7","action":"act","attempt":1,"cancelled":false}'


async def test_a_handler_is_told_how_its_task_stands() -> None:
    told: list[TaskContext] = []

    @action("act")
    async def handler(task: TaskContext) -> None:
        told.append(task)

    run = claimed(timeout=1500)
    run.claim = replace(run.claim, attempt=4, failures=2, tags=("a", "b"), request_id="r", waited=250)
    await ending_of(Run(run.claim, Settings()))
    [task] = told
    assert (task.attempt, task.failures, task.max_attempts) == (4, 2, 3)
    assert (task.tags, task.request_id, task.queued_for, task.deadline) == (("a", "b"), "r", 0.25, 1.5)


async def test_a_result_keeps_its_letters(act: Callable[..., None]) -> None:
    act(lambda: {"output": "žluťoučký 🐎"})
    assert (await ending_of(claimed())).result == '{"output":"žluťoučký 🐎"}'


async def test_simulated_work_is_added_to_each_task(act: Callable[..., None]) -> None:
    act(lambda: {"output": 1})
    loop = asyncio.get_running_loop()
    started = loop.time()
    assert (await ending_of(claimed(simulated_work=0.05))).outcome is Outcome.OK
    assert loop.time() - started >= 0.05


# A handler that raises


async def test_an_error_is_told_with_its_type_message_and_traceback(act: Callable[..., None]) -> None:
    def handler() -> dict[str, Any]:
        raise LookupError("no such customer")

    act(handler)
    ending = await ending_of(claimed())
    assert ending.outcome is Outcome.ERROR
    assert not ending.final
    assert ending.after is None
    error = error_of(ending)
    assert (error["type"], error["message"]) == ("LookupError", "no such customer")
    assert "in handler" in error["traceback"]
    assert "no such customer" in error["traceback"]


async def test_a_long_error_is_cut(act: Callable[..., None]) -> None:
    def handler() -> dict[str, Any]:
        raise ValueError("x" * 1_000_000)

    act(handler)
    ending = await ending_of(claimed())
    assert len(ending.error or "") < 20_000
    assert error_of(ending)["message"].startswith("xxx")


async def test_an_error_may_hold_any_text(act: Callable[..., None]) -> None:
    def handler() -> dict[str, Any]:
        raise ValueError("half a pair \ud800 and a null \0")

    act(handler)
    ending = await ending_of(claimed())
    assert ending.error is not None
    ending.error.encode()
    assert error_of(ending)["message"] == "half a pair \ud800 and a null \0"


async def test_an_error_that_cannot_be_printed_is_an_error_all_the_same(act: Callable[..., None]) -> None:
    class UnprintableError(Exception):
        def __str__(self) -> str:
            raise RuntimeError("not me")

    def handler() -> dict[str, Any]:
        raise UnprintableError

    act(handler)
    ending = await ending_of(claimed())
    assert ending.outcome is Outcome.ERROR
    assert error_of(ending)["type"] == "UnprintableError"


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt, GeneratorExit])
async def test_what_would_end_a_process_is_the_handlers_failure(
    act: Callable[..., None], kind: type[BaseException]
) -> None:
    def handler() -> dict[str, Any]:
        raise kind(3)

    act(handler)
    ending = await ending_of(claimed())
    assert ending.outcome is Outcome.ERROR
    assert kind.__name__ in (ending.error or "")


async def test_an_iterator_that_ran_dry_is_an_error_like_any(act: Callable[..., None]) -> None:
    def handler() -> dict[str, Any]:
        empty: Iterator[dict[str, Any]] = iter(())
        return next(empty)

    act(handler)
    ending = await ending_of(claimed())
    assert ending.outcome is Outcome.ERROR
    assert "StopIteration" in (ending.error or "")


async def test_a_handler_may_ask_to_be_tried_again_later(act: Callable[..., None]) -> None:
    def handler() -> dict[str, Any]:
        raise Retry("rate limit", after=30)

    act(handler)
    ending = await ending_of(claimed())
    assert (ending.outcome, ending.after, ending.final) == (Outcome.ERROR, 30, False)
    assert error_of(ending)["message"] == "rate limit"


async def test_a_handler_may_ask_to_be_tried_again_with_the_usual_backoff(act: Callable[..., None]) -> None:
    def handler() -> dict[str, Any]:
        raise Retry

    act(handler)
    ending = await ending_of(claimed())
    assert (ending.outcome, ending.after, ending.final) == (Outcome.ERROR, None, False)


async def test_a_handler_may_ask_to_be_called_again_at_no_cost(act: Callable[..., None]) -> None:
    def handler() -> None:
        raise Snooze(60)

    act(handler)
    assert await ending_of(claimed()) == Ending(Outcome.SNOOZED, after=60)


async def test_a_handler_may_ask_never_to_be_tried_again(act: Callable[..., None]) -> None:
    def handler() -> dict[str, Any]:
        raise Reject("gone for good")

    act(handler)
    ending = await ending_of(claimed())
    assert (ending.outcome, ending.final) == (Outcome.ERROR, True)
    assert error_of(ending)["message"] == "gone for good"


async def test_a_handler_that_cancels_itself_has_failed() -> None:
    @action("act")
    async def handler() -> dict[str, Any]:
        raise asyncio.CancelledError

    ending = await ending_of(claimed())
    assert ending.outcome is Outcome.ERROR
    assert error_of(ending)["type"] == "CancelledError"


# Data and results that are no good: trying again would not help


async def test_an_action_without_a_handler_fails_for_good() -> None:
    ending = await ending_of(claimed())
    assert (ending.outcome, ending.final) == (Outcome.ERROR, True)
    assert "'act'" in error_of(ending)["message"]


async def test_data_that_does_not_fit_fails_for_good_and_all_errors_are_told() -> None:
    @action("act")
    async def handler(n: int, m: list[int]) -> dict[str, Any]:
        raise AssertionError("must not run")

    ending = await ending_of(claimed({"n": "1", "m": [1, "x"]}))
    assert (ending.outcome, ending.final) == (Outcome.ERROR, True)
    error = error_of(ending)
    assert error["type"] == "InvalidArguments"
    assert "n: " in error["message"]
    assert "m.1: " in error["message"]


async def test_a_validator_that_crashes_fails_the_task_and_nothing_else() -> None:
    def crash(value: int) -> int:
        raise LookupError(f"no row {value}")

    @action("act")
    async def handler(n: Annotated[int, AfterValidator(crash)]) -> dict[str, Any]:
        raise AssertionError("must not run")

    ending = await ending_of(claimed({"n": 1}))
    assert ending.outcome is Outcome.ERROR
    assert error_of(ending)["type"] == "LookupError"


@dataclass
class Box:
    width: float


class Point(BaseModel):
    x: int
    at: datetime


@pytest.mark.parametrize(
    ("result", "json"),
    [
        (None, "null"),
        (True, "true"),
        (6.5, "6.5"),
        ("text", '"text"'),
        ([1, "a", None], '[1,"a",null]'),
        ((1, 2), "[1,2]"),
        (Point(x=1, at=datetime(2027, 1, 2, tzinfo=UTC)), '{"x":1,"at":"2027-01-02T00:00:00Z"}'),
        ({"boxes": [Box(2.5)]}, '{"boxes":[{"width":2.5}]}'),
        (datetime(2027, 1, 2, 3, 4, 5, tzinfo=UTC), '"2027-01-02T03:04:05Z"'),
        (timedelta(minutes=5), '"PT5M"'),
        (Decimal("1.50"), '"1.50"'),
        (UUID(int=7), '"00000000-0000-0000-0000-000000000007"'),
        (Outcome.OK, '"ok"'),
    ],
    ids=[
        "nothing", "a truth", "a number", "a text", "a list", "a tuple", "a model", "dataclasses within",
        "a time", "a span", "a decimal", "a UUID", "a member of an enum",
    ],
)  # fmt: skip
async def test_a_result_is_whatever_json_holds_or_pydantic_can_dump(
    act: Callable[..., None], result: Any, json: str
) -> None:
    act(lambda: result)
    assert await ending_of(claimed()) == Ending(Outcome.OK, result=json)


@given(value=JSON)
async def test_json_comes_back_as_it_was(value: Any) -> None:
    ending = await _check_result(value, 10**9)
    assert json.loads(ending.result or "") == value


class _Shrinking(dict[str, Any]):
    """As if another thread changed it meanwhile."""

    def items(self) -> Any:
        raise RuntimeError("dictionary changed size during iteration")


def _nested() -> dict[str, Any]:
    value: dict[str, Any] = {}
    for _ in range(100_000):
        value = {"x": value}
    return value


def _endless() -> dict[str, Any]:
    value: dict[str, Any] = {}
    value["self"] = value
    return value


@pytest.mark.parametrize(
    ("result", "why"),
    [
        (float("nan"), "not JSON"),
        ({"x": float("nan")}, "not JSON"),
        ({"x": float("inf")}, "not JSON"),
        (Box(float("nan")), "not JSON"),
        ({"x": object()}, "Unable to serialize unknown type"),
        ({"x": b"bytes"}, "bytes has no JSON form"),
        ({1, 2}, "set has no JSON form"),
        ([frozenset()], "frozenset has no JSON form"),
        ((n for n in range(3)), "generator has no JSON form"),
        ({("a", 1): 1}, "not JSON"),
        ({"x": "\ud800"}, "surrogates not allowed"),
        ({"x": 10**5000}, "not JSON"),
        (_endless(), "not JSON"),
        (_Shrinking(x=1), "not JSON: dictionary changed size"),
    ],
    ids=[
        "nan",
        "nan in it",
        "infinity",
        "nan in a dataclass",
        "object",
        "bytes",
        "set",
        "frozen set",
        "generator",
        "tuple as a name",
        "half a pair",
        "huge number",
        "circle",
        "changing",
    ],
)
async def test_a_result_that_is_no_json_fails_for_good(act: Callable[..., None], result: Any, why: str) -> None:
    act(lambda: result)
    ending = await ending_of(claimed())
    assert (ending.outcome, ending.final) == (Outcome.ERROR, True)
    assert error_of(ending)["type"] == "InvalidResult"
    assert why in error_of(ending)["message"]


async def test_a_result_nested_too_deeply_fails_for_good(act: Callable[..., None]) -> None:
    nested = _nested()
    act(lambda: nested)
    ending = await ending_of(claimed())
    assert (ending.outcome, ending.final) == (Outcome.ERROR, True)
    assert "not JSON" in error_of(ending)["message"]
    while nested:  # Taken apart by hand: freeing it at once would recurse as deeply.
        nested = nested.pop("x")


async def test_a_result_may_have_the_largest_size_and_no_byte_more(act: Callable[..., None]) -> None:
    act(lambda: {"x": "éé"})  # {"x":"éé"} is 12 bytes of UTF-8
    assert (await ending_of(claimed(max_result_bytes=12))).outcome is Outcome.OK
    ending = await ending_of(claimed(max_result_bytes=11))
    assert (ending.outcome, ending.final) == (Outcome.ERROR, True)
    assert error_of(ending)["type"] == "ResultTooLarge"
    assert "12 bytes" in error_of(ending)["message"]


@pytest.mark.parametrize(
    ("result", "error", "why"),
    [
        ({"x": [0] * MAX_VALUES}, "ResultTooLarge", f"more than {MAX_VALUES} JSON values"),
        ({"x": json.loads("[" * MAX_DEPTH + "]" * MAX_DEPTH)}, "InvalidResult", f"{MAX_DEPTH} levels"),
        ({"text": "x" * 70_000, "x": json.loads("[" * 500 + "]" * 500)}, "InvalidResult", f"{MAX_DEPTH} levels"),
    ],
    ids=["too many values", "too deep", "large, and too deep"],
)
async def test_a_result_is_bounded_as_requests_are(
    act: Callable[..., None], result: dict[str, Any], error: str, why: str
) -> None:
    act(lambda: result)
    ending = await ending_of(claimed())
    assert (ending.outcome, ending.final, error_of(ending)["type"]) == (Outcome.ERROR, True, error)
    assert why in error_of(ending)["message"]


async def test_a_result_may_have_as_much_as_a_request(act: Callable[..., None]) -> None:
    result = {
        "x": [0] * (MAX_VALUES - MAX_DEPTH - 10),
        "y": json.loads("[" * (MAX_DEPTH - 1) + "]" * (MAX_DEPTH - 1)),
    }
    act(lambda: result)
    assert json.loads((await ending_of(claimed())).result or "") == result


# Out of time


async def test_an_async_handler_out_of_time_is_cancelled_and_cleans_up() -> None:
    cleaned = asyncio.Event()

    @action("act")
    async def handler() -> dict[str, Any]:
        try:
            await asyncio.sleep(PATIENCE)
        finally:
            await asyncio.sleep(0)  # cleaning up may wait for something
            cleaned.set()
        return {}

    ending = await ending_of(claimed(timeout=20))
    assert (ending.outcome, ending.final, ending.after) == (Outcome.TIMEOUT, False, None)
    assert "longer than 0.02 s" in error_of(ending)["message"]
    assert cleaned.is_set()


async def test_the_timeout_is_the_tasks_own_or_its_actions_or_else_the_settings() -> None:
    assert claimed(timeout=1500, task_timeout=9).timeout == 1.5
    assert claimed(timeout=None, task_timeout=9).timeout == 9
    action("act", timeout=2)(lambda: None)
    assert claimed(timeout=1500, task_timeout=9).timeout == 1.5
    assert claimed(timeout=None, task_timeout=9).timeout == 2


async def test_simulated_work_counts_towards_the_timeout() -> None:
    @action("act")
    async def handler() -> dict[str, Any]:
        raise AssertionError("must not run")

    assert (await ending_of(claimed(timeout=20, simulated_work=PATIENCE))).outcome is Outcome.TIMEOUT


@pytest.mark.usefixtures("short_grace")
async def test_an_async_handler_that_swallows_its_cancellation_is_abandoned_after_the_grace() -> None:
    go_on = asyncio.Event()
    tasks: list[asyncio.Task[Any] | None] = []

    @action("act")
    async def handler() -> dict[str, Any]:
        tasks.append(asyncio.current_task())
        while not go_on.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await go_on.wait()
        return {}

    run = claimed(timeout=20)
    ending = await ending_of(run)
    assert ending.outcome is Outcome.TIMEOUT
    assert run.left_running is not None
    [task] = tasks
    assert task is not None
    assert not task.done()
    go_on.set()
    await task


async def test_a_thread_out_of_time_is_abandoned_and_told_of(let_go: threading.Event) -> None:
    seen = threading.Event()

    @action("act")
    def handler(task: TaskContext) -> dict[str, Any]:
        let_go.wait(PATIENCE)
        if task.cancelled:
            seen.set()
        return {}

    run = claimed(timeout=20)
    ending = await ending_of(run)
    assert (ending.outcome, ending.final) == (Outcome.TIMEOUT, False)
    thread = run.left_running
    assert thread is not None
    let_go.set()
    async with asyncio.timeout(PATIENCE):
        await asyncio.wait({thread})
    assert seen.is_set()
    assert run.left_running is None


async def test_the_late_error_of_an_abandoned_thread_is_nobodys(let_go: threading.Event) -> None:
    @action("act")
    def handler() -> dict[str, Any]:
        let_go.wait(PATIENCE)
        raise SystemExit

    run = claimed(timeout=20)
    assert (await ending_of(run)).outcome is Outcome.TIMEOUT
    thread = run.left_running
    assert thread is not None
    let_go.set()
    await asyncio.wait({thread}, timeout=PATIENCE)
    assert run.left_running is None
    told: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
    del run, thread
    gc.collect()
    assert not told


async def test_no_thread_is_abandoned_by_a_handler_that_ended(act: Callable[..., None]) -> None:
    act(lambda: {"output": 1})
    run = claimed()
    assert run.left_running is None
    await ending_of(run)
    assert run.left_running is None


# Told to stop


async def interrupted(run: Run, started: asyncio.Event, *outcomes: Outcome) -> Ending:
    """Run it, and interrupt it once it has started."""
    ending = asyncio.create_task(ending_of(run))
    async with asyncio.timeout(PATIENCE):
        await started.wait()
    for outcome in outcomes:
        run.interrupt(outcome)
    return await ending


@pytest.mark.parametrize(("outcome", "final"), [(Outcome.CANCELLED, True), (Outcome.SHUTDOWN, False)])
async def test_an_async_handler_is_cancelled_and_cleans_up(outcome: Outcome, final: bool) -> None:
    started, cleaned = asyncio.Event(), asyncio.Event()

    @action("act")
    async def handler() -> dict[str, Any]:
        started.set()
        try:
            await asyncio.sleep(PATIENCE)
        finally:
            cleaned.set()
        return {}

    ending = await interrupted(claimed(), started, outcome)
    assert (ending.outcome, ending.final) == (outcome, final)
    assert cleaned.is_set()


async def test_a_handler_that_cleans_up_is_not_cancelled_a_second_time() -> None:
    started, cleaning, finish = asyncio.Event(), asyncio.Event(), asyncio.Event()
    cleaned: list[str] = []

    @action("act")
    async def handler() -> dict[str, Any]:
        started.set()
        try:
            await asyncio.sleep(PATIENCE)
        finally:
            cleaning.set()
            await finish.wait()
            cleaned.append("to the end")
        return {}

    run = claimed()
    ending = asyncio.create_task(interrupted(run, started, Outcome.CANCELLED))
    async with asyncio.timeout(PATIENCE):
        await cleaning.wait()
    # Each heartbeat brings the client's wish again, and the worker may be stopped meanwhile.
    run.interrupt(Outcome.CANCELLED)
    run.interrupt(Outcome.SHUTDOWN)
    await asyncio.sleep(0)
    finish.set()
    assert (await ending).outcome is Outcome.CANCELLED
    assert cleaned == ["to the end"]


async def test_an_interruption_before_the_start_counts() -> None:
    @action("act")
    async def handler() -> dict[str, Any]:
        await asyncio.sleep(PATIENCE)
        return {}

    run = claimed()
    run.interrupt(Outcome.SHUTDOWN)
    assert (await ending_of(run)).outcome is Outcome.SHUTDOWN


async def test_an_async_handler_that_returns_after_being_interrupted_has_completed() -> None:
    started = asyncio.Event()

    @action("act")
    async def handler() -> dict[str, Any]:
        started.set()
        try:
            await asyncio.sleep(PATIENCE)
        except asyncio.CancelledError:
            return {"output": "just done"}
        return {}

    ending = await interrupted(claimed(), started, Outcome.CANCELLED)
    assert ending == Ending(Outcome.OK, result='{"output":"just done"}')


async def test_an_async_handler_that_fails_while_it_cleans_up_was_interrupted() -> None:
    started = asyncio.Event()

    @action("act")
    async def handler() -> dict[str, Any]:
        started.set()
        try:
            await asyncio.sleep(PATIENCE)
        finally:
            raise LookupError("while cleaning up")

    assert (await interrupted(claimed(), started, Outcome.SHUTDOWN)).outcome is Outcome.SHUTDOWN


@pytest.fixture
def until_flagged() -> Callable[[asyncio.Event, threading.Event, Any], None]:
    """Registers a `def` handler that looks at its flag until that is set."""

    def register(started: asyncio.Event, let_go: threading.Event, result: Any) -> None:
        loop = asyncio.get_running_loop()

        @action("act")
        def handler(task: TaskContext) -> dict[str, Any]:
            loop.call_soon_threadsafe(started.set)
            while not task.cancelled and not let_go.wait(0.005):
                pass
            if isinstance(result, Exception):
                raise result
            return dict(result)

    return register


async def test_a_thread_that_stops_at_its_flag_was_cancelled(
    until_flagged: Callable[..., None], let_go: threading.Event
) -> None:
    started = asyncio.Event()
    until_flagged(started, let_go, InterruptedError("stopped early"))
    ending = await interrupted(claimed(), started, Outcome.CANCELLED)
    assert (ending.outcome, ending.final) == (Outcome.CANCELLED, True)


async def test_a_thread_may_leave_at_its_flag_by_an_exception(let_go: threading.Event) -> None:
    started = asyncio.Event()
    loop = asyncio.get_running_loop()

    @action("act")
    def handler(task: TaskContext) -> None:
        task.raise_if_cancelled()  # not yet
        loop.call_soon_threadsafe(started.set)
        while not let_go.wait(0.005):
            task.raise_if_cancelled()

    ending = await interrupted(claimed(), started, Outcome.CANCELLED)
    assert (ending.outcome, ending.final) == (Outcome.CANCELLED, True)


async def test_a_thread_that_returns_after_its_flag_was_set_has_completed(
    until_flagged: Callable[..., None], let_go: threading.Event
) -> None:
    started = asyncio.Event()
    until_flagged(started, let_go, {"output": "just done"})
    ending = await interrupted(claimed(), started, Outcome.CANCELLED)
    assert ending == Ending(Outcome.OK, result='{"output":"just done"}')


@pytest.mark.parametrize("outcome", [Outcome.CANCELLED, Outcome.SHUTDOWN])
async def test_what_a_plain_handler_returned_to_be_awaited_is_cancelled_as_an_async_handler(
    outcome: Outcome,
) -> None:
    started, cleaned = asyncio.Event(), asyncio.Event()

    async def later() -> dict[str, Any]:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            cleaned.set()
        return {}

    @action("act")
    def handler() -> Awaitable[dict[str, Any]]:
        return later()

    run = claimed()
    assert (await interrupted(run, started, outcome)).outcome is outcome
    assert cleaned.is_set()
    assert run.left_running is None


@pytest.mark.parametrize("outcome", [Outcome.CANCELLED, Outcome.SHUTDOWN])
async def test_what_a_thread_returns_to_be_awaited_after_it_was_told_to_stop_is_not_begun(
    outcome: Outcome, let_go: threading.Event
) -> None:
    started = asyncio.Event()
    loop = asyncio.get_running_loop()

    async def later() -> dict[str, Any]:
        raise AssertionError("must not run")

    @action("act")
    def handler(task: TaskContext) -> Awaitable[dict[str, Any]]:
        loop.call_soon_threadsafe(started.set)
        while not task.cancelled and not let_go.wait(0.005):
            pass
        return later()

    run = claimed()
    ending = await interrupted(run, started, outcome)
    assert ending.outcome is outcome
    if thread := run.left_running:
        await asyncio.wait({thread}, timeout=PATIENCE)
    assert run.left_running is None


async def test_a_cancelled_thread_that_goes_on_is_waited_for_until_its_timeout(let_go: threading.Event) -> None:
    started = asyncio.Event()
    loop = asyncio.get_running_loop()

    @action("act")
    def handler() -> dict[str, Any]:
        loop.call_soon_threadsafe(started.set)
        let_go.wait(PATIENCE)
        return {}

    run = claimed(timeout=100)
    ending = asyncio.create_task(interrupted(run, started, Outcome.CANCELLED))
    async with asyncio.timeout(PATIENCE):
        await started.wait()
    assert not ending.done()
    assert (await ending).outcome is Outcome.TIMEOUT
    assert run.left_running is not None


async def test_a_thread_is_abandoned_when_the_worker_stops(let_go: threading.Event) -> None:
    started = asyncio.Event()
    loop = asyncio.get_running_loop()

    @action("act")
    def handler() -> dict[str, Any]:
        loop.call_soon_threadsafe(started.set)
        let_go.wait(PATIENCE)
        return {}

    run = claimed()
    ending = await interrupted(run, started, Outcome.CANCELLED, Outcome.SHUTDOWN)
    assert ending.outcome is Outcome.SHUTDOWN
    assert run.left_running is not None


async def test_an_interruption_after_the_end_changes_nothing(act: Callable[..., None]) -> None:
    act(lambda: {"output": 1})
    run = claimed()
    ending = await ending_of(run)
    run.interrupt(Outcome.CANCELLED)
    assert ending.outcome is Outcome.OK


def test_a_thread_that_ends_after_its_loop_has_closed_is_quiet(let_go: threading.Event) -> None:
    @action("act")
    def handler() -> dict[str, Any]:
        let_go.wait(PATIENCE)
        return {}

    async def abandon() -> None:
        assert (await ending_of(claimed(timeout=20))).outcome is Outcome.TIMEOUT

    asyncio.run(abandon())
    [thread] = [thread for thread in threading.enumerate() if thread.name == "task-7"]
    let_go.set()
    thread.join(PATIENCE)  # an exception in it would fail this test
    assert not thread.is_alive()
