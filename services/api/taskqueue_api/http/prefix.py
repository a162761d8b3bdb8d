"""`X-Forwarded-Prefix`: the path under which a proxy serves the API, for the addresses that answers tell."""

import re

from aiohttp import web
from aiohttp.typedefs import Handler

from taskqueue_api.http.errors import bad_request

HEADER = "X-Forwarded-Prefix"
#: Segments that mean the same in every address, and begin with no dot.
_PATH = re.compile(r"(/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)*/?")
_LONGEST = 200
_PREFIX = web.RequestKey("prefix", str)


@web.middleware
async def read_prefix(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Take the proxy's word for it: only for an API that nobody reaches past a proxy which sets it.

    Raises:
        HTTPBadRequest: it is no path that an address could begin with.
    """
    told = request.headers.getall(HEADER, [""])
    if len(told) > 1 or len(told[0]) > _LONGEST or not _PATH.fullmatch(told[0]):
        raise bad_request(f"{HEADER}: one path of letters, digits and ._~-, such as /queue")
    request[_PREFIX] = told[0].rstrip("/")
    return await handler(request)


def prefix_of(request: web.Request) -> str:
    """What stands before the API's own paths; empty where no proxy is trusted to tell."""
    prefix: str = request.get(_PREFIX, "")
    return prefix
