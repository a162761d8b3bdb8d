"""How long a request may take. A write is never cut off: what was answered as not done must not be done after all.

So the deadline of a POST is that of its body; what comes then has its own: `write_timeout`, `publish_timeout`.
"""

import asyncio
import json

from aiohttp import web
from aiohttp.typedefs import Handler

from taskqueue_api.errors import unavailable
from taskqueue_api.keys import SETTINGS


@web.middleware
async def end_long_reads(request: web.Request, handler: Handler) -> web.StreamResponse:
    """End a GET that takes too long; the time that the client would wait doesn't count, nor do streams."""
    if request.method not in {"GET", "HEAD"} or request.path.endswith("/events"):
        return await handler(request)
    settings = request.app[SETTINGS]
    wait = settings.max_wait if "Prefer" in request.headers else 0
    try:
        async with asyncio.timeout(settings.request_timeout + wait):
            return await handler(request)
    except TimeoutError as error:
        raise unavailable("the request took too long") from error


async def read_body(request: web.Request, limit: int | None = None) -> bytes:
    """The body.

    Raises:
        HTTPRequestTimeout: it didn't come in time.
        HTTPRequestEntityTooLarge: it has more bytes than a setting, or this limit, allows.
    """
    reading = request if limit is None else request.clone(client_max_size=limit)
    try:
        async with asyncio.timeout(request.app[SETTINGS].request_timeout):
            return await reading.read()
    except TimeoutError as error:
        text = json.dumps({"error": "the body did not come in time; nothing was done"})
        answer = web.HTTPRequestTimeout(text=text, content_type="application/json")
        answer.force_close()
        raise answer from error
