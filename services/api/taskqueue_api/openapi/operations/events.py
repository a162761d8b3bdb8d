"""Streams of events."""

from taskqueue.contract.events import EventData
from taskqueue.contract.keys import Role
from taskqueue.contract.requests import EventFilter
from taskqueue_api.openapi import answers, examples, headers
from taskqueue_api.openapi.terms import SSE, Answer, Content, Operation

_EVENTS = Content(EventData, {"example": examples.STREAM}, SSE)

WATCH_TASKS = Operation(
    id="watch_tasks",
    group="Events",
    role=Role.READ,
    narrows=True,
    summary="Watch tasks change",
    description="Server-sent events: `status` and `progress`, as they happen, until the client leaves. "
    "`reset` says that some were missed. A reader that is too slow is dropped, and may resume.",
    query=EventFilter,
    headers=(headers.LAST_EVENT_ID,),
    answers={
        200: Answer("The stream.", (_EVENTS,), (headers.UNBUFFERED, headers.STARTED_AFTER)),
        400: answers.bad("unknown status 'done'; known: pending, queued, running, completed, failed or cancelled"),
        503: answers.NO_STREAM,
    },
)

WATCH_TASK = Operation(
    id="watch_task",
    group="Events",
    role=Role.READ,
    narrows=True,
    summary="Watch a task until it is final",
    description="Begins with where it stands, unless it is resumed.",
    headers=(headers.LAST_EVENT_ID,),
    answers={
        200: Answer("The stream.", (_EVENTS,), (headers.UNBUFFERED,)),
        204: Answer("The task is final, and the client knows: an EventSource stops."),
        400: answers.bad("Last-Event-ID: not one of ours"),
        404: answers.NO_TASK,
        503: answers.NO_STREAM,
    },
)
