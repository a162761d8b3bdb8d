"""The resource `/tasks`."""

import asyncio
import json
import logging
from typing import Any

from aiohttp import web
from uuid_utils import uuid7

from taskqueue.broker import BrokerState
from taskqueue.dispatch import mark, publish
from taskqueue.logs import task_fields
from taskqueue.message import Message, Priority, encode
from taskqueue.store import StoreError, now_ms
from taskqueue.task import FINAL, Attempt, Dispatch, NewTask, Status, Task
from taskqueue_api.bodies import ListQuery, SubmitBody, read_json, read_query
from taskqueue_api.errors import bad_request, unavailable
from taskqueue_api.keys import BROKER, MARKS, SETTINGS, STORE

log = logging.getLogger("taskqueue.api")


async def submit(request: web.Request) -> web.Response:
    """`POST /tasks`: make a task durable, then hand it to the broker."""
    body = read_json(SubmitBody, await request.read())
    task = _new_task(request, body)
    status = await _accept(request.app, task)
    log.info("task accepted", extra=task_fields(task.id, task.action, status=status))
    return web.json_response(
        {"id": task.id, "status": status}, status=202, headers={"Location": f"/tasks/{task.id}"}
    )


async def newest(request: web.Request) -> web.Response:
    """`GET /tasks`: the newest tasks, newest first."""
    query = read_query(ListQuery, request.query)
    tasks = await request.app[STORE].newest(limit=query.limit, status=query.status)
    return web.json_response({"tasks": [task_json(task) for task in tasks], "count": len(tasks)})


async def show(request: web.Request) -> web.Response:
    """`GET /tasks/{id}`: one task, with its attempts."""
    store, id = request.app[STORE], request.match_info["id"]
    task = await store.get(id)
    if task is None:
        raise _unknown(id)
    attempts = [_attempt_json(attempt) for attempt in await store.attempts_of(id)]
    return web.json_response(task_json(task) | {"attempts": attempts})


async def cancel(request: web.Request) -> web.Response:
    """`POST /tasks/{id}/cancel`: at once where it waits; a running one is asked to stop."""
    store, id = request.app[STORE], request.match_info["id"]
    task = await store.get(id)
    if task is None:
        raise _unknown(id)
    # `CANCELLED` is also the answer for a task that was cancelled long ago.
    status = task.status if task.status in FINAL else await store.cancel(id)
    if task.status in FINAL or status not in {Status.CANCELLED, Status.RUNNING}:
        return web.json_response({"error": f"the task is already {status}", "status": status}, status=409)
    return web.json_response({"id": id, "status": status, "cancel_requested": True}, status=202)


def task_json(task: Task) -> dict[str, Any]:
    """The task as clients see it: times in Unix seconds."""
    return {
        "id": task.id,
        "action": task.action,
        "payload": json.loads(task.payload),
        "status": task.status,
        "result": task.result and json.loads(task.result),
        "error": task.error and json.loads(task.error),
        "created_at": task.created_at / 1000,
        "run_at": task.run_at / 1000,
        "processed_at": task.processed_at and task.processed_at / 1000,
        "priority": Priority(task.priority).name.lower(),
        "attempt": task.attempt,
        "failures": task.failures,
        "max_attempts": task.max_attempts,
        "timeout": task.timeout and task.timeout / 1000,
        "cancel_requested": task.cancel_requested,
    }


def _attempt_json(attempt: Attempt) -> dict[str, Any]:
    return {
        "number": attempt.number,
        "worker": attempt.worker,
        "started_at": attempt.started_at / 1000,
        "ended_at": attempt.ended_at and attempt.ended_at / 1000,
        "outcome": attempt.outcome,
        "error": attempt.error and json.loads(attempt.error),
    }


def _new_task(request: web.Request, body: SubmitBody) -> NewTask:
    id, now = str(uuid7()), now_ms()
    settings = request.app[SETTINGS]
    run_at = now + round((body.delay or 0) * 1000) if body.run_at is None else round(body.run_at * 1000)
    try:
        payload = encode(Message(id, body.action, body.data, now / 1000))
    except ValueError as error:
        raise bad_request(f"data: {error}") from error
    return NewTask(
        id=id,
        action=body.action,
        payload=payload,
        created_at=now,
        run_at=run_at,
        priority=Priority[body.priority.upper()],
        max_attempts=body.max_attempts or settings.max_attempts,
        timeout=None if body.timeout is None else round(body.timeout * 1000),
    )


async def _accept(app: web.Application, task: NewTask) -> Status:
    """Commit the task, then try to publish it: whatever the broker does, the task is safe."""
    settings, store, broker = app[SETTINGS], app[STORE], app[BROKER]
    dispatch = Dispatch(task.id, f"{task.id}.0", task.payload, task.priority)
    publish_now = broker.state is BrokerState.CONNECTED and task.run_at <= task.created_at
    try:
        await store.submit(
            task, dispatch_id=dispatch.dispatch_id if publish_now else None, lease=settings.dispatch_lease
        )
    except StoreError as error:
        log.warning("task refused: %s", error)
        raise unavailable("failed to queue task") from error
    if not publish_now or not await publish(broker, dispatch, settings.publish_timeout):
        return Status.PENDING
    marking = asyncio.create_task(mark(store, dispatch))
    app[MARKS].add(marking)
    marking.add_done_callback(app[MARKS].discard)
    return Status.QUEUED


def _unknown(id: str) -> web.HTTPNotFound:
    return web.HTTPNotFound(
        text=json.dumps({"error": f"no task has the id {id[:100]!r}"}), content_type="application/json"
    )
