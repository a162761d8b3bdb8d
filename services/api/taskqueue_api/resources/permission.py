"""Whether who asks may do what is asked for."""

from aiohttp import web

from taskqueue.contract.keys import Role
from taskqueue_api.http.credentials import insufficient, unauthorized
from taskqueue_api.keys import HOLDER

NO_KEY = "a key is needed: send it as Authorization: Bearer"


def require(request: web.Request, role: Role, *, narrowed: bool) -> None:
    """Let a request pass whose holder has a role, or one above it.

    Args:
        narrowed: whether its handler keeps to the tasks of a holder whose key is bound to some.

    Raises:
        HTTPUnauthorized: it is nobody's.
        HTTPForbidden: its holder's role is too low, or it tells of others' tasks, too.
    """
    holder = request.get(HOLDER)
    if holder is None:
        raise unauthorized(NO_KEY)
    if not holder.role.includes(role):
        raise insufficient(f"this needs the role {role}; the key's role is {holder.role}", role)
    if holder.is_bound and not narrowed:
        raise insufficient("this is not for keys that are bound to some tasks: it tells of all", role)
