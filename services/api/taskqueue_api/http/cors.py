"""Web pages of other origins: they may use the API where their origins are allowed, and else not at all."""

from aiohttp import web
from aiohttp.typedefs import Handler

from taskqueue_api.http.errors import error_body

#: The origins whose pages may use the API; `*` is all of them.
ORIGINS = web.AppKey("origins", frozenset[str])

_EXPOSED = (
    "ETag, Idempotency-Replayed, Link, Location, Preference-Applied, Retry-After, WWW-Authenticate, X-Request-ID"
)
_ACCEPTED = (
    "Authorization, Content-Type, Idempotency-Key, If-None-Match, Last-Event-ID, Prefer, traceparent, X-Request-ID"
)
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


@web.middleware
async def refuse_foreign_pages(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Without CORS a page of any site can't read an answer, but could send a POST: whoever visits it reaches
    what listens on their loopback address.

    The check is that of Go's `net/http.CrossOriginProtection`: browsers tell where a request comes from, by
    `Sec-Fetch-Site`, or at least by `Origin`; other clients send neither.
    """
    if request.method not in {"GET", "HEAD", "OPTIONS"} and _is_foreign(request) and not _is_allowed(request):
        page = request.headers.get("Origin", "another origin")[:100]
        error = f"pages of {page} may not use this API; TASKQUEUE_CORS_ORIGINS names those that may"
        raise web.HTTPForbidden(text=error_body(error), content_type="application/json")
    return await handler(request)


def refuse_foreign(request: web.Request) -> None:
    """Let pages of no other origin pass, allowed or not: what they begin, use or end is their reader's session.

    Raises:
        HTTPForbidden: a page of another origin sent it.
    """
    if _is_foreign(request):
        raise web.HTTPForbidden(
            text=error_body("a session is for this site's own pages only"), content_type="application/json"
        )


def _is_foreign(request: web.Request) -> bool:
    """Whether a page of another origin sent it, as far as its browser tells."""
    site, origin = request.headers.get("Sec-Fetch-Site"), request.headers.get("Origin")
    if site is not None:
        return site not in {"same-origin", "none"}
    # A browser writes the host of both headers alike.
    return origin is not None and origin.partition("://")[2] != request.host


def read_origins(text: str) -> frozenset[str]:
    """Origins that are separated by commas."""
    return frozenset(filter(None, (origin.strip() for origin in text.split(","))))


async def allow_origins(request: web.Request, response: web.StreamResponse) -> None:
    """Let the pages of allowed origins read the answer."""
    if request.app[ORIGINS]:
        response.headers.add("Vary", "Origin")
        if _is_allowed(request):
            response.headers["Access-Control-Allow-Origin"] = request.headers["Origin"]
            response.headers["Access-Control-Expose-Headers"] = _EXPOSED


def _is_allowed(request: web.Request) -> bool:
    origins = request.app[ORIGINS]
    origin = request.headers.get("Origin")
    return origin is not None and (origin in origins or ("*" in origins and origin.isascii()))
