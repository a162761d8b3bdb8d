"""The actions of the fault tests' workers."""

import asyncio
import os
import time
from pathlib import Path
from typing import Any

from taskqueue import TaskContext, action


@action
async def echo(value: int, task: TaskContext, seconds: float = 0) -> dict[str, Any]:
    await asyncio.sleep(seconds)
    return {"output": value, "attempt": task.attempt}


@action
def echo_in_thread(value: int, task: TaskContext, seconds: float = 0) -> dict[str, Any]:
    time.sleep(seconds)
    return {"output": value, "attempt": task.attempt}


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


@action
async def fail(message: str = "on purpose") -> dict[str, Any]:
    raise RuntimeError(message)
