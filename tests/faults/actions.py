"""The actions of the fault tests' workers."""

import asyncio
import contextlib
import os
import time
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator

from taskqueue import Retry, TaskContext, action


@action
async def echo(value: int, task: TaskContext, seconds: float = 0) -> dict[str, Any]:
    await asyncio.sleep(seconds)
    return {"output": value, "attempt": task.attempt}


@action
def echo_in_thread(value: int, task: TaskContext, seconds: float = 0) -> dict[str, Any]:
    time.sleep(seconds)
    return {"output": value, "attempt": task.attempt}


@action
def fan_out(values: list[int], task: TaskContext) -> dict[str, Any]:
    """Submit an echo of each value, in each attempt."""
    for value in values:
        task.submit(echo, value)
    return {"output": len(values), "attempt": task.attempt}


@action
async def hold(marks: str, task: TaskContext) -> dict[str, Any]:
    """Leave a mark that this attempt has begun, then wait until somebody makes the file `go`."""
    folder = Path(marks)
    (folder / f"{task.id}.{task.attempt}").touch()
    while not (folder / "go").exists():  # noqa: ASYNC110  # another process makes it
        await asyncio.sleep(0.02)
    return {"output": "held", "attempt": task.attempt}


@action
async def block(seconds: float, task: TaskContext) -> dict[str, Any]:
    """Block the event loop."""
    time.sleep(seconds)  # noqa: ASYNC251  # that is the fault
    return {"output": "blocked", "attempt": task.attempt}


@action
async def die() -> dict[str, Any]:
    """Take the worker along."""
    os._exit(3)


def _exit(value: object) -> object:
    os._exit(4)


@action
async def die_of_its_data(value: Annotated[object, AfterValidator(_exit)]) -> dict[str, Any]:
    """Takes the worker along while its data is read, as one that needs too much memory would."""
    return {"output": value}


@action
async def fail(message: str = "on purpose") -> dict[str, Any]:
    raise RuntimeError(message)


@action
async def come_back(after: float, task: TaskContext) -> dict[str, Any]:
    """Ask in the first attempt for the next one."""
    if task.attempt == 1:
        raise Retry(after=after)
    return {"output": "came back", "attempt": task.attempt}


@action
def hang_first(task: TaskContext) -> dict[str, Any]:
    """Ignore every wish to stop, in the first attempt."""
    if task.attempt == 1:
        time.sleep(120)
    return {"output": "did not hang", "attempt": task.attempt}


@action
async def tidy(marks: str, task: TaskContext) -> dict[str, Any]:
    """Run until cancelled, and leave a mark of having cleaned up."""
    folder = Path(marks)
    (folder / f"{task.id}.{task.attempt}").touch()
    try:
        await asyncio.sleep(600)
    finally:
        await asyncio.sleep(0.1)
        (folder / f"{task.id}.tidied").touch()
    return {"output": "never"}


@action
def heed(marks: str, task: TaskContext) -> dict[str, Any]:
    """A thread that runs until it sees that it should stop."""
    folder = Path(marks)
    (folder / f"{task.id}.{task.attempt}").touch()
    while not task.cancelled:
        time.sleep(0.02)
    (folder / f"{task.id}.heeded").touch()
    raise RuntimeError("stopped halfway")


@action
async def ignore_first(task: TaskContext) -> dict[str, Any]:
    """At the first attempt, go on for ever whatever is asked."""
    while task.attempt == 1:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(60)
    return {"output": "did not hang"}


@action
async def hang_in_a_thread_first(task: TaskContext) -> dict[str, Any]:
    """At the first attempt, wait for a thread of one's own that hangs."""
    if task.attempt == 1:
        await asyncio.to_thread(time.sleep, 3600)
    return {"output": "did not hang"}
