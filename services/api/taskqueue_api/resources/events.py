"""`GET /events` and `GET /tasks/{id}/events`: server-sent events, as the HTML standard has them."""

import asyncio
import contextlib
import functools
import logging
from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import dataclass

from aiohttp import web

from taskqueue.contract.events import EventData
from taskqueue.contract.requests import EventFilter
from taskqueue.store import StoreError
from taskqueue.task import FINAL, Event
from taskqueue_api.http.bodies import read_query
from taskqueue_api.http.errors import bad_request
from taskqueue_api.keys import HOLDER, KEYRING, STORE, STREAMS, WATCHER
from taskqueue_api.live.watcher import TAIL
from taskqueue_api.resources.tasks import existing_task

log = logging.getLogger("taskqueue.api")

#: Seconds between two comments that keep an idle connection open.
HEARTBEAT = 15
#: Seconds between two looks whether the client is still there.
_LOOK = 1
#: Seconds that a reader has to take what was sent; a slower one is dropped, and may resume.
SLOW = 10


async def all_events(request: web.Request) -> web.StreamResponse:
    """`GET /events`: every change of the tasks that fit a filter."""
    query, holder = read_query(EventFilter, request.query), request[HOLDER]

    def wanted(event: Event) -> bool:
        return (
            (not query.status or event.status in query.status)
            and (query.action is None or event.action == query.action)
            and (query.tag is None or query.tag in event.tags)
            and holder.owns(event.action, event.tags)
        )

    with request.app[STREAMS].one():
        start = await _start(request)
        # In a header, too: a client whose connection breaks before the first event resumes there.
        stream = await _open(request, {"Last-Event-ID": str(start.after)})
        if start.lost and not await _send(request, stream, _format("reset", start.after, "{}")):
            return stream
        await _follow(request, stream, request.app[WATCHER].follow(start.after, _LOOK), wanted)
        return stream


async def task_events(request: web.Request) -> web.StreamResponse:
    """`GET /tasks/{id}/events`: where a task stands, and its changes until it is final."""
    with request.app[STREAMS].one():
        return await _watch_task(request)


async def _watch_task(request: web.Request) -> web.StreamResponse:
    # In this order: what happens to the task once it was read is an event after the start.
    start = await _start(request)
    task = await existing_task(request)
    if start.resumed and task.status in FINAL:
        end = await request.app[STORE].reads.end_event(task.seq)
        if end is None or end <= start.after:
            return web.Response(status=204)  # tells an EventSource to stop
    stream = await _open(request)
    if not start.resumed:
        text = _format("status", start.after, EventData.standing(task).to_json())
        if start.lost:
            text = _format("reset", start.after, "{}") + text
        if not await _send(request, stream, text) or task.status in FINAL:
            return stream
    events = request.app[WATCHER].follow_task(task.seq, start.after, _LOOK)
    del task  # the stream may last
    await _follow(request, stream, events, until_final=True)
    return stream


@dataclass(frozen=True, slots=True)
class _Start:
    """Where a stream starts: with the first event after this one."""

    after: int
    #: The client has seen everything up to here.
    resumed: bool
    #: The client named an event after which some are no longer kept.
    lost: bool


async def _start(request: web.Request) -> _Start:
    named = _last_event_id(request)
    first, last = await request.app[STORE].reads.event_range()
    if named is not None and named > last:
        raise bad_request(f"Last-Event-ID: {named} is still to come; the last event so far is {last}")
    if named is not None and first - 1 <= named:
        return _Start(named, resumed=True, lost=False)
    return _Start(last, resumed=False, lost=named is not None)


async def _follow(
    request: web.Request,
    stream: web.StreamResponse,
    batches: AsyncGenerator[list[Event], None],
    wanted: Callable[[Event], bool] = lambda event: True,
    *,
    until_final: bool = False,
) -> None:
    clock = asyncio.get_running_loop().time
    sent = clock()
    try:
        async with contextlib.aclosing(batches):
            async for events in batches:
                # Of a task that was deleted since nothing can be told.
                chosen = [event for event in events if event.task_id is not None and wanted(event)]
                text = "".join(map(_told, chosen))
                if not text and clock() - sent >= HEARTBEAT:
                    text = ": heartbeat\n\n"
                if not request.app[KEYRING].is_good(request[HOLDER]):
                    return
                if text:
                    sent = clock()
                    if not await _send(request, stream, text):
                        return
                if request.transport is None:  # the client has gone
                    return
                # Also if it was deleted at once.
                if until_final and any(event.status in FINAL for event in events):
                    return
    except StoreError as error:
        # The answer has begun: all that can be done is to end it, so that the client resumes.
        log.warning("a stream of events ends: %s", error)


async def _open(request: web.Request, headers: Mapping[str, str] | None = None) -> web.StreamResponse:
    stream = web.StreamResponse(
        headers={
            "Content-Type": "text/event-stream",
            "X-Accel-Buffering": "no",  # else nginx would gather them
            **(headers or {}),
        }
    )
    await stream.prepare(request)
    return stream


async def _send(request: web.Request, stream: web.StreamResponse, text: str) -> bool:
    """False: the reader has gone, or was too slow and is dropped."""
    try:
        async with asyncio.timeout(SLOW):
            await stream.write(text.encode())
    except (TimeoutError, ConnectionError):
        # Without this, the end of the answer would wait for the reader, too.
        if request.transport:
            request.transport.abort()
        return False
    return True


def _last_event_id(request: web.Request) -> int | None:
    text = request.headers.get("Last-Event-ID")
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise bad_request("Last-Event-ID: not one of ours")
    return int(text)


@functools.lru_cache(maxsize=2 * TAIL)
def _told(event: Event) -> str:
    """The event as text: made once, however many follow."""
    return _format("status" if event.progress is None else "progress", event.seq, EventData.of(event).to_json())


def _format(kind: str, seq: int, data: str) -> str:
    return f"event: {kind}\nid: {seq}\ndata: {data}\n\n"
