"""A submit has the types of the action's function. Nothing here runs: `make check` reads it, strictly."""

from dataclasses import dataclass
from typing import assert_type

from taskqueue import TaskContext, action, injected
from taskqueue.actions.context import Submitted
from taskqueue.client import AsyncClient, AsyncHandle, Client, Handle


@dataclass
class Image:
    width: int


@action
async def resize(path: str, width: int, task: TaskContext = injected) -> Image:
    task.progress(0.5)
    return Image(width)


@action(name="count", timeout=5)
def count_lines(path: str) -> int:
    return len(path)


async def submits_from_a_handler(task: TaskContext) -> None:
    assert_type(task.submit(resize, path="a.png", width=200), Submitted)
    assert_type(await task.submit(resize.options(delay=5), "a.png", 200), Submitted)
    assert_type((await task.submit("resize", {"path": "a.png"}, priority="low")).id, str)
    task.submit(count_lines, path=5)  # type: ignore[call-overload]
    task.submit("resize", {}, priority="urgent")  # type: ignore[call-overload]


async def submits(client: AsyncClient, blocking: Client) -> None:
    assert_type(await resize.submit(path="a.png", width=200), AsyncHandle[Image])
    assert_type(await (await resize.options(delay=5, priority="low").submit("a.png", 200)).result(), Image)
    assert_type(await client.submit(count_lines, path="a.txt"), AsyncHandle[int])
    assert_type(blocking.submit(resize.options(key="order-7"), path="a.png", width=200), Handle[Image])
    assert_type(blocking.submit(count_lines, "a.txt").result(timeout=5), int)
    assert_type(await resize("a.png", 200), Image)

    resize.submit(path="a.png")  # type: ignore[call-arg, unused-coroutine]
    resize.submit(path="a.png", width="200")  # type: ignore[arg-type, unused-coroutine]
    resize.options(priority="soon")  # type: ignore[arg-type]
    blocking.submit(count_lines, paths="a.txt")  # type: ignore[call-overload]
    blocking.submit("resize", {"path": "a.png"}, delays=5)  # type: ignore[call-overload]
