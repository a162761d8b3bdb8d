"""`GET /events` and `GET /tasks/{id}/events`: server-sent events, as the HTML standard has them."""

import asyncio
import contextlib
import json
from collections.abc import Callable

from aiohttp import web

from taskqueue.task import FINAL, Event, Task
from taskqueue_api.bodies import read_query
from taskqueue_api.errors import bad_request
from taskqueue_api.keys import STORE, WATCHER
from taskqueue_api.models import EventFilter
from taskqueue_api.tasks import existing_task

#: Seconds between two comments that keep an idle connection open.
HEARTBEAT = 15
#: Seconds that a reader has to take what was sent; a slower one is dropped, and may resume.
SLOW = 10


async def all_events(request: web.Request) -> web.StreamResponse:
    """`GET /events`: every change of the tasks that fit a filter."""
    query = read_query(EventFilter, request.query)

    def wanted(event: Event) -> bool:
        return (
            (not query.status or event.status in query.status)
            and (query.action is None or event.action == query.action)
            and (query.tag is None or query.tag in event.tags)
        )

    after = _last_event_id(request)
    stream = await _open(request)
    await _follow(request, stream, after, wanted)
    return stream


async def task_events(request: web.Request) -> web.StreamResponse:
    """`GET /tasks/{id}/events`: where a task stands, and its changes until it is final."""
    after = _last_event_id(request)
    task = await existing_task(request)
    if after is not None and task.status in FINAL and not await _has_news(request, task, after):
        return web.Response(status=204)  # tells an EventSource to stop
    stream = await _open(request)
    if after is None:
        # Read again, now that nothing can come between: what changes from here on is an event after `last`.
        _, after = await request.app[STORE].event_range()
        task = await existing_task(request)
        await _send(stream, _format("status", after, _state(task)))
        if task.status in FINAL:
            return stream
    await _follow(request, stream, after, lambda event: event.task_id == task.id, until_final=True)
    return stream


async def _follow(
    request: web.Request,
    stream: web.StreamResponse,
    after: int | None,
    wanted: Callable[[Event], bool],
    *,
    until_final: bool = False,
) -> None:
    store = request.app[STORE]
    first, last = await store.event_range()
    if after is not None and not first - 1 <= after <= last:
        # What came after it is no longer kept, or it is not one of ours.
        after = last
        await _send(stream, _format("reset", last, {}))
    async with contextlib.aclosing(request.app[WATCHER].follow(after, HEARTBEAT)) as batches:
        async for events in batches:
            chosen = [event for event in events if wanted(event)]
            text = "".join(_format(_kind(event), event.seq, _change(event)) for event in chosen)
            if not events:
                text = ": heartbeat\n\n"
            if text and not await _send(stream, text):
                return
            if until_final and any(event.status in FINAL for event in chosen):
                return


async def _open(request: web.Request) -> web.StreamResponse:
    stream = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store"})
    await stream.prepare(request)
    return stream


async def _send(stream: web.StreamResponse, text: str) -> bool:
    """False: the reader has gone, or is too slow."""
    try:
        async with asyncio.timeout(SLOW):
            await stream.write(text.encode())
    except (TimeoutError, ConnectionError):
        stream.force_close()
        return False
    return True


def _last_event_id(request: web.Request) -> int | None:
    text = request.headers.get("Last-Event-ID")
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise bad_request("Last-Event-ID: not one of ours")
    return int(text)


async def _has_news(request: web.Request, task: Task, after: int) -> bool:
    events = await request.app[STORE].events_after(after, limit=1000)
    return any(event.task_id == task.id for event in events)


def _kind(event: Event) -> str:
    return "status" if event.progress is None else "progress"


def _change(event: Event) -> dict[str, object]:
    return {
        "id": event.task_id,
        "action": event.action,
        "tags": event.tags,
        "status": event.status,
        "attempt": event.attempt,
        "at": event.at / 1000,
        "progress": event.progress and json.loads(event.progress),
    }


def _state(task: Task) -> dict[str, object]:
    return {
        "id": task.id,
        "action": task.action,
        "tags": task.tags,
        "status": task.status,
        "attempt": task.attempt,
        "at": (task.processed_at or task.created_at) / 1000,
        "progress": task.progress and json.loads(task.progress),
    }


def _format(kind: str, seq: int, data: dict[str, object]) -> str:
    return f"event: {kind}\nid: {seq}\ndata: {json.dumps(data)}\n\n"
