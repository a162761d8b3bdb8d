"""Tasks that are submitted from their actions, with the types of these."""

import asyncio
import inspect
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import date
from typing import Annotated, Any

import pytest
from pydantic import BaseModel
from tests.integration.client.hostile import Hostile, says
from tests.integration.system import System

from taskqueue import Depends, TaskContext, action, injected
from taskqueue.client import AsyncClient, Client, InvalidRequestError, InvalidResultError
from taskqueue.task import Status

ACCEPTED = {"id": "01a2043a-b7c0-71dd-b05f-f2d70b6d4bd4", "status": "queued"}


class Image(BaseModel):
    path: str
    taken: date


@dataclass
class Frame:
    width: int = 200


@action
async def typed_resize(path: str, frame: Frame, task: TaskContext = injected) -> Image:
    """Makes it smaller."""
    return Image(path=f"{task.attempt}-{frame.width}-{path}", taken=date(2100, 1, 2))


def album() -> str:
    return "album-3"


@action
async def typed_album(path: str, album: Annotated[str, Depends(album)] = injected) -> str:
    return f"{album}/{path}"


@action("typed-count", max_attempts=1)
def typed_count(**members: int) -> int:
    return sum(members.values())


@action
def typed_nothing() -> None: ...


@action
async def typed_liar() -> int:
    return "none"  # type: ignore[return-value]


@pytest.fixture
async def bound(client: AsyncClient) -> AsyncIterator[AsyncClient]:
    yield client.bind()


async def test_an_actions_own_submit_gives_its_result_with_its_type(system: System, bound: AsyncClient) -> None:
    async with system.worker():
        handle = await typed_resize.submit(path="a.png", frame=Frame(50))
        assert await handle.result(timeout=20) == Image(path="1-50-a.png", taken=date(2100, 1, 2))
        assert await (await typed_count.submit(a=1, b=2)).result(timeout=20) == 3
        assert await (await typed_nothing.submit()).result(timeout=20) is None
        assert await (await typed_album.submit("a.png")).result(timeout=20) == "album-3/a.png"


async def test_what_is_said_by_options_holds_for_the_task(bound: AsyncClient) -> None:
    low = typed_resize.options(priority="low", delay=1000, tags=["a"])
    task = await (await low.options(priority="high").submit("a.png", Frame())).get()
    assert (task.action, task.priority, task.tags, task.status) == ("typed_resize", "high", ["a"], Status.PENDING)
    assert task.payload.data == {"path": "a.png", "frame": {"width": 200}}
    once = typed_nothing.options(key="order-7")
    assert (await once.submit()).id == (await once.submit()).id


async def test_arguments_that_do_not_fit_are_told_by_path_and_not_sent(system: System, bound: AsyncClient) -> None:
    wrong: Any = typed_resize
    with pytest.raises(InvalidRequestError, match=r"typed_resize: path: .*; frame.width: ") as caught:
        await wrong.submit(path=1, frame={"width": "wide"})
    assert [detail.path for detail in caught.value.details] == ["path", "frame.width"]
    with pytest.raises(InvalidRequestError, match="frame: Field required"):
        await wrong.submit(path="a.png")
    with pytest.raises(TypeError, match="unexpected keyword argument 'widht'"):
        await wrong.submit(path="a.png", widht=1)
    for function, name in ((typed_resize, "task"), (typed_album, "album")):
        wrong = function
        with pytest.raises(TypeError, match=f"the worker fills '{name}'"):
            await wrong.submit("a.png", **{name: None})
    with pytest.raises(InvalidRequestError, match="priority: "):
        await typed_nothing.options(priority="soon").submit()  # type: ignore[arg-type]
    assert await system.count() == 0


async def test_a_result_that_is_none_of_the_actions_type_is_told(system: System, bound: AsyncClient) -> None:
    async with system.worker():
        handle = await typed_liar.submit()
        with pytest.raises(InvalidResultError, match="int"):
            await handle.result(timeout=20)


async def test_a_registered_function_is_what_it_was() -> None:
    assert inspect.iscoroutinefunction(typed_resize)
    assert (typed_resize.__name__, typed_resize.__doc__) == ("typed_resize", "Makes it smaller.")
    assert list(inspect.signature(typed_resize).parameters) == ["path", "frame", "task"]
    assert typed_count(a=1) == 1


async def test_an_object_that_is_called_keeps_its_own_submit() -> None:
    class Mailer:
        def submit(self) -> str:
            return "mine"

        def __call__(self, text: str) -> dict[str, str]:
            return {"output": text}

    mailer: Any = action("typed-mailer")(Mailer())
    assert mailer.submit() == "mine"


async def test_either_client_submits_by_function(system: System, url: str, client: AsyncClient) -> None:
    def program() -> Image:
        with Client(url) as blocking:
            return blocking.submit(typed_resize.options(max_attempts=2), "a.png", Frame(1)).result(timeout=20)

    async with system.worker():
        assert await asyncio.to_thread(program) == Image(path="1-1-a.png", taken=date(2100, 1, 2))
        assert await (await client.submit(typed_count, a=5)).result(timeout=20) == 5


async def test_what_is_not_bound_goes_to_the_address_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    async with Hostile.listening(says(202, ACCEPTED)) as server:
        monkeypatch.setenv("TASKQUEUE_URL", server.url)
        # In a loop of its own, as a program has it, which ends with nothing left open.
        await asyncio.to_thread(lambda: asyncio.run(typed_nothing.submit()))  # type: ignore[arg-type]
        await asyncio.to_thread(lambda: asyncio.run(_submits_twice()))
    assert len(server.requests) == 3


async def _submits_twice() -> None:
    await typed_nothing.submit()
    await typed_nothing.submit()


async def test_a_client_that_is_closed_is_bound_no_more(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with AsyncClient(url) as first, AsyncClient(url) as second:
        first.bind()
        second.bind()
        await first.close()
        assert await AsyncClient.current() is second
    async with Hostile.listening(says(202, ACCEPTED)) as server:
        monkeypatch.setenv("TASKQUEUE_URL", server.url)
        await asyncio.to_thread(lambda: asyncio.run(_submits_twice()))
    assert len(server.requests) == 2
