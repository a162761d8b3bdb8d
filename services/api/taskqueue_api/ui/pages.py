"""The dashboard's pages. Each is a frame: its module asks the API for the rest, as any client does, so that
nothing but the API decides what its reader may see and do."""

from typing import Any

from aiohttp import web
from aiohttp.typedefs import Handler
from jinja2 import Environment, PackageLoader, StrictUndefined

from taskqueue.contract.audit import AuditedOperation
from taskqueue.contract.keys import Role
from taskqueue_api.keys import HOLDER, SETTINGS
from taskqueue_api.ui.places import PLACES, Place

_TEMPLATES = Environment(
    loader=PackageLoader("taskqueue_api.ui"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
)
_TEMPLATES.globals["operations"] = list(AuditedOperation)

#: Nothing but what this host serves; nothing in the page itself is run, and no other page may hold it.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)


def page(place: Place, template: str | None = None) -> Handler:
    """The handler of a page, for those whom it is for; who shows no key is led to where they do.

    Args:
        template: of a page that the navigation doesn't lead to, but a place whose readers may read it.
    """

    async def show(request: web.Request) -> web.Response:
        holder = request.get(HOLDER)
        if holder is None:
            return redirect(request, "ui/sign-in", next=str(request.rel_url)[1:])
        if not place.is_for(holder):
            return render(request, "refused.html", status=403, place=place)
        return render(request, template or place.template)

    return show


async def home(request: web.Request) -> web.Response:
    """`GET /ui`: to the first page that its reader may read."""
    holder = request.get(HOLDER)
    if holder is None:
        return redirect(request, "ui/sign-in", next="ui")
    return redirect(request, next(place.path for place in PLACES if place.is_for(holder)))


def render(request: web.Request, template: str, status: int = 200, **values: Any) -> web.Response:
    """A page of this template."""
    holder = request.get(HOLDER)
    may = [role for role in Role if holder and holder.role.includes(role)]
    text = _TEMPLATES.get_template(template).render(
        root=_root(request),
        here=request.path[1:],
        holder=holder,
        may=may,
        mask=request.app[SETTINGS].mask,
        places=[place for place in PLACES if holder and place.is_for(holder)],
        **values,
    )
    return web.Response(
        status=status,
        text=text,
        content_type="text/html",
        headers={
            "Content-Security-Policy": _POLICY,
            # Without any, a form's Origin would be null, which is nobody's.
            "Referrer-Policy": "same-origin",
        },
    )


def redirect(request: web.Request, path: str, **query: str) -> web.Response:
    """To a path of this API, by GET."""
    url = request.rel_url.with_path(f"/{path}").with_query(query)
    return web.Response(status=303, headers={"Location": _root(request) + str(url)[1:]})


def _root(request: web.Request) -> str:
    """Where the API's paths begin, seen from the page: that holds behind any proxy's prefix."""
    return "../" * (request.rel_url.raw_path.count("/") - 1) or "./"
