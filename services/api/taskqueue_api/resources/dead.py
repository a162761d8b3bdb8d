"""The resource `/dead`: dead letters, which are with the broker. What is done to them is noted in the audit before
it is begun, since no transaction has both: a note of none says that the broker went away, or the API stopped."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from aiohttp import web

from taskqueue.broker import BrokerError, BusyError
from taskqueue.contract.audit import AuditedOperation
from taskqueue.contract.dead_letters import (
    DeadLettersAnswer,
    DeadLettersBody,
    DeadLettersQuery,
    EndedLettersAnswer,
)
from taskqueue.dead_letters import BYTES_SHOWN, REASON_SHOWN, Ended, Verb, end, look, unknown
from taskqueue.store.audit import add_to_note, note
from taskqueue_api.http.bodies import read_json, read_query
from taskqueue_api.http.deadline import Body
from taskqueue_api.http.errors import error_body, unavailable
from taskqueue_api.http.room import off_loop, room_for_answer
from taskqueue_api.keys import BROKER, STORE
from taskqueue_api.resources.audit import deed_of

log = logging.getLogger("taskqueue.api")

AWAY = "broker unavailable"
BUSY = "others look at the dead letters now"

_OPERATIONS: dict[Verb, AuditedOperation] = {
    "requeue": AuditedOperation.REQUEUE_DEAD_LETTERS,
    "drop": AuditedOperation.DROP_DEAD_LETTERS,
}


async def show(request: web.Request) -> web.Response:
    """`GET /dead`: the oldest."""
    limit = read_query(DeadLettersQuery, request.query).limit
    await room_for_answer(request)(limit * (BYTES_SHOWN + REASON_SHOWN))
    with _broker_may_be_away(request):
        async with request.app[BROKER].dead_letters(limit) as letters:
            seen, total = await look(letters), letters.count
    answer = DeadLettersAnswer(letters=seen, count=len(seen), total=total)
    size = sum(len(letter.message) for letter in seen)
    return web.json_response(text=await off_loop(request.app, size, answer.to_json))


async def requeue(request: web.Request) -> web.Response:
    """`POST /dead/requeue`: put them back into the queue of tasks."""
    return await _end(request, "requeue")


async def drop(request: web.Request) -> web.Response:
    """`POST /dead/drop`: delete them for good."""
    return await _end(request, "drop")


async def _end(request: web.Request, verb: Verb) -> web.Response:
    async with Body(request) as raw:
        body = read_json(DeadLettersBody, raw)
    broker = request.app[BROKER]
    with _broker_may_be_away(request):
        if body.ids is not None:
            async with broker.dead_letters(body.limit) as letters:
                if missing := await unknown(letters, body.ids):
                    error = f"no dead letter has the id {missing[0]!r} now; nothing was done"
                    raise web.HTTPNotFound(text=error_body(error), content_type="application/json")
        async with broker.dead_letters(body.limit) as letters:
            if letters.count == 0:
                ended = Ended(count=0, left=0)
            else:
                store, filter = request.app[STORE], body.model_dump(mode="json", exclude_unset=True)
                deed = deed_of(request, _OPERATIONS[verb], filter=filter)
                seq = await store.write(partial(note, deed=deed, tasks=0))
                ended = await end(letters, verb, body.ids)
                log.info("%s of dead letters: %d done, %d left", verb, ended.count, ended.left)
                await store.write(partial(add_to_note, seq=seq, tasks=ended.count))
        if ended.problem:
            raise ended.problem
    return web.json_response(text=EndedLettersAnswer(count=ended.count, left=ended.left).to_json())


@contextmanager
def _broker_may_be_away(request: web.Request) -> Iterator[None]:
    try:
        yield
    except BrokerError as error:
        log.warning("%s %s: %s", request.method, request.path, error)
        raise unavailable(BUSY if isinstance(error, BusyError) else AWAY) from error
