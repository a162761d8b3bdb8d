"""Resources: what functions give to handlers, beside a task's data.

async def pool() -> AsyncIterator[Pool]:
    async with create_pool() as pool:
        yield pool

@action
async def greet(name: str, pool: Annotated[Pool, Depends(pool)]) -> str: ...
"""

import asyncio
import contextlib
import functools
import inspect
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

Scope = Literal["worker", "task"]


@dataclass(frozen=True, slots=True)
class Depends:
    """Says where a parameter's value comes from: `Annotated[Pool, Depends(pool)]`.

    Args:
        provider: a function, plain or async, that returns the value; or a generator function, plain or async, that
            yields it once, and closes it after that. Its own parameters are resources too, or the `TaskContext`.
        scope: `"worker"` opens it once, at the worker's start; `"task"` for each task.
    """

    provider: Callable[..., Any]
    scope: Scope = "worker"


@dataclass(frozen=True, slots=True)
class Resource:
    """A provider, and what it takes."""

    provider: Callable[..., Any]
    scope: Scope
    #: The resources that it takes itself, by parameter.
    needs: Mapping[str, "Resource"]
    context_parameter: str | None

    @property
    def key(self) -> tuple[Callable[..., Any], Scope]:
        """The same for all that share what is opened."""
        return self.provider, self.scope

    @property
    def name(self) -> str:
        """The provider's."""
        return getattr(self.provider, "__qualname__", None) or repr(self.provider)

    def open(self, given: Mapping[str, Any]) -> contextlib.AbstractAsyncContextManager[Any]:
        """Its value, from entering to leaving. Plain functions run in a thread.

        Args:
            given: the values of what it takes.
        """
        call = functools.partial(self.provider, **given)
        if inspect.isasyncgenfunction(self.provider):
            return contextlib.asynccontextmanager(call)()
        if inspect.isgeneratorfunction(self.provider):
            return _yielded(contextlib.contextmanager(call)())
        return _returned(call)


@contextlib.asynccontextmanager
async def _returned(call: functools.partial[Any]) -> AsyncIterator[Any]:
    value = call() if inspect.iscoroutinefunction(call.func) else await _in_thread(call)
    yield await value if inspect.isawaitable(value) else value


@contextlib.asynccontextmanager
async def _yielded(manager: contextlib.AbstractContextManager[Any]) -> AsyncIterator[Any]:
    opening = asyncio.ensure_future(asyncio.to_thread(manager.__enter__))
    try:
        value = await asyncio.shield(opening)
    except asyncio.CancelledError:
        # Nobody can stop the thread: what it has opened is closed again.
        await asyncio.wait({opening})
        if opening.exception() is None:
            await _in_thread(manager.__exit__, None, None, None)
        raise
    try:
        yield value
    except BaseException as error:
        if not await _in_thread(manager.__exit__, type(error), error, error.__traceback__):
            raise
    else:
        await _in_thread(manager.__exit__, None, None, None)


async def _in_thread(function: Callable[..., Any], *arguments: Any) -> Any:
    """What a function returns in a thread. Nobody can stop that: who is cancelled meanwhile waits for its end."""
    running = asyncio.ensure_future(asyncio.to_thread(function, *arguments))
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        await asyncio.wait({running})
        raise
