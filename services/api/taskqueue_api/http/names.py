"""The names by which an API that asks nobody for anything may be reached: those of this machine.

A page whose own host name was made to lead here (DNS rebinding) is of the API's origin, as far as its browser
sees; but the `Host` that it sends tells.
"""

from ipaddress import ip_address

from aiohttp import web
from aiohttp.typedefs import Handler
from yarl import URL

from taskqueue_api.http.errors import error_body

#: Nobody has names below these in the public DNS: RFC 6761, and ICANN's resolution of 2024-07-29.
_OURS = (".localhost", ".internal")


@web.middleware
async def refuse_other_names(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer what asks for an address, for a name without a dot, as other containers do, or for this machine."""
    if not _is_ours(request.headers.get("Host", "")):
        error = (
            "without keys, the API is for this machine only, and has no such name; TASKQUEUE_AUTH=on asks for "
            "keys, and TASKQUEUE_AUTH=proxy says that a proxy in front checks who asks"
        )
        raise web.HTTPForbidden(text=error_body(error), content_type="application/json")
    return await handler(request)


def _is_ours(host: str) -> bool:
    try:
        name = URL(f"http://{host}").host or ""
    except ValueError:
        return False
    name = name.removesuffix(".")
    if "." not in name or name.endswith(_OURS):
        return True
    try:
        ip_address(name)
    except ValueError:
        return False
    return True
