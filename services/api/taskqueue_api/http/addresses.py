"""`X-Forwarded-For`: the address from which a proxy was asked, for what is counted and noted by address."""

from ipaddress import ip_address

from aiohttp import web
from aiohttp.typedefs import Handler

from taskqueue_api.http.errors import bad_request

HEADER = "X-Forwarded-For"
_ADDRESS = web.RequestKey("address", str)


@web.middleware
async def read_address(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Take the proxy's word for it: only for an API that nobody reaches past a proxy which sets it.

    Of several addresses the last counts, which is the proxy's own: those before it are what it was told.

    Raises:
        HTTPBadRequest: it is no address.
    """
    if told := request.headers.getall(HEADER, ()):
        last = told[-1].rpartition(",")[2].strip()
        try:
            request[_ADDRESS] = str(ip_address(last))
        except ValueError:
            raise bad_request(f"{HEADER}: its last item must be an IP address, such as 192.0.2.1") from None
    return await handler(request)


def address_of(request: web.Request) -> str:
    """Where a request comes from: the proxy's word for it where one is trusted, else where its connection does."""
    address: str = request.get(_ADDRESS, request.remote or "")
    return address
