"""Pages of other origins may use the API where a setting names these origins (CORS)."""

from aiohttp import web
from aiohttp.typedefs import Handler

from taskqueue_api.keys import SETTINGS

_EXPOSED = "ETag, Idempotency-Replayed, Link, Location, Preference-Applied, Retry-After, X-Request-ID"
_ACCEPTED = "Content-Type, Idempotency-Key, If-None-Match, Last-Event-ID, Prefer, X-Request-ID"
#: Seconds for which a browser needs not ask again.
_KNOWN_FOR = "600"


@web.middleware
async def answer_preflights(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Tell a browser what a page of an allowed origin may send."""
    if (
        request.method != "OPTIONS"
        or "Access-Control-Request-Method" not in request.headers
        or not _is_allowed(request)
    ):
        return await handler(request)
    return web.Response(
        status=204,
        headers={
            "Access-Control-Allow-Methods": "GET, HEAD, POST, DELETE",
            "Access-Control-Allow-Headers": _ACCEPTED,
            "Access-Control-Max-Age": _KNOWN_FOR,
        },
    )


async def allow_origins(request: web.Request, response: web.StreamResponse) -> None:
    """Let the pages of allowed origins read the answer."""
    if request.app[SETTINGS].cors_origins:
        response.headers.add("Vary", "Origin")
        if _is_allowed(request):
            response.headers["Access-Control-Allow-Origin"] = request.headers["Origin"]
            response.headers["Access-Control-Expose-Headers"] = _EXPOSED


def _is_allowed(request: web.Request) -> bool:
    origins = {origin.strip() for origin in request.app[SETTINGS].cors_origins.split(",") if origin.strip()}
    origin = request.headers.get("Origin")
    return origin is not None and (origin in origins or "*" in origins)
