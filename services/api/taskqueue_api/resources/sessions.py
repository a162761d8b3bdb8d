"""Sessions: who shows a page their key once is known by a cookie for some hours. Scripts can't read it, and
browsers send it from this site's own pages only."""

from aiohttp import web

from taskqueue_api.http.addresses import address_of
from taskqueue_api.http.credentials import COOKIE, Credentials, unauthorized
from taskqueue_api.http.prefix import prefix_of
from taskqueue_api.keys import FAILED_TRIES, KEYRING, STORE
from taskqueue_api.live.holders import Holder

#: Seconds that a session lasts, at most: a working day.
LASTS = 8 * 3600


async def sign_in(request: web.Request, key: str) -> Holder:
    """Who holds this key. A wrong one is counted, and answered the later the more often.

    Raises:
        HTTPUnauthorized: it is no good; the error says why.
    """
    found = request.app[KEYRING].identify(Credentials(key.strip(), session=False))
    if isinstance(found, str):
        await request.app[FAILED_TRIES].add(address_of(request), found)
        raise unauthorized(found, "invalid_token")
    return found


def begin_session(request: web.Request, response: web.StreamResponse, holder: Holder) -> None:
    """Have a browser keep the session of who holds a key. It ends with the key, if that is sooner."""
    session = request.app[KEYRING].session_for(holder, request.app[STORE].clock() + LASTS * 1000)
    response.set_cookie(
        COOKIE,
        session,
        max_age=LASTS,
        path=_path(request),
        httponly=True,
        samesite="Strict",
        secure=_is_secure(request),
    )


def end_session(request: web.Request, response: web.StreamResponse) -> None:
    """Have a browser forget its session."""
    response.del_cookie(COOKIE, path=_path(request), httponly=True, samesite="Strict", secure=_is_secure(request))


def _path(request: web.Request) -> str:
    return prefix_of(request) or "/"


def _is_secure(request: web.Request) -> bool:
    """Whether a browser sent it encrypted. Who makes the proxy's header up keeps but their own cookie away."""
    return request.secure or request.headers.get("X-Forwarded-Proto", "").lower() == "https"
