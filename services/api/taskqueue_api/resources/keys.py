"""The resource `/keys`: those who may use the API."""

from aiohttp import web

from taskqueue.contract.audit import AuditedOperation
from taskqueue.contract.keys import KeyBody, KeysAnswer
from taskqueue.keys import all_keys, end_key, make_key
from taskqueue_api.http.bodies import read_json
from taskqueue_api.http.deadline import Body
from taskqueue_api.http.errors import bad_request, error_body
from taskqueue_api.keys import KEYRING, STORE
from taskqueue_api.resources.audit import deed_of


async def create(request: web.Request) -> web.Response:
    """`POST /keys`: make a key; this answer alone has it."""
    async with Body(request) as raw:
        body = read_json(KeyBody, raw)
    try:
        made = await make_key(request.app[STORE], body, deed_of(request, AuditedOperation.CREATE_KEY))
    except ValueError as error:
        raise bad_request(str(error)) from error
    await request.app[KEYRING].refresh()
    return web.json_response(text=made.to_json(), status=201)


async def show_all(request: web.Request) -> web.Response:
    """`GET /keys`: all, newest first."""
    keys = await all_keys(request.app[STORE])
    return web.json_response(text=KeysAnswer(keys=keys, count=len(keys)).to_json())


async def revoke(request: web.Request) -> web.Response:
    """`DELETE /keys/{key}`: end a key for good; again, it is what it was."""
    id = request.match_info["key"]
    ended = await end_key(request.app[STORE], id, deed_of(request, AuditedOperation.REVOKE_KEY))
    if ended is None:
        error = f"no key has the id {id[:100]!r}"
        raise web.HTTPNotFound(text=error_body(error), content_type="application/json")
    await request.app[KEYRING].refresh()
    return web.json_response(text=ended.to_json())
