"""`X-Request-ID`: each request has a name, which stands on its answer, on its log lines and in the tasks that it
submits."""

import re
from contextvars import ContextVar

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware
from uuid_utils import uuid4

from taskqueue_api.http.credentials import shows_key

HEADER = "X-Request-ID"
_NAME = web.RequestKey("request_id", str)


def name_requests(current: ContextVar[str | None]) -> Middleware:
    """Name each request; `current` holds the name meanwhile."""

    @web.middleware
    async def name_request(request: web.Request, handler: Handler) -> web.StreamResponse:
        token = current.set(name_of(request))
        try:
            return await handler(request)
        finally:
            current.reset(token)

    return name_request


def name_of(request: web.BaseRequest) -> str:
    """The client's name for a request, or one that is made where it gave none that can be logged as it is."""
    if _NAME not in request:
        given = request.headers.get(HEADER, "")
        usable = re.fullmatch("[!-~]{1,128}", given) and not shows_key(given)
        request[_NAME] = given if usable else str(uuid4())
    return request[_NAME]


async def tell_request_id(request: web.BaseRequest, response: web.StreamResponse) -> None:
    """Put it on every answer, also on a stream's."""
    response.headers[HEADER] = name_of(request)
