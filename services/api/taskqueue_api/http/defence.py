"""What every answer says: to browsers that guess, to caches, and to who looks for versions."""

from aiohttp import web

_ALWAYS = {"Server": "taskqueue", "X-Content-Type-Options": "nosniff"}


async def defend(_request: web.BaseRequest, response: web.StreamResponse) -> None:
    """Put it on an answer. What may be kept, and for how long, says so itself: all else is kept nowhere."""
    response.headers.update(_ALWAYS)
    response.headers.setdefault("Cache-Control", "no-store")
