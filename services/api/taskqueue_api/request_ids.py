"""`X-Request-ID`: each request has a name, which stands on its answer, on its log lines and in the tasks that it
submits."""

import re
from uuid import uuid4

from aiohttp import web
from aiohttp.typedefs import Handler

from taskqueue.logs import REQUEST_ID

HEADER = "X-Request-ID"
_NAME = web.RequestKey("request_id", str)


@web.middleware
async def name_requests(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Take the client's name for the request, or make one where it gave none that can be logged as it is."""
    given = request.headers.get(HEADER, "")
    request[_NAME] = given if re.fullmatch("[!-~]{1,128}", given) else str(uuid4())
    token = REQUEST_ID.set(request[_NAME])
    try:
        return await handler(request)
    finally:
        REQUEST_ID.reset(token)


async def tell_request_id(request: web.BaseRequest, response: web.StreamResponse) -> None:
    """Put it on every answer, also on a stream's."""
    response.headers[HEADER] = request[_NAME]
