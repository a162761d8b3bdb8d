"""What a request shows to say whose it is: a key in a header, or a page's session in a cookie. Nowhere else."""

import re
from dataclasses import dataclass
from urllib.parse import unquote

from aiohttp import hdrs, web

from taskqueue_api.http.cors import refuse_foreign
from taskqueue_api.http.errors import bad_request, error_body

#: The cookie of a session.
COOKIE = "taskqueue_session"
#: What looks like a key, whole or cut, wherever it stands.
_KEY = re.compile(r"tq_[0-9A-Za-z]{12}_[0-9A-Za-z]{8,}")


@dataclass(frozen=True, slots=True)
class Credentials:
    """What was shown."""

    text: str
    #: Whether it is a session; else it is a key.
    session: bool


def shows_key(text: str) -> bool:
    """Whether there is a key in a text, which then is nothing to repeat."""
    return "tq_" in text and _KEY.search(text) is not None


def credentials_of(request: web.Request) -> Credentials | None:
    """What the request shows; None where that is nothing. A key in a header counts before a session.

    Raises:
        HTTPBadRequest: there is a key in its address, or more than one header.
        HTTPUnauthorized: its header shows no key.
        HTTPForbidden: a page of another origin would change something by the session of whoever reads it.
    """
    target = request.raw_path
    if shows_key(target) or ("%" in target and shows_key(unquote(target))):
        raise bad_request(
            "a key doesn't belong into an address, which proxies and browsers keep: send it as Authorization: "
            "Bearer, and revoke this one"
        )
    given = request.headers.getall(hdrs.AUTHORIZATION, ())
    if len(given) > 1:
        raise bad_request("Authorization is given more than once")
    if given:
        scheme, _, text = given[0].partition(" ")
        if scheme.lower() != "bearer" or not text.strip():
            raise unauthorized("Authorization: Bearer and a key are needed", "invalid_request")
        return Credentials(text.strip(), session=False)
    session = request.cookies.get(COOKIE)
    if session is None:
        return None
    if request.method not in {"GET", "HEAD", "OPTIONS"}:
        refuse_foreign(request)
    return Credentials(session, session=True)


def unauthorized(error: str, code: str | None = None) -> web.HTTPUnauthorized:
    """A 401 to raise.

    Args:
        code: of RFC 6750; None where nothing was shown.
    """
    challenge = "Bearer" if code is None else f'Bearer error="{code}"'
    return web.HTTPUnauthorized(
        text=error_body(error), content_type="application/json", headers={hdrs.WWW_AUTHENTICATE: challenge}
    )


def insufficient(error: str, needed: str) -> web.HTTPForbidden:
    """A 403 to raise: whose request it is has been shown, and they may not.

    Args:
        needed: the role that may.
    """
    return web.HTTPForbidden(
        text=error_body(error),
        content_type="application/json",
        headers={hdrs.WWW_AUTHENTICATE: f'Bearer error="insufficient_scope", scope="{needed}"'},
    )
