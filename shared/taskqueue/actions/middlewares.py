"""What runs around every task: logging, tracing, transactions of one's own.

@middleware
async def timed(task: TaskContext, call_next: CallNext) -> Any:
    started = time.monotonic()
    try:
        return await call_next()
    finally:
        log.info("took %.3f s", time.monotonic() - started)
"""

import functools
import inspect
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from taskqueue.actions.context import TaskContext
from taskqueue.actions.signatures import HandlersError

#: Runs what is within, the handler at last, and gives its result.
CallNext = Callable[[], Awaitable[Any]]
Middleware = Callable[[TaskContext, CallNext], Awaitable[Any]]
M = TypeVar("M", bound=Middleware)

#: Those that are registered: the first one is the outermost.
MIDDLEWARE: list[Middleware] = []


def middleware(function: M) -> M:
    """Register an `async def m(task, call_next)` that runs around every task, on the loop.

    What it returns is the task's result, and what it raises its error; `await call_next()` gives the handler's.
    It is not called where a task's `data` don't fit its action.

    Raises:
        HandlersError: it is not `async def`, or takes something else.
    """
    is_async: bool = inspect.iscoroutinefunction(function)
    if not is_async:
        raise HandlersError(f"middleware {function!r}: it must be `async def m(task, call_next)`")
    try:
        inspect.signature(function).bind("task", "call_next")
    except TypeError as error:
        raise HandlersError(f"middleware {function!r}: it is called with (task, call_next): {error}") from error
    MIDDLEWARE.append(function)
    return function


def around(context: TaskContext, call: CallNext) -> CallNext:
    """The call for a task, with all middleware around it."""
    for function in reversed(MIDDLEWARE):
        call = functools.partial(function, context, call)
    return call
