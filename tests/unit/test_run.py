"""`taskqueue.testing.run`: an action under test runs as in a worker."""

import asyncio
import datetime
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

import pytest

from taskqueue import CallNext, Depends, Reject, Retry, Snooze, TaskContext, action, middleware
from taskqueue.actions import middlewares, registry
from taskqueue.process import FatalError
from taskqueue.task import Outcome
from taskqueue.testing import AttemptFailedError, arun, run

#: Seconds after which a handler of a test stops by itself.
PATIENCE = 20


@pytest.fixture(autouse=True)
def empty_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "ACTIONS", {})
    monkeypatch.setattr(middlewares, "MIDDLEWARE", [])


def test_an_async_and_a_plain_handler_give_their_results() -> None:
    @action
    async def double(number: int) -> dict[str, Any]:
        await asyncio.sleep(0)
        return {"output": number * 2}

    @action
    def where() -> dict[str, Any]:
        return {"output": threading.current_thread().name}

    assert run(double, number=4) == {"output": 8}
    assert run("double", {"number": 4}) == {"output": 8}
    assert run(where)["output"].startswith("task-")


async def test_within_a_loop_it_is_awaited() -> None:
    loop = asyncio.get_running_loop()

    @action
    async def here() -> dict[str, Any]:
        return {"output": asyncio.get_running_loop() is loop}

    assert await arun(here) == {"output": True}
    with pytest.raises(RuntimeError, match="await arun"):
        run(here)


def test_the_handler_gets_its_task() -> None:
    @action(max_attempts=7)
    async def tell(task: TaskContext, attempt: str) -> list[Any]:
        task.progress(0.5)
        return [task.action, len(task.id), attempt, task.attempt, task.failures, task.max_attempts]

    assert run(tell, {"attempt": "its own"}, attempt=5) == ["tell", 36, "its own", 5, 4, 7]
    assert run(tell, {"attempt": "its own"}, attempt=9) == ["tell", 36, "its own", 9, 8, 9]


def test_arguments_and_result_go_through_json() -> None:
    @action
    async def later(day: datetime.date, path: Path) -> tuple[datetime.date, str, None]:
        return day + datetime.timedelta(1), path.name, None

    assert run(later, day=datetime.date(2030, 1, 31), path=Path("a/b.png")) == ["2030-02-01", "b.png", None]


@pytest.mark.parametrize("data", [{"number": "4"}, {"number": 4.5}, {"number": 4, "more": 1}, {}])
def test_arguments_are_checked_as_strictly_as_a_worker_does(data: dict[str, Any]) -> None:
    @action
    async def double(number: int) -> dict[str, Any]:
        return {"output": number * 2}

    with pytest.raises(AttemptFailedError, match="InvalidArguments: ") as raised:
        run(double, data)
    assert (raised.value.outcome, raised.value.type) == (Outcome.ERROR, "InvalidArguments")


def test_a_result_that_a_worker_refuses_is_refused() -> None:
    @action
    async def odd() -> dict[str, Any]:
        return {"output": object()}

    with pytest.raises(AttemptFailedError, match="InvalidResult: "):
        run(odd)


@pytest.mark.parametrize("error", [ValueError("no"), Retry("later", after=9), Reject("never"), Snooze(60)])
def test_what_a_handler_raises_comes_out_as_it_is(error: Exception) -> None:
    @action
    async def fail() -> dict[str, Any]:
        raise error

    @action
    def fail_in_a_thread() -> dict[str, Any]:
        raise error

    for handler in fail, fail_in_a_thread:
        with pytest.raises(type(error)) as raised:
            run(handler)
        assert raised.value is error
        assert error.__context__ is None


def test_a_cancelled_async_handler_is_cancelled_where_it_first_waits() -> None:
    steps = []

    @action
    async def endless() -> dict[str, Any]:
        steps.append("begun")
        try:
            await asyncio.sleep(PATIENCE)
        except asyncio.CancelledError:
            steps.append("cancelled")
            raise
        return {}

    with pytest.raises(AttemptFailedError, match="Cancelled: ") as raised:
        run(endless, cancelled=True)
    assert raised.value.outcome is Outcome.CANCELLED
    assert steps == ["begun", "cancelled"]


def test_a_cancelled_plain_handler_finds_the_flag_set() -> None:
    @action
    def look(task: TaskContext) -> dict[str, Any]:
        return {"cancelled": task.cancelled}

    assert run(look) == {"cancelled": False}
    assert run(look, cancelled=True) == {"cancelled": True}


def test_a_cancelled_plain_handler_may_leave() -> None:
    @action
    def leave(task: TaskContext) -> str:
        task.raise_if_cancelled()
        return "stayed"

    assert run(leave) == "stayed"
    with pytest.raises(AttemptFailedError, match="Cancelled: "):
        run(leave, cancelled=True)


def test_resources_are_open_and_middleware_runs_around_it() -> None:
    steps: list[str] = []

    async def pool() -> AsyncIterator[str]:
        steps.append("open")
        yield "pool"
        steps.append("close")

    def transaction(pool: Annotated[str, Depends(pool)], task: TaskContext) -> Iterator[str]:
        yield f"{task.action} in {pool}"
        steps.append("commit")

    @middleware
    async def note(task: TaskContext, call_next: CallNext) -> Any:
        steps.append(f"before {task.action}")
        return [await call_next()]

    @action
    def use(transaction: Annotated[str, Depends(transaction, scope="task")]) -> str:
        steps.append(transaction)
        return "used"

    assert run(use) == ["used"]
    assert steps == ["open", "before use", "use in pool", "commit", "close"]


def test_a_resource_that_can_not_be_opened_is_told() -> None:
    async def pool() -> str:
        raise OSError("nobody listens")

    @action
    async def use(pool: Annotated[str, Depends(pool)]) -> None: ...

    with pytest.raises(FatalError, match="nobody listens"):
        run(use)


@pytest.mark.parametrize("unknown", [dict, print])
def test_a_function_that_is_no_action_is_told(unknown: Callable[..., Any]) -> None:
    with pytest.raises(LookupError, match="no registered action"):
        run(unknown)


def test_a_name_that_is_no_action_fails_as_in_a_worker() -> None:
    with pytest.raises(AttemptFailedError, match="UnknownAction"):
        run("nothing")


def test_the_environment_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TASKQUEUE_MAX_RESULT_BYTES", "5")

    @action
    async def long() -> dict[str, Any]:
        return {"output": "longer than five bytes"}

    assert run(long) == {"output": "longer than five bytes"}
