"""The dashboard's routes. They are no part of the API, and not in its document."""

from aiohttp import web

from taskqueue_api.ui.files import static
from taskqueue_api.ui.pages import home, page
from taskqueue_api.ui.places import PLACES, TASKS
from taskqueue_api.ui.signing_in import ask_for_key, sign_out, take_key


def pages() -> list[web.RouteDef]:
    """All of them."""
    return [
        web.get("/ui", home),
        web.get("/ui/sign-in", ask_for_key),
        web.post("/ui/sign-in", take_key),
        web.post("/ui/sign-out", sign_out),
        *(web.get(f"/{place.path}", page(place)) for place in PLACES),
        web.get("/ui/tasks/{id}", page(TASKS, "task.html")),
        web.get("/ui/static/{file}", static),
    ]
