"""`GET /ui/static/{file}`: styles and modules, which hold nothing that is private."""

from importlib.resources import files

from aiohttp import web

from taskqueue_api.http.files import SCRIPT, STYLE, File

_TYPES = {".js": SCRIPT, ".css": STYLE}
_FILES = {
    file.name: File(file.read_bytes(), _TYPES[file.name[file.name.rindex(".") :]])
    for file in files("taskqueue_api.ui").joinpath("static").iterdir()
}


async def static(request: web.Request) -> web.Response:
    """A file that pages load."""
    found = _FILES.get(request.match_info["file"])
    if found is None:
        raise web.HTTPNotFound
    return found.answer(request)
