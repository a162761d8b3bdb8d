"""`GET /openapi.json`, and `GET /docs`: a page to browse it, which asks no other host for anything; `GET /` tells
where they are, and leads browsers to the dashboard."""

import functools
import importlib.metadata
import json
from pathlib import Path
from typing import Any

from aiohttp import web

from taskqueue.contract.answers import RootAnswer
from taskqueue.version import VERSION
from taskqueue_api.http.files import SCRIPT, STYLE, File
from taskqueue_api.http.prefix import prefix_of

#: Swagger UI's own files are served as they come in this package; its code is not imported.
_PACKAGE, _FOLDER = "flask-swagger-ui", "flask_swagger_ui/dist"

#: Its links are relative, so that they hold behind a proxy's prefix, too.
_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>taskqueue API</title>
<link rel="icon" type="image/png" href="docs/favicon-32x32.png">
<link rel="stylesheet" href="docs/swagger-ui.css">
</head>
<body>
<div id="page"></div>
<script src="docs/swagger-ui-bundle.js"></script>
<script src="docs/start.js"></script>
</body>
</html>
"""
_START = """SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#page",
  deepLinking: true,
  validatorUrl: null,
  defaultModelsExpandDepth: 0,
  displayRequestDuration: true,
});
"""

#: What the page loads, by name.
FILES = {
    "swagger-ui-bundle.js": SCRIPT,
    "start.js": SCRIPT,
    "swagger-ui.css": STYLE,
    "favicon-32x32.png": "image/png",
}

#: Nothing but what this host serves, and the small pictures inside its style sheet.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


class Docs:
    """The document, the page and its files, read once."""

    def __init__(self, document: dict[str, Any]) -> None:
        self._document = document
        self.document = self.document_at("/")
        self.page = File(_PAGE.encode(), "text/html; charset=utf-8", **{"Content-Security-Policy": _POLICY})
        self.files = {
            name: File(_START.encode() if name == "start.js" else _shipped(name), content_type)
            for name, content_type in FILES.items()
        }

    def document_at(self, path: str) -> File:
        """The document of an API whose paths begin there."""
        document = self._document | {"servers": [{"url": path}]}
        return File(json.dumps(document, ensure_ascii=False).encode(), "application/json")


DOCS = web.AppKey("docs", Docs)


async def root(request: web.Request) -> web.Response:
    """`GET /`: leads browsers to the dashboard, and tells programs where all is."""
    prefix = prefix_of(request)
    if "text/html" in request.headers.get("Accept", ""):
        response = web.Response(status=307, headers={"Location": f"{prefix}/ui"})
    else:
        answer = RootAnswer(
            name="taskqueue", version=VERSION, docs=f"{prefix}/docs", openapi=f"{prefix}/openapi.json"
        )
        response = web.json_response(text=answer.to_json())
    response.headers["Vary"] = "Accept"
    return response


async def openapi(request: web.Request) -> web.Response:
    """`GET /openapi.json`: what this API can do, for programs."""
    docs, prefix = request.app[DOCS], prefix_of(request)
    return (docs.document_at(prefix) if prefix else docs.document).answer(request)


async def page(request: web.Request) -> web.Response:
    """`GET /docs`: the same for people."""
    return request.app[DOCS].page.answer(request)


async def file(request: web.Request) -> web.Response:
    """`GET /docs/{file}`: what the page loads."""
    found = request.app[DOCS].files.get(request.match_info["file"])
    if found is None:
        raise web.HTTPNotFound
    return found.answer(request)


@functools.cache
def _shipped(name: str) -> bytes:
    package = importlib.metadata.distribution(_PACKAGE)
    return Path(str(package.locate_file(f"{_FOLDER}/{name}"))).read_bytes()
