"""`POST /tasks` and `POST /tasks/batch`: tasks are made durable, then handed to the broker."""

import asyncio
import hashlib
import logging
from dataclasses import dataclass
from typing import Any

from aiohttp import web
from uuid_utils import uuid7

from taskqueue.broker import BrokerState
from taskqueue.contract.answers import AcceptedAnswer, BatchAnswer
from taskqueue.contract.limits import LONGEST_KEY, MAX_BATCH, MAX_PAYLOAD_BYTES
from taskqueue.contract.requests import BatchBody, SubmitBody
from taskqueue.dispatch import mark, publish
from taskqueue.logs import REQUEST_ID, task_fields
from taskqueue.message import Message, Priority, encode
from taskqueue.settings import Settings
from taskqueue.store import IdempotentRequest, StoreError, now_ms
from taskqueue.store.clock import to_ms
from taskqueue.task import Dispatch, NewTask, Status
from taskqueue_api.http.bodies import parse, read_json, read_lines, validate
from taskqueue_api.http.deadline import read_body
from taskqueue_api.http.errors import bad_request, too_large, unavailable, unprocessable
from taskqueue_api.keys import BACKLOG, BROKER, MARKS, SETTINGS, STORE
from taskqueue_api.resources.wait import preferred_wait, wait_for

log = logging.getLogger("taskqueue.api")

_KEY = "Idempotency-Key"


@dataclass(frozen=True, slots=True)
class _Replayed:
    """The first answer to a request that came before, as JSON text."""

    answer: str


async def submit(request: web.Request) -> web.StreamResponse:
    """`POST /tasks`: accept one task; with `Prefer: wait`, answer it whole if it is final in time."""
    await _refuse_early(request)
    wait = preferred_wait(request)
    raw = await read_body(request)
    task = _new_task(read_json(SubmitBody, raw), request.app[SETTINGS])
    accepted = await _accept(request, raw, [task], batch=False)
    if replayed := isinstance(accepted, _Replayed):
        answer = AcceptedAnswer.model_validate_json(accepted.answer)
    else:
        answer = _told(task, accepted[task.id])
    final = None
    if wait is not None:
        try:
            final = await wait_for(request.app, answer.id, wait)
        except StoreError as error:  # the task is stored, and must not be answered as if it were not
            log.warning("a task can't be waited for: %s", error, extra={"task_id": answer.id})
    response = web.json_response(text=(final or answer).to_json(), status=200 if final else 202)
    response.headers["Location"] = f"/tasks/{answer.id}"
    return _marked(response, replayed=replayed, wait=wait)


async def submit_batch(request: web.Request) -> web.StreamResponse:
    """`POST /tasks/batch`: accept up to 1,000 tasks, all or none."""
    settings = request.app[SETTINGS]
    await _refuse_early(request)
    raw = await read_body(request, settings.max_batch_bytes)
    if request.content_type in {"application/x-ndjson", "application/ndjson", "application/jsonl"}:
        body: Any = {"tasks": read_lines(raw, MAX_BATCH + 1)}
    else:
        body = parse(raw)
        if not isinstance(body, dict):
            raise bad_request("the body must be a JSON object")
    items = validate(BatchBody, body, "member").tasks
    tasks = [_new_task(item, settings, index) for index, item in enumerate(items)]
    accepted = await _accept(request, raw, tasks, batch=True)
    if isinstance(accepted, _Replayed):
        return _marked(web.json_response(text=accepted.answer, status=202), replayed=True, wait=None)
    return web.json_response(text=_told_batch(tasks, accepted).to_json(), status=202)


async def _refuse_early(request: web.Request) -> None:
    """Where too many tasks wait, before the body is read; but what has a key may have been accepted before."""
    if _KEY not in request.headers:
        await request.app[BACKLOG].check()


def _told(task: NewTask, status: Status) -> AcceptedAnswer:
    return AcceptedAnswer(id=task.id, status=status)


def _told_batch(tasks: list[NewTask], statuses: dict[str, Status]) -> BatchAnswer:
    return BatchAnswer(tasks=[_told(task, statuses[task.id]) for task in tasks], count=len(tasks))


def _marked(response: web.Response, *, replayed: bool, wait: float | None) -> web.Response:
    if replayed:
        response.headers["Idempotency-Replayed"] = "true"
    if wait is not None:
        response.headers["Preference-Applied"] = f"wait={wait:g}"
    return response


def _new_task(body: SubmitBody, settings: Settings, index: int | None = None) -> NewTask:
    id, now = str(uuid7()), now_ms()
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


async def _accept(
    request: web.Request, raw: bytes, tasks: list[NewTask], *, batch: bool
) -> dict[str, Status] | _Replayed:
    """Commit the tasks, then try to publish them: whatever the broker does, they are safe."""
    app, settings, store = request.app, request.app[SETTINGS], request.app[STORE]
    connected = app[BROKER].state is BrokerState.CONNECTED
    dispatches = {
        task.id: Dispatch(task.id, f"{task.id}.0", task.payload, task.priority)
        for task in tasks
        if connected and task.run_at <= task.created_at
    }
    statuses = dict.fromkeys((task.id for task in tasks), Status.PENDING)
    key = _idempotency_key(request, raw, settings)

    def answer() -> str:
        told = _told_batch(tasks, statuses) if batch else _told(tasks[0], statuses[tasks[0].id])
        return told.to_json()

    try:
        replay = await store.first_answer(key) if key else None
        if key and not replay:
            await app[BACKLOG].check()
        replay = replay or await store.submit_all(
            [(task, f"{task.id}.0" if task.id in dispatches else None) for task in tasks],
            lease=settings.dispatch_lease,
            request=key,
            answer=answer() if key else "",
        )
    except StoreError as error:
        log.warning("task refused: %s", error)
        raise unavailable("failed to queue task") from error
    if replay and not replay.same_request:
        raise unprocessable("this Idempotency-Key was used for another request")
    if replay:
        return _Replayed(replay.answer)
    app[BACKLOG].add(len(tasks))
    statuses |= await _publish_all(app, dispatches)
    if key:
        try:
            await store.amend_answer(key, answer())
        except StoreError as error:
            log.warning("a replay will tell the task as pending: %s", error)
    for task in tasks:
        log.info("task accepted", extra=task_fields(task.id, task.action, status=statuses[task.id]))
    return statuses


async def _publish_all(app: web.Application, dispatches: dict[str, Dispatch]) -> dict[str, Status]:
    """Those that the broker confirmed, as `queued`; their marks are written meanwhile."""
    timeout = app[SETTINGS].publish_timeout
    confirmed = await asyncio.gather(
        *(publish(app[BROKER], dispatch, timeout) for dispatch in dispatches.values())
    )
    queued = [dispatch for dispatch, ok in zip(dispatches.values(), confirmed, strict=True) if ok]
    for dispatch in queued:
        marking = asyncio.create_task(mark(app[STORE], dispatch))
        app[MARKS].add(marking)
        marking.add_done_callback(app[MARKS].discard)
    return {dispatch.id: Status.QUEUED for dispatch in queued}


def _idempotency_key(request: web.Request, raw: bytes, settings: Settings) -> IdempotentRequest | None:
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
    return IdempotentRequest(
        key=key,
        fingerprint=hashlib.sha256(content).hexdigest(),
        expired=now_ms() - to_ms(settings.idempotency_keep),
    )
