"""Long answers are sent compressed to clients that take gzip."""

import re

from aiohttp import web
from aiohttp.typedefs import Handler

#: Bytes from which it is worth it.
_LONG = 1024
_COMPRESSIBLE = ("application/json", "text/")


@web.middleware
async def compress(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Compress a whole answer. Streams are left alone: each event must leave at once."""
    response = await handler(request)
    if (
        isinstance(response, web.Response)
        and response.content_type.startswith(_COMPRESSIBLE)
        and isinstance(response.body, bytes)
        and len(response.body) >= _LONG
    ):
        response.headers["Vary"] = "Accept-Encoding"
        if _takes_gzip(request.headers.get("Accept-Encoding", "")):
            response.enable_compression(web.ContentCoding.gzip)
    return response


def _takes_gzip(accepted: str) -> bool:
    for coding in accepted.lower().split(","):
        name, *parameters = (part.strip() for part in coding.split(";"))
        if name == "gzip":
            return not any(re.fullmatch(r"q\s*=\s*0(\.0*)?", parameter) for parameter in parameters)
    return False
