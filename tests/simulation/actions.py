"""The actions of the simulated workers. What they return tells whether the right task was run."""

import asyncio
from typing import Any

from taskqueue import Reject, Retry, TaskContext, action


@action
async def compute(value: int, seconds: float, failing: int, task: TaskContext) -> dict[str, Any]:
    """Fail so many attempts, then return the value."""
    await asyncio.sleep(seconds)
    if task.attempt <= failing:
        raise Retry("on purpose", after=seconds) if task.attempt % 2 else RuntimeError("on purpose")
    return {"output": value, "attempt": task.attempt}


@action
def compute_in_thread(value: int, task: TaskContext) -> dict[str, Any]:
    return {"output": value, "attempt": task.attempt}


@action
async def fan_out(value: int, seconds: float, failing: int, task: TaskContext) -> dict[str, Any]:
    """Submit two tasks with its completion; from attempts that fail, too."""
    for _ in range(2):
        task.submit("compute_in_thread", {"value": value}, tags=task.tags, max_attempts=30)
    return await compute(value, seconds, failing, task)


@action
async def progress(value: int, seconds: float, task: TaskContext) -> dict[str, Any]:
    for step in range(3):
        task.progress(step / 3)
        await asyncio.sleep(seconds / 3)
    return {"output": value, "attempt": task.attempt}


@action
async def refuse(value: int) -> dict[str, Any]:
    raise Reject("on purpose")


@action
async def stubborn(value: int, seconds: float, task: TaskContext) -> dict[str, Any]:
    """Doesn't end when it is told to: it is abandoned after a while, and ends later."""
    for _ in range(8):
        try:
            await asyncio.sleep(seconds)
        except asyncio.CancelledError:
            continue
    return {"output": value, "attempt": task.attempt}
