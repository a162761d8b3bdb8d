"""How long a request may take. A write is never cut off: what was answered as not done must not be done after all.

So the deadline of a POST is that of its body; what comes then has its own: `write_timeout`, `publish_timeout`.
"""

import asyncio

from aiohttp import web
from aiohttp.typedefs import Handler

from taskqueue_api.http.compression import refuse_unknown_codings
from taskqueue_api.http.errors import error_body, unavailable

#: Seconds in which the body of a request must have come, and a GET be answered.
REQUEST_TIMEOUT = web.AppKey("request_timeout", float)
#: Seconds that a client may ask to wait beside, at most.
MAX_WAIT = web.AppKey("max_wait", float)


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


async def read_body(request: web.Request, limit: int | None = None) -> bytes:
    """The body.

    Raises:
        HTTPUnsupportedMediaType: it is encoded as it can't be decoded.
        HTTPRequestTimeout: it didn't come in time.
        HTTPRequestEntityTooLarge: it has more bytes than the application, or this limit, allows.
    """
    refuse_unknown_codings(request)
    reading = request if limit is None else request.clone(client_max_size=limit)
    try:
        async with asyncio.timeout(request.app[REQUEST_TIMEOUT]):
            return await reading.read()
    except TimeoutError as error:
        text = error_body("the body did not come in time; nothing was done")
        answer = web.HTTPRequestTimeout(text=text, content_type="application/json")
        answer.force_close()
        raise answer from error
