"""`POST /tasks` and `POST /tasks/batch`: from a request to tasks, and from what became of them to the answer."""

import hashlib
import json
import logging
from collections.abc import Callable
from typing import Any

from aiohttp import web
from uuid_utils import uuid7

from taskqueue.intake import Accepted, Told
from taskqueue.logs import REQUEST_ID
from taskqueue.message import Message, Priority, encode
from taskqueue.store import CommitUnknownError, IdempotentRequest, Replay, StoreError
from taskqueue.store.clock import to_ms
from taskqueue.task import NewTask
from taskqueue_api.http.bodies import parse, read_json, read_lines, validate
from taskqueue_api.http.deadline import read_body
from taskqueue_api.http.errors import bad_request, too_large, unavailable, unprocessable
from taskqueue_api.keys import BACKLOG, INTAKE, SETTINGS, STORE, WATCHER
from taskqueue_api.models import BATCH_LIMIT, BatchBody, SubmitBody
from taskqueue_api.resources.tasks import whole
from taskqueue_api.resources.wait import once_final, preferred_wait

log = logging.getLogger("taskqueue.api")

_KEY = "Idempotency-Key"
#: Characters of it at most.
_LONGEST_KEY = 255
#: The largest message that a task may make, in bytes: below RabbitMQ's default `max_message_size`, 16 MiB in 4.0.
#: A larger one would be accepted here and refused there, again and again.
MAX_PAYLOAD_BYTES = 15 * 1024 * 1024


async def submit(request: web.Request) -> web.StreamResponse:
    """`POST /tasks`: accept one task; with `Prefer: wait`, answer it whole if it is final in time."""
    await _refuse_early(request)
    wait = preferred_wait(request)
    raw = await read_body(request)
    task = _new_task(request, read_json(SubmitBody, raw))
    if wait is None:
        answer, replayed = await _accept(request, raw, [task], _told_one)
        return _response(answer, replayed=replayed)
    async with request.app[WATCHER].listening():
        answer, replayed = await _accept(request, raw, [task], _told_one)
        try:
            final = await once_final(request.app, answer["id"], wait)
        except StoreError as error:  # the task is stored, and must not be answered as if it were not
            log.warning("a task can't be waited for: %s", error, extra={"task_id": answer["id"]})
            final = None
    response = _response(
        answer if final is None else whole(final), replayed=replayed, status=200 if final else 202
    )
    response.headers["Preference-Applied"] = f"wait={wait:g}"
    return response


async def submit_batch(request: web.Request) -> web.StreamResponse:
    """`POST /tasks/batch`: accept up to 1,000 tasks, all or none."""
    await _refuse_early(request)
    raw = await read_body(request, request.app[SETTINGS].max_batch_bytes)
    if request.content_type in {"application/x-ndjson", "application/ndjson", "application/jsonl"}:
        body: Any = {"tasks": read_lines(raw, BATCH_LIMIT + 1)}
    else:
        body = parse(raw)
        if not isinstance(body, dict):
            raise bad_request("the body must be a JSON object")
    items = validate(BatchBody, body, "member").tasks
    tasks = [_new_task(request, item, index) for index, item in enumerate(items)]
    answer, replayed = await _accept(request, raw, tasks, _told_batch)
    return _response(answer, replayed=replayed)


async def _refuse_early(request: web.Request) -> None:
    """Where too many tasks wait, before the body is read; but what has a key may have been accepted before."""
    if _KEY not in request.headers:
        await request.app[BACKLOG].check()


async def _accept(
    request: web.Request, raw: bytes, tasks: list[NewTask], told: Callable[[Told], dict[str, Any]]
) -> tuple[dict[str, Any], bool]:
    """The answer, and whether it is the first one's again."""
    app = request.app
    key = _idempotency_key(request, raw)
    try:
        accepted: list[Accepted] | Replay | None = await app[STORE].reads.first_answer(key) if key else None
        if accepted is None:
            if key:
                await app[BACKLOG].check()
            accepted = await app[INTAKE].accept(tasks, request=key, answer=lambda pairs: json.dumps(told(pairs)))
    except CommitUnknownError:
        # No answer is true. The client sees its connection end, as if the API had been killed.
        if request.transport is not None:
            request.transport.abort()
        raise
    except StoreError as error:
        raise unavailable("failed to queue task") from error
    if isinstance(accepted, Replay):
        if not accepted.same_request:
            raise unprocessable("this Idempotency-Key was used for another request")
        return json.loads(accepted.answer), True
    app[BACKLOG].add(len(tasks))
    return told([(task.id, task.status) for task in accepted]), False


def _told_one(tasks: Told) -> dict[str, Any]:
    [(id, status)] = tasks
    return {"id": id, "status": status}


def _told_batch(tasks: Told) -> dict[str, Any]:
    return {"tasks": [{"id": id, "status": status} for id, status in tasks], "count": len(tasks)}


def _response(answer: dict[str, Any], *, replayed: bool, status: int = 202) -> web.Response:
    response = web.json_response(answer, status=status)
    if "id" in answer:
        response.headers["Location"] = f"/tasks/{answer['id']}"
    if replayed:
        response.headers["Idempotency-Replayed"] = "true"
    return response


def _new_task(request: web.Request, body: SubmitBody, index: int | None = None) -> NewTask:
    settings, now = request.app[SETTINGS], request.app[STORE].clock()
    id = str(uuid7())
    try:
        payload = encode(Message(id, body.action, body.data, now / 1000))
    except ValueError as error:
        if index is None:
            raise bad_request(f"data: {error}") from error
        path = f"tasks.{index}.data"
        detail: dict[str, str | int] = {"path": path, "error": f"{path}: {error}", "index": index}
        raise bad_request(f"{path}: {error}", [detail]) from error
    if (size := len(payload.encode())) > MAX_PAYLOAD_BYTES:
        where = "the task" if index is None else f"tasks.{index}"
        raise too_large(
            f"{where} makes a message of {size} bytes; {MAX_PAYLOAD_BYTES} is the limit", size, MAX_PAYLOAD_BYTES
        )
    return NewTask(
        id=id,
        action=body.action,
        payload=payload,
        created_at=now,
        run_at=now + to_ms(body.delay or 0) if body.run_at is None else to_ms(body.run_at),
        priority=Priority[body.priority.upper()],
        max_attempts=body.max_attempts or settings.max_attempts,
        timeout=None if body.timeout is None else to_ms(body.timeout),
        tags=tuple(body.tags),
        request_id=REQUEST_ID.get(),
    )


def _idempotency_key(request: web.Request, raw: bytes) -> IdempotentRequest | None:
    """After the IETF's draft "The Idempotency-Key HTTP Header Field": a quoted string; a bare one is taken too."""
    header = request.headers.getall(_KEY, [])
    if not header:
        return None
    key = header[0].strip()
    if len(key) > 1 and key[0] == key[-1] == '"':
        key = key[1:-1]
    if len(header) > 1 or not key or len(key) > _LONGEST_KEY or not key.isprintable() or not key.isascii():
        raise bad_request(f"{_KEY}: one key of 1 to {_LONGEST_KEY} printable ASCII characters")
    content = b"\n".join([request.path.encode(), raw])
    return IdempotentRequest(
        key=key,
        fingerprint=hashlib.sha256(content).hexdigest(),
        expired=request.app[STORE].clock() - to_ms(request.app[SETTINGS].idempotency_keep),
    )
