"""Compression: long answers are sent so to clients that take gzip; bodies may come so."""

import re

from aiohttp import web
from aiohttp.typedefs import Handler

from taskqueue_api.http.errors import error_body

#: Bytes from which it is worth it.
_LONG = 1024
_COMPRESSIBLE = ("application/json", "text/")

#: How a body may be encoded. What else aiohttp can decode depends on the libraries that are installed.
ACCEPTED = "gzip, deflate"
UNKNOWN_CODING = f"Content-Encoding: a body may be encoded once, as one of {ACCEPTED}"


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


def refuse_unknown_codings(request: web.Request) -> None:
    """Call it before a body is read.

    Raises:
        HTTPUnsupportedMediaType: it is encoded as it can't be decoded.
    """
    codings = ", ".join(request.headers.getall("Content-Encoding", [])).strip().lower()
    if codings not in {"", "identity", *ACCEPTED.split(", ")}:
        raise web.HTTPUnsupportedMediaType(
            text=error_body(UNKNOWN_CODING), content_type="application/json", headers={"Accept-Encoding": ACCEPTED}
        )


def _takes_gzip(accepted: str) -> bool:
    for coding in accepted.lower().split(","):
        name, *parameters = (part.strip() for part in coding.split(";"))
        if name == "gzip":
            return not any(re.fullmatch(r"q\s*=\s*0(\.0*)?", parameter) for parameter in parameters)
    return False
