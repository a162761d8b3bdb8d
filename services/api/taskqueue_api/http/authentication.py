"""Whose request it is: found out before its handler is called."""

from collections.abc import Callable
from typing import TypeVar

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from taskqueue_api.http.addresses import address_of
from taskqueue_api.http.credentials import Credentials, credentials_of, unauthorized
from taskqueue_api.http.failed_tries import FailedTries

T = TypeVar("T")

#: Finds who shows this; or says in words why it is nobody.
Identify = Callable[[Credentials], T | str]


def authenticate(identify: Identify[T], key: web.RequestKey[T], tries: FailedTries) -> Middleware:
    """Put who asks at `request[key]`, where anything was shown: what nobody may do without is up to the routes.

    A session that has ended is as good as none: its page leads to where one begins.
    """

    @web.middleware
    async def authenticated(request: web.Request, handler: Handler) -> web.StreamResponse:
        shown = credentials_of(request)
        if shown is not None:
            found = identify(shown)
            if not isinstance(found, str):
                request[key] = found
            elif not shown.session:
                await tries.add(address_of(request), found)
                raise unauthorized(found, "invalid_token")
        return await handler(request)

    return authenticated


def trust_everybody(holder: T, key: web.RequestKey[T]) -> Middleware:
    """Put the same one at `request[key]` always, whatever is shown."""

    @web.middleware
    async def trusted(request: web.Request, handler: Handler) -> web.StreamResponse:
        request[key] = holder
        return await handler(request)

    return trusted
