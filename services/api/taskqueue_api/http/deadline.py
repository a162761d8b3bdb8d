"""How long a request may take. A write is never cut off: what was answered as not done must not be done after all.

So the deadline of a POST is that of its body; what comes then has its own: `write_timeout`, `publish_timeout`.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

from aiohttp import web
from aiohttp.typedefs import Handler

from taskqueue_api.http.compression import refuse_unknown_codings
from taskqueue_api.http.errors import error_body, unavailable
from taskqueue_api.http.room import LARGE, Room

#: Seconds in which the body of a request must have come, and a GET be answered.
REQUEST_TIMEOUT = web.AppKey("request_timeout", float)
#: Seconds that a client may ask to wait beside, at most.
MAX_WAIT = web.AppKey("max_wait", float)
#: For large bodies while they come, and while they are worked on. A slow client shall not keep others from either.
COMING = web.AppKey("coming", Room)
WORKED_ON = web.AppKey("worked_on", Room)


@web.middleware
async def end_long_reads(request: web.Request, handler: Handler) -> web.StreamResponse:
    """End a GET that takes too long; the time that the client would wait doesn't count, nor do streams."""
    if request.method not in {"GET", "HEAD"} or request.path.endswith("/events"):
        return await handler(request)
    wait = request.app[MAX_WAIT] if "Prefer" in request.headers else 0
    try:
        async with asyncio.timeout(request.app[REQUEST_TIMEOUT] + wait):
            return await handler(request)
    except TimeoutError as error:
        raise unavailable("the request took too long") from error


class Body:
    """The body of a request, with room for what is made of it until this is left."""

    def __init__(self, request: web.Request, limit: int | None = None) -> None:
        """
        Args:
            limit: bytes at most, where it is not the application's limit.
        """
        self._request = request
        self._limit = limit or request.client_max_size
        #: What a body waits for that is large, or has not come.
        self._held: contextlib.AbstractAsyncContextManager[bytes] | None = None

    async def __aenter__(self) -> bytes:
        """
        Raises:
            HTTPUnsupportedMediaType: it is encoded as it can't be decoded.
            HTTPRequestTimeout: it didn't come in time.
            HTTPRequestEntityTooLarge: it has more bytes.
            HTTPServiceUnavailable: it is large, as are many others, and its turn didn't come in time.
        """
        refuse_unknown_codings(self._request)
        content = self._request.content
        # Most are small, and came with the headers: a deadline, and what else may be needed, would cost more.
        if content.is_eof() and content.total_bytes <= min(self._limit, LARGE):
            return content.read_nowait()
        self._held = _awaited(self._request, self._limit)
        return await self._held.__aenter__()

    async def __aexit__(self, *raised: Any) -> bool | None:
        return await self._held.__aexit__(*raised) if self._held else None


@contextlib.asynccontextmanager
async def _awaited(request: web.Request, limit: int) -> AsyncIterator[bytes]:
    async with contextlib.AsyncExitStack() as coming:
        body = await _read(request, limit, coming)
        if len(body) <= LARGE:
            yield body
        else:
            async with request.app[WORKED_ON].taken(len(body)):
                await coming.aclose()
                yield body


async def _read(request: web.Request, limit: int, coming: contextlib.AsyncExitStack) -> bytes:
    size = request.content_length
    if size is None or "Content-Encoding" in request.headers:
        size = limit  # nobody knows: it may be as much
    elif size > limit:
        raise web.HTTPRequestEntityTooLarge(limit, size)
    clock, seconds = asyncio.get_running_loop().time, request.app[REQUEST_TIMEOUT]
    body, has_room = bytearray(), False
    try:
        async with asyncio.timeout(seconds) as deadline:
            while chunk := await request.content.readany():
                body += chunk
                if len(body) > limit:
                    raise web.HTTPRequestEntityTooLarge(limit, len(body))
                if len(body) > LARGE and not has_room:
                    deadline.reschedule(None)
                    await coming.enter_async_context(request.app[COMING].taken(size))
                    deadline.reschedule(clock() + seconds)
                    has_room = True
    except TimeoutError as error:
        text = error_body("the body did not come in time; nothing was done")
        answer = web.HTTPRequestTimeout(text=text, content_type="application/json")
        answer.force_close()
        raise answer from error
    return bytes(body)
