"""What is large waits for room, so that not much is in memory at once, and is worked on off the event loop."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import ParamSpec, TypeVar

from aiohttp import web
from aiohttp.typedefs import Handler

from taskqueue_api.http.errors import unavailable

P = ParamSpec("P")
T = TypeVar("T")

#: Bytes up to which a body or an answer is not large: it waits for nobody.
LARGE = 64 * 1024


class Room:
    """Room for so many bytes at a time; first come, first served."""

    def __init__(self, size: int, patience: float) -> None:
        """
        Args:
            patience: seconds after which who still waits is sent away.
        """
        self.patience = patience
        self._size = size
        self._free = size
        self._turn = asyncio.Lock()
        self._freed = asyncio.Event()

    @contextlib.asynccontextmanager
    async def taken(self, size: int) -> AsyncIterator[None]:
        """With room for so many bytes; with all of it, for what is larger.

        Raises:
            HTTPServiceUnavailable: nobody has made room in time.
        """
        size = min(size, self._size)
        try:
            async with asyncio.timeout(self.patience), self._turn:
                while self._free < size:
                    self._freed.clear()
                    await self._freed.wait()
                self._free -= size
        except TimeoutError as error:
            raise unavailable("too many large requests at once") from error
        try:
            yield
        finally:
            self._free += size
            self._freed.set()


#: For answers, from when they are read to when they are sent.
ANSWERS = web.AppKey("answers", Room)

#: Held by who works on something large.
TURN = web.AppKey("turn", asyncio.Lock)

#: What a request holds until its answer is sent.
_HELD = web.RequestKey("held", contextlib.AsyncExitStack)


def room_for_answer(request: web.Request) -> Callable[[int], Awaitable[None]]:
    """What is to be awaited before so many bytes are read for the answer. Their room is held until it is sent."""

    async def take(size: int) -> None:
        held = request[_HELD] = contextlib.AsyncExitStack()
        await held.enter_async_context(request.app[ANSWERS].taken(size))

    return take


@web.middleware
async def send_large_answers(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Send an answer while its room is held. A client that takes it too slowly is cut off."""
    try:
        response = await handler(request)
        if _HELD in request:
            try:
                async with asyncio.timeout(request.app[ANSWERS].patience):
                    await response.prepare(request)
                    await response.write_eof()
            except TimeoutError:
                if request.transport is not None:
                    request.transport.abort()
        return response
    finally:
        if _HELD in request:
            await request[_HELD].aclose()


async def off_loop(
    app: web.Application, size: int, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs
) -> T:
    """What a function returns; a thread runs it, where it works on so many bytes that others would wait for it.

    One at a time: what is parsed may need fifty times as much memory as its bytes.
    """
    if size <= LARGE:
        return function(*args, **kwargs)
    async with app[TURN]:
        return await asyncio.to_thread(function, *args, **kwargs)
