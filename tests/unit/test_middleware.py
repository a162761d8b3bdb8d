"""Middleware: what runs around each task, in which order, and what it may do to the task."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable
from typing import Annotated, Any

import pytest
from tests.unit.test_execute import PATIENCE, claimed, ending_of, error_of, interrupted

from taskqueue import CallNext, Depends, Retry, Snooze, TaskContext, action, middleware
from taskqueue.actions import HandlersError, middlewares, registry
from taskqueue.logs import TASK_FIELDS
from taskqueue.task import Outcome
from taskqueue_worker import execute
from taskqueue_worker.execute import Ending

notes: list[str] = []


@pytest.fixture(autouse=True)
def empty_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "ACTIONS", {})
    monkeypatch.setattr(middlewares, "MIDDLEWARE", [])
    notes.clear()


@pytest.fixture(params=["async def", "def"])
def act(request: pytest.FixtureRequest) -> Callable[[Callable[..., Any]], None]:
    """Registers a function as the action `act`: as it is, or as an `async def` handler."""

    def register(function: Callable[..., Any]) -> None:
        if request.param == "def":
            action("act")(function)
            return

        async def handler() -> Any:
            return function()

        action("act")(handler)

    return register


async def session() -> AsyncIterator[str]:
    notes.append("opens")
    yield "session"
    notes.append("closes")


async def test_the_first_registered_is_the_outermost_and_resources_are_within(act: Callable[..., None]) -> None:
    @middleware
    async def outer(task: TaskContext, call_next: CallNext) -> Any:
        notes.append(f"outer {task.id}")
        result = await call_next()
        notes.append("outer ends")
        return {"outer": result}

    @middleware
    async def inner(task: TaskContext, call_next: CallNext) -> Any:
        notes.append("inner")
        return {"inner": await call_next()}

    @action("act")
    def handler(session: Annotated[str, Depends(session, scope="task")]) -> str:
        notes.append("handler")
        return session

    assert await ending_of(claimed()) == Ending(Outcome.OK, result='{"outer":{"inner":"session"}}')
    assert notes == ["outer 7", "inner", "opens", "handler", "closes", "outer ends"]


@pytest.mark.parametrize("error", [ValueError("no"), Retry("later", after=5), Snooze(5)], ids=repr)
async def test_middleware_sees_what_a_handler_raises(act: Callable[..., None], error: Exception) -> None:
    def handler() -> None:
        raise error

    @middleware
    async def seeing(task: TaskContext, call_next: CallNext) -> Any:
        try:
            return await call_next()
        except Exception as seen:
            notes.append(repr(seen))
            raise

    act(handler)
    ending = await ending_of(claimed())
    assert notes == [repr(error)]
    assert ending.outcome is (Outcome.SNOOZED if isinstance(error, Snooze) else Outcome.ERROR)


async def test_middleware_may_answer_for_the_handler_and_fail_the_task(act: Callable[..., None]) -> None:
    def handler() -> None:
        raise AssertionError("must not run")

    @middleware
    async def answering(task: TaskContext, call_next: CallNext) -> Any:
        if notes:
            raise LookupError("no such tenant")
        return "cached"

    act(handler)
    assert (await ending_of(claimed())).result == '"cached"'
    notes.append("fail")
    assert error_of(await ending_of(claimed()))["message"] == "no such tenant"


async def test_a_task_whose_resource_cannot_be_opened_or_closed_has_failed_and_is_tried_again() -> None:
    async def broken(task: TaskContext) -> AsyncIterator[None]:
        if task.attempt == 1:
            yield
        raise ConnectionError("lost")

    @action("act")
    async def handler(it: Annotated[None, Depends(broken, scope="task")]) -> None: ...

    ending = await ending_of(claimed())
    assert (ending.outcome, ending.final, error_of(ending)["type"]) == (Outcome.ERROR, False, "ConnectionError")


async def test_a_cancelled_handlers_resources_and_middleware_clean_up() -> None:
    started = asyncio.Event()

    @middleware
    async def around(task: TaskContext, call_next: CallNext) -> Any:
        try:
            return await call_next()
        finally:
            notes.append("around")

    async def cleaning() -> AsyncIterator[None]:
        try:
            yield
        finally:
            await asyncio.sleep(0)
            notes.append("cleaned")

    @action("act")
    async def handler(it: Annotated[None, Depends(cleaning, scope="task")]) -> None:
        started.set()
        await asyncio.Event().wait()

    assert (await interrupted(claimed(), started, Outcome.CANCELLED)).outcome is Outcome.CANCELLED
    assert notes == ["cleaned", "around"]


async def test_a_thread_out_of_time_has_its_resources_closed_when_it_ends() -> None:
    let_go = threading.Event()

    @action("act")
    def handler(session: Annotated[str, Depends(session, scope="task")]) -> None:
        let_go.wait(PATIENCE)

    run = claimed(timeout=20)
    assert (await ending_of(run)).outcome is Outcome.TIMEOUT
    left = run.left_running
    assert left is not None
    assert notes == ["opens"]
    let_go.set()
    await asyncio.wait({left}, timeout=PATIENCE)
    assert notes == ["opens", "closes"]


async def test_what_does_not_close_after_a_thread_that_was_told_to_stop_is_abandoned(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(execute, "GRACE", 0.05)
    started, loop = asyncio.Event(), asyncio.get_running_loop()
    let_go = asyncio.Event()

    async def never_closes() -> AsyncIterator[None]:
        yield
        await let_go.wait()

    @action("act")
    def handler(it: Annotated[None, Depends(never_closes, scope="task")], task: TaskContext) -> None:
        loop.call_soon_threadsafe(started.set)
        while not task.cancelled:
            time.sleep(0.005)

    run = claimed()
    assert (await interrupted(run, started, Outcome.CANCELLED)).outcome is Outcome.CANCELLED
    left = run.left_running
    assert left is not None
    let_go.set()
    await asyncio.wait({left}, timeout=PATIENCE)


async def test_what_a_handler_logs_names_its_task(act: Callable[..., None]) -> None:
    act(lambda: dict(TASK_FIELDS.get()))
    assert (await ending_of(claimed())).result == '{"task_id":"7","action":"act","attempt":1}'
    assert TASK_FIELDS.get() == {}


def test_what_is_no_middleware_is_refused_in_a_line() -> None:
    def plain(task: TaskContext, call_next: CallNext) -> Any: ...
    async def one_argument(task: TaskContext) -> Any: ...

    for function, why in ((plain, "must be `async def"), (one_argument, "too many positional")):
        with pytest.raises(HandlersError, match=rf"^middleware [^\n]*{why}[^\n]*$"):
            middleware(function)  # type: ignore[type-var]
    assert middlewares.MIDDLEWARE == []
