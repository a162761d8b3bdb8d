"""Resources: when they are opened, who shares them, in which order they are closed, and what is refused."""

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Annotated, Any

import pytest
from typing_extensions import TypeAliasType

from taskqueue import Depends, Reject, TaskContext, action
from taskqueue.actions import HandlersError, describe_actions, find_action, known_actions, registry
from taskqueue.process import FatalError
from taskqueue.telemetry import ResourceNotClosed, Telemetry
from taskqueue_worker import resources as opening
from taskqueue_worker.resources import Resources

CONTEXT = TaskContext("7", "act", 2)
#: Seconds after which a test gives up waiting for something that should happen.
PATIENCE = 20

notes: list[str] = []
told: list[Any] = []


@pytest.fixture(autouse=True)
def empty_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "ACTIONS", {})
    notes.clear()
    told.clear()


def opened() -> contextlib.AbstractAsyncContextManager[Resources]:
    """The resources of all actions that are registered."""
    return Resources.opened(known_actions(), Telemetry(told.append))


async def values(resources: Resources, name: str = "act") -> dict[str, Any]:
    """What an action's resources give for a task."""
    found = find_action(name)
    assert found is not None
    async with resources.for_task(found, CONTEXT) as given:
        notes.append("task")
        return given


# Providers


async def yields() -> AsyncIterator[str]:
    notes.append("open")
    try:
        yield "pool"
    finally:
        notes.append("close")


def yields_plainly() -> Iterator[str]:
    assert threading.current_thread() is not threading.main_thread()
    notes.append("open")
    try:
        yield "pool"
    finally:
        assert threading.current_thread() is not threading.main_thread()
        notes.append("close")


async def returns() -> str:
    notes.append("open")
    return "pool"


def returns_plainly() -> str:
    assert threading.current_thread() is not threading.main_thread()
    notes.append("open")
    return "pool"


PROVIDERS = [yields, yields_plainly, returns, returns_plainly]
GENERATORS = [yields, yields_plainly]


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_a_workers_resource_is_opened_once_and_shared_by_all_tasks(provider: Callable[..., Any]) -> None:
    @action("act")
    async def act(pool: Annotated[str, Depends(provider)]) -> None: ...

    @action("other")
    def other(same: Annotated[str, Depends(provider)], n: int) -> None: ...

    async with opened() as resources:
        assert notes == ["open"]
        assert await values(resources) == {"pool": "pool"}
        assert await values(resources, "other") == {"same": "pool"}
    assert notes == ["open", "task", "task", *["close"] * (provider in GENERATORS)]


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_a_tasks_resource_is_opened_for_each_task(provider: Callable[..., Any]) -> None:
    @action("act")
    async def act(pool: Annotated[str, Depends(provider, scope="task")]) -> None: ...

    async with opened() as resources:
        assert notes == []
        assert await values(resources) == await values(resources) == {"pool": "pool"}
    assert notes == ["open", "task", *["close"] * (provider in GENERATORS)] * 2


async def test_resources_are_opened_after_those_that_they_take_and_closed_in_reverse() -> None:
    async def engine() -> AsyncIterator[str]:
        notes.append("engine opens")
        yield "engine"
        notes.append("engine closes")

    async def session(bind: Annotated[str, Depends(engine)], task: TaskContext) -> AsyncIterator[str]:
        notes.append("session opens")
        yield f"session of {bind} for {task.id}"
        notes.append("session closes")

    def repository(
        session: Annotated[str, Depends(session, scope="task")],
        bind: Annotated[str, Depends(engine)],
        size: int = 3,
    ) -> str:
        return f"{size} of {session}, {bind}"

    @action("act")
    async def act(
        repository: Annotated[str, Depends(repository, scope="task")],
        session: Annotated[str, Depends(session, scope="task")],
    ) -> None: ...

    async with opened() as resources:
        assert await values(resources) == {
            "repository": "3 of session of engine for 7, engine",
            "session": "session of engine for 7",
        }
    assert notes == ["engine opens", "session opens", "task", "session closes", "engine closes"]


@pytest.mark.parametrize("provider", GENERATORS)
async def test_a_tasks_resource_is_told_how_the_task_ended(provider: Callable[..., Any]) -> None:
    endings: list[str] = []

    def plain() -> Iterator[None]:
        try:
            yield
        except BaseException as error:
            endings.append(repr(error))
            raise
        endings.append("well")

    async def on_the_loop() -> AsyncIterator[None]:
        with contextlib.contextmanager(plain)():
            yield

    @action("act")
    async def act(
        transaction: Annotated[None, Depends(on_the_loop if provider is yields else plain, scope="task")],
    ) -> None: ...

    async with opened() as resources:
        found = find_action("act")
        assert found is not None
        for error in (Reject("no"), asyncio.CancelledError("stop")):
            with pytest.raises(type(error)):
                async with resources.for_task(found, CONTEXT):
                    raise error
        await values(resources)
    assert endings == ["Reject('no')", "CancelledError('stop')", "well"]


async def test_what_a_thread_opened_after_its_task_was_cancelled_is_closed() -> None:
    go_on = threading.Event()
    started = asyncio.Event()
    loop = asyncio.get_running_loop()

    def slow() -> Iterator[str]:
        loop.call_soon_threadsafe(started.set)
        go_on.wait(PATIENCE)
        notes.append("open")
        yield "pool"
        notes.append("close")

    @action("act")
    async def act(pool: Annotated[str, Depends(slow, scope="task")]) -> None: ...

    async with opened() as resources:
        task = asyncio.create_task(values(resources))
        await started.wait()
        task.cancel()
        await asyncio.sleep(0)
        assert not task.done()
        go_on.set()
        await asyncio.wait({task}, timeout=PATIENCE)
        assert task.cancelled()
    assert notes == ["open", "close"]


# What fails


@pytest.mark.parametrize("error", [ConnectionError("refused"), SystemExit(3)], ids=repr)
async def test_a_resource_that_cannot_be_opened_is_named_and_those_before_it_are_closed(
    error: BaseException,
) -> None:
    async def broken(pool: Annotated[str, Depends(yields)]) -> str:
        raise error

    @action("act")
    async def act(pool: Annotated[str, Depends(broken)]) -> None: ...

    with pytest.raises(
        FatalError, match=rf"^resource '.*broken' can't be opened: {type(error).__name__}: [^\n]*$"
    ):
        async with opened():
            raise AssertionError("must not get here")
    assert notes == ["open", "close"]


async def test_a_resource_that_cannot_be_closed_is_told_and_hinders_no_other() -> None:
    async def bad_end(pool: Annotated[str, Depends(yields)]) -> AsyncIterator[str]:
        yield "value"
        raise ConnectionError("lost")

    @action("act")
    async def act(value: Annotated[str, Depends(bad_end)]) -> None: ...

    async with opened():
        pass
    assert notes == ["open", "close"]
    [happening] = told
    assert isinstance(happening, ResourceNotClosed)
    assert happening.name.endswith("bad_end")
    assert isinstance(happening.error, ConnectionError)


async def test_a_resource_that_never_closes_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "CLOSING", 0.01)

    async def endless(pool: Annotated[str, Depends(yields)]) -> AsyncIterator[str]:
        yield "value"
        await asyncio.Event().wait()

    @action("act")
    async def act(value: Annotated[str, Depends(endless)]) -> None: ...

    async with opened():
        pass
    assert notes == ["open", "close"]
    assert [type(happening.error) for happening in told] == [TimeoutError]


# What a client sees of them, and what is refused


def test_a_resource_is_no_argument_and_no_client_can_send_it() -> None:
    @action
    async def act(n: int, pool: Annotated[str, Depends(returns)], **rest: Any) -> list[Any]:
        return [n, pool, rest]

    [described] = describe_actions()
    assert described["arguments"]["properties"].keys() == {"n"}
    found = find_action("act")
    assert found is not None
    call = found.bind('{"n": 1, "pool": "forged", "more": 2}', CONTEXT)
    assert asyncio.run(call(pool="pool")) == [1, "pool", {"more": 2}]


class NeedsNothing:
    def __call__(self) -> str:
        return "pool"


async def takes_argument(n: int) -> str: ...
async def takes_the_task(task: TaskContext) -> str: ...
async def takes_a_tasks(pool: Annotated[str, Depends(returns, scope="task")]) -> str: ...
async def takes_itself(pool: "Annotated[str, Depends(takes_itself)]") -> str: ...
async def takes_a_stranger(pool: "Annotated[str, Depends(no_such_name)]") -> str: ...  # type: ignore[name-defined]  # noqa: F821


@pytest.mark.parametrize(
    ("depends", "why"),
    [
        (Depends(takes_argument), "takes_argument: nothing fills its parameter 'n'"),
        (Depends(takes_the_task), "takes_the_task: nothing fills its parameter 'task'"),
        (Depends(takes_a_tasks), "returns is opened for each task, so nothing can take it that is opened once"),
        (Depends(takes_itself), "takes_itself depends on itself"),
        (Depends(takes_a_stranger), "'no_such_name' is not defined"),
        (Depends(5), "5 can't be called"),  # type: ignore[arg-type]
        (Depends(returns, scope="request"), "'request'"),  # type: ignore[arg-type]
    ],
)
def test_a_signature_that_nothing_can_fill_is_refused_at_once_in_a_line(depends: Depends, why: str) -> None:
    def act(pool: Any) -> None: ...

    act.__annotations__["pool"] = Annotated[str, depends]
    with pytest.raises(HandlersError, match=rf"^action 'act': pool: [^\n]*{why}[^\n]*$"):
        action(act)
    assert describe_actions() == []


def test_a_resource_as_a_default_is_refused_rather_than_handed_over_itself() -> None:
    with pytest.raises(HandlersError, match=r"action 'act': pool: write Annotated"):

        @action
        async def act(pool: Any = Depends(returns)) -> None: ...  # noqa: B008


#: As `type Pool = ...` of newer Pythons makes it.
Pool = TypeAliasType("Pool", Annotated[str, Depends(returns)])


async def test_an_annotation_may_have_a_name_of_its_own() -> None:
    @action("act")
    async def act(pool: Pool) -> None: ...

    async with opened() as resources:
        assert await values(resources) == {"pool": "pool"}


async def test_an_object_that_can_be_called_may_give_a_resource() -> None:
    @action("act")
    async def act(pool: Annotated[str, Depends(NeedsNothing())]) -> None: ...

    async with opened() as resources:
        assert await values(resources) == {"pool": "pool"}
