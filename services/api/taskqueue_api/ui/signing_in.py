"""`/ui/sign-in` and `/ui/sign-out`: a key for a session."""

import json
import re
from urllib.parse import parse_qs

from aiohttp import web

from taskqueue_api.http.cors import refuse_foreign
from taskqueue_api.http.deadline import Body
from taskqueue_api.http.errors import bad_request
from taskqueue_api.keys import HOLDER
from taskqueue_api.resources.sessions import begin_session, end_session, sign_in
from taskqueue_api.ui.pages import redirect, render

_LONGEST_FORM = 8192
#: A page of ours, as `next` names it.
_PAGE = re.compile(r"(ui(?:/[\w%~-][\w%.~-]*)*)(?:\?[!-~]*)?", re.ASCII)


async def ask_for_key(request: web.Request) -> web.Response:
    """`GET /ui/sign-in`."""
    if HOLDER in request:
        return redirect(request, "ui")
    return _form(request, request.query.get("next", ""))


async def take_key(request: web.Request) -> web.Response:
    """`POST /ui/sign-in`: begins a session, and leads to the page that was asked for."""
    refuse_foreign(request)
    async with Body(request, _LONGEST_FORM) as raw:
        try:
            form = parse_qs(raw.decode(), max_num_fields=10)
        except ValueError as error:
            raise bad_request("not a form") from error
    page = form.get("next", [""])[0]
    try:
        holder = await sign_in(request, form.get("key", [""])[0])
    except web.HTTPUnauthorized as error:
        return _form(request, page, status=401, error=json.loads(error.text or "")["error"])
    response = redirect(request, "ui")
    if _PAGE.fullmatch(page):
        response.headers["Location"] = f"../{page}"
    begin_session(request, response, holder)
    return response


async def sign_out(request: web.Request) -> web.Response:
    """`POST /ui/sign-out`."""
    refuse_foreign(request)
    response = redirect(request, "ui/sign-in")
    end_session(request, response)
    return response


def _form(request: web.Request, page: str, status: int = 200, error: str | None = None) -> web.Response:
    return render(request, "sign_in.html", status, next=page, error=error)
