"""The resource `/keys`: those who may use the API."""

from aiohttp import web

from taskqueue.contract.keys import KeyAnswer, KeyBody, KeysAnswer, NewKeyAnswer, Role, new_key
from taskqueue.store.clock import to_ms
from taskqueue.store.keys import StoredKey, add_key, revoke_key
from taskqueue_api.http.bodies import read_json
from taskqueue_api.http.deadline import Body
from taskqueue_api.http.errors import bad_request, error_body
from taskqueue_api.keys import KEYRING, STORE

_PRIVATE = {"Cache-Control": "no-store"}


async def create(request: web.Request) -> web.Response:
    """`POST /keys`: make a key; this answer alone has it."""
    async with Body(request) as raw:
        body = read_json(KeyBody, raw)
    store = request.app[STORE]
    now = store.clock()
    expires_at = None if body.expires_at is None else to_ms(body.expires_at)
    if body.expires_in is not None:
        expires_at = now + to_ms(body.expires_in)
    if expires_at is not None and expires_at <= now:
        raise bad_request("the key would have expired already")
    text, id, secret = new_key()
    stored = await store.write(add_key, id, secret, label=body.label, role=body.role, expires_at=expires_at)
    await request.app[KEYRING].refresh()
    answer = NewKeyAnswer.of(text, _answer(stored))
    return web.json_response(text=answer.to_json(), status=201, headers=_PRIVATE)


async def show_all(request: web.Request) -> web.Response:
    """`GET /keys`: all, newest first."""
    keys = [_answer(key) for key in await request.app[STORE].reads.keys()]
    return web.json_response(text=KeysAnswer(keys=keys, count=len(keys)).to_json(), headers=_PRIVATE)


async def revoke(request: web.Request) -> web.Response:
    """`DELETE /keys/{key}`: end a key for good; again, it is what it was."""
    id = request.match_info["key"]
    stored = await request.app[STORE].write(revoke_key, id)
    if stored is None:
        error = f"no key has the id {id[:100]!r}"
        raise web.HTTPNotFound(text=error_body(error), content_type="application/json")
    await request.app[KEYRING].refresh()
    return web.json_response(text=_answer(stored).to_json(), headers=_PRIVATE)


def _answer(key: StoredKey) -> KeyAnswer:
    return KeyAnswer(
        id=key.id,
        label=key.label,
        role=Role(key.role),
        created_at=key.created_at / 1000,
        expires_at=_seconds(key.expires_at),
        revoked_at=_seconds(key.revoked_at),
        last_used_at=_seconds(key.last_used_at),
    )


def _seconds(milliseconds: int | None) -> float | None:
    return None if milliseconds is None else milliseconds / 1000
