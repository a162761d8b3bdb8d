"""Files that are served as they are."""

import hashlib

from aiohttp import ETag, web

SCRIPT, STYLE = "text/javascript; charset=utf-8", "text/css; charset=utf-8"


class File:
    """What is served as it is, until the API is another version."""

    def __init__(self, body: bytes, content_type: str, **headers: str) -> None:
        self._body = body
        self._headers = {"Content-Type": content_type} | headers
        self._tag = ETag(hashlib.blake2b(body, digest_size=12).hexdigest())

    def answer(self, request: web.Request) -> web.Response:
        """The file; 304 where the client has it already."""
        known = any(tag.value in {self._tag.value, "*"} for tag in request.if_none_match or ())
        answer = web.Response(status=304) if known else web.Response(body=self._body, headers=self._headers)
        answer.etag = self._tag
        answer.headers["Cache-Control"] = "no-cache"  # which means: ask whether it has changed
        return answer
