"""`POST /tasks` and `POST /tasks/batch`: from a request to tasks, and from what became of them to the answer."""

import hashlib
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from aiohttp import web

from taskqueue.contract.answers import KEY_REUSED, AcceptedAnswer, BatchAnswer, BulkAnswer
from taskqueue.contract.limits import LONGEST_KEY, MAX_BATCH
from taskqueue.contract.requests import BatchBody, BatchQuery, SubmitBody
from taskqueue.contract.tasks import WholeTaskAnswer
from taskqueue.intake import Told, new_task
from taskqueue.logs import REQUEST_ID
from taskqueue.message import Message, encode
from taskqueue.store import CommitUnknownError, IdempotentRequest, Replay, StoreError
from taskqueue.store.clock import to_ms
from taskqueue.task import NewTask, new_id
from taskqueue.trace_context import HEADER, read_traceparent
from taskqueue_api.http.bodies import parse, read_json, read_lines, read_query, validate
from taskqueue_api.http.credentials import insufficient
from taskqueue_api.http.deadline import Body
from taskqueue_api.http.errors import bad_request, too_large, unavailable, unprocessable
from taskqueue_api.http.prefix import prefix_of
from taskqueue_api.http.room import off_loop
from taskqueue_api.keys import BACKLOG, CATALOGUE, HOLDER, INTAKE, RANDOM, SETTINGS, STORE
from taskqueue_api.live.holders import Holder
from taskqueue_api.resources.wait import once_final, place_to_wait, preferred_wait

#: Errors in a batch that are told.
_ERRORS_TOLD = 100

log = logging.getLogger("taskqueue.api")

A = TypeVar("A", AcceptedAnswer, BatchAnswer)

_KEY = "Idempotency-Key"


async def submit(request: web.Request) -> web.StreamResponse:
    """`POST /tasks`: accept one task; with `Prefer: wait`, answer it whole if it is final in time."""
    await _refuse_early(request)
    wait = preferred_wait(request)
    if wait is None:
        answer, seqs = await _take_one(request)
        return _response(request, answer, replayed=seqs is None)
    async with place_to_wait(request.app):
        answer, seqs = await _take_one(request)
        try:
            final = await once_final(request, answer.id, wait, seqs[0] if seqs else None)
        except StoreError as error:  # the task is stored, and must not be answered as if it were not
            log.warning("a task can't be waited for: %s", error, extra={"task_id": answer.id})
            final = None
    if final is None:
        response = _response(request, answer, replayed=seqs is None)
    else:
        response = _response(request, WholeTaskAnswer.whole(final), replayed=seqs is None, status=200)
    response.headers["Preference-Applied"] = f"wait={wait:g}"
    return response


async def submit_batch(request: web.Request) -> web.StreamResponse:
    """`POST /tasks/batch`: accept up to 1,000 tasks, all or none; or only check them."""
    dry_run = read_query(BatchQuery, request.query).dry_run
    if not dry_run:
        await _refuse_early(request)
    async with Body(request, request.app[SETTINGS].max_batch_bytes) as raw:
        await request.app[CATALOGUE].refresh()
        sent = await off_loop(request.app, len(raw), _read_batch, request, raw)
        if dry_run:
            return _checked(sent)
        answer, seqs = await _accept(request, sent, _accepted_batch, BatchAnswer)
    return _response(request, answer, replayed=seqs is None)


async def _take_one(request: web.Request) -> tuple[AcceptedAnswer, list[int] | None]:
    """Accept the task that is sent. Nothing of it is kept: its client may wait for long."""
    async with Body(request) as raw:
        await request.app[CATALOGUE].refresh()
        sent = await off_loop(request.app, len(raw), _read_one, request, raw)
        return await _accept(request, sent, _accepted, AcceptedAnswer)


@dataclass(frozen=True, slots=True)
class _Sent:
    """What was sent, and what of it doesn't fit its action: a repeated request is answered all the same."""

    tasks: list[NewTask]
    key: IdempotentRequest | None
    misfits: list[dict[str, str | int]]


def _read_one(request: web.Request, raw: bytes) -> _Sent:
    body = read_json(SubmitBody, raw)
    return _Sent([_new_task(request, body)], _idempotency_key(request, raw), _misfits(request, body))


def _read_batch(request: web.Request, raw: bytes) -> _Sent:
    items = _parse_batch(request, raw)
    items.reverse()
    tasks: list[NewTask] = []
    misfits: list[dict[str, str | int]] = []
    while items:  # each is let go once it is text
        item, index = items.pop(), len(tasks)
        tasks.append(_new_task(request, item, index))
        if len(misfits) < _ERRORS_TOLD:
            misfits += _misfits(request, item, index)
    return _Sent(tasks, _idempotency_key(request, raw), misfits)


def _checked(sent: _Sent) -> web.Response:
    if sent.misfits:
        raise unprocessable("invalid data", sent.misfits)
    return web.json_response(text=BulkAnswer(count=len(sent.tasks), dry_run=True).to_json())


def _misfits(request: web.Request, body: SubmitBody, index: int | None = None) -> list[dict[str, str | int]]:
    """What speaks against a task, as the details of an answer."""
    details: list[dict[str, str | int]] = []
    for misfit in request.app[CATALOGUE].misfits(body.action, body.data):
        path = ".".join(map(str, misfit.path if index is None else ("tasks", index, *misfit.path)))
        detail: dict[str, str | int] = {"path": path, "error": f"{path}: {misfit.error}"}
        details.append(detail if index is None else detail | {"index": index})
    return details


def _parse_batch(request: web.Request, raw: bytes) -> list[SubmitBody]:
    if request.content_type in {"application/x-ndjson", "application/ndjson", "application/jsonl"}:
        body: Any = {"tasks": read_lines(raw, MAX_BATCH + 1)}
    else:
        body = parse(raw)
        if not isinstance(body, dict):
            raise bad_request("the body must be a JSON object")
    return validate(BatchBody, body, "member").tasks


async def _refuse_early(request: web.Request) -> None:
    """Where too many tasks wait, before the body is read; but what has a key may have been accepted before."""
    if _KEY not in request.headers:
        await request.app[BACKLOG].check()


async def _accept(
    request: web.Request,
    sent: _Sent,
    answer_of: Callable[[Told], A],
    kind: type[A],
) -> tuple[A, list[int] | None]:
    """The answer, and the `seq` of each task; None where it is the first one's answer again."""
    app, tasks, key = request.app, sent.tasks, sent.key
    try:
        replay = await app[STORE].reads.first_answer(key) if key else None
        if replay is None:
            if sent.misfits:
                raise unprocessable("invalid data", sent.misfits)
            if key:
                await app[BACKLOG].check()
        accepted = replay or await app[INTAKE].accept(
            tasks, request=key, answer=lambda told: answer_of(told).to_json()
        )
    except CommitUnknownError:
        # No answer is true. The client sees its connection end, as if the API had been killed.
        if request.transport is not None:
            request.transport.abort()
        raise
    except StoreError as error:
        raise unavailable("failed to queue task") from error
    if isinstance(accepted, Replay):
        if not accepted.same_request:
            raise unprocessable(KEY_REUSED)
        return kind.model_validate_json(accepted.answer), None
    app[BACKLOG].add(len(tasks))
    return answer_of([(task.id, task.status) for task in accepted]), [task.seq for task in accepted]


def _accepted(told: Told) -> AcceptedAnswer:
    [(id, status)] = told
    return AcceptedAnswer(id=id, status=status)


def _accepted_batch(told: Told) -> BatchAnswer:
    return BatchAnswer(tasks=[AcceptedAnswer(id=id, status=status) for id, status in told], count=len(told))


def _response(
    request: web.Request,
    answer: AcceptedAnswer | BatchAnswer | WholeTaskAnswer,
    *,
    replayed: bool,
    status: int = 202,
) -> web.Response:
    response = web.json_response(text=answer.to_json(), status=status)
    if not isinstance(answer, BatchAnswer):
        response.headers["Location"] = f"{prefix_of(request)}/tasks/{answer.id}"
    if replayed:
        response.headers["Idempotency-Replayed"] = "true"
    return response


def _new_task(request: web.Request, body: SubmitBody, index: int | None = None) -> NewTask:
    _refuse_what_is_anothers(request[HOLDER], body, index)
    settings, now = request.app[SETTINGS], request.app[STORE].clock()
    body = body.with_defaults(request.app[CATALOGUE].defaults(body.action))
    id = new_id(now, request.app[RANDOM])
    try:
        payload = encode(Message(id, body.action, body.data, now / 1000))
    except ValueError as error:
        if index is None:
            raise bad_request(f"data: {error}") from error
        path = f"tasks.{index}.data"
        detail: dict[str, str | int] = {"path": path, "error": f"{path}: {error}", "index": index}
        raise bad_request(f"{path}: {error}", [detail]) from error
    if (size := len(payload.encode())) > settings.max_task_bytes:
        where, limit = "the task" if index is None else f"tasks.{index}", settings.max_task_bytes
        raise too_large(
            f"{where} makes a message of {size} bytes; TASKQUEUE_MAX_TASK_BYTES is {limit}", size, limit
        )
    sent = request.headers.get(HEADER)
    return new_task(
        body,
        id=id,
        payload=payload,
        now=now,
        request_id=REQUEST_ID.get(),
        traceparent=None if sent is None else read_traceparent(sent),
    )


def _refuse_what_is_anothers(holder: Holder, body: SubmitBody, index: int | None) -> None:
    hindrance = holder.hindrance(body.action, body.tags) if holder.is_bound else None
    if hindrance is not None:
        raise insufficient(hindrance if index is None else f"tasks.{index}: {hindrance}", holder.role)


def _idempotency_key(request: web.Request, raw: bytes) -> IdempotentRequest | None:
    """After the IETF's draft "The Idempotency-Key HTTP Header Field": a quoted string; a bare one is taken too."""
    header = request.headers.getall(_KEY, [])
    if not header:
        return None
    key = header[0].strip()
    if len(key) > 1 and key[0] == key[-1] == '"':
        key = key[1:-1]
    if len(header) > 1 or not key or len(key) > LONGEST_KEY or not key.isprintable() or not key.isascii():
        raise bad_request(f"{_KEY}: one key of 1 to {LONGEST_KEY} printable ASCII characters")
    content = b"\n".join([request.path.encode(), raw])
    holder = request[HOLDER].key
    return IdempotentRequest(
        # Each holder has keys of their own: no answer is another's.
        key=key if holder is None else f"{holder} {key}",
        fingerprint=hashlib.sha256(content).hexdigest(),
        expired=request.app[STORE].clock() - to_ms(request.app[SETTINGS].idempotency_keep),
    )
