"""The route table: each operation with its handler, what it takes and what it answers.

The application's routes and the OpenAPI document are both made from it.
"""

from typing import Any, Literal

from aiohttp import web
from aiohttp.typedefs import Handler

from taskqueue_api import bulk, contract, docs, events, examples, health, overview, submit, tasks
from taskqueue_api.answers import (
    AcceptedAnswer,
    ActionsAnswer,
    BatchAnswer,
    BulkAnswer,
    CancelAnswer,
    ErrorAnswer,
    EventData,
    LiveAnswer,
    NotReadyAnswer,
    PageAnswer,
    ReadyAnswer,
    StatsAnswer,
    WholeTaskAnswer,
    WorkersAnswer,
)
from taskqueue_api.bodies import read_json, read_query
from taskqueue_api.deadline import read_body
from taskqueue_api.models import BatchBody, BulkBody, EventFilter, ListQuery, Nothing, StatsQuery, SubmitBody
from taskqueue_api.operations import NDJSON, SSE, Answer, Content, Operation, answer

_TASKS = [
    Operation(
        id="submit_task",
        method="POST",
        path="/tasks",
        handler=submit.submit,
        group="Tasks",
        summary="Submit a task",
        description="An accepted task is durable, and is run at least once.",
        headers=(contract.IDEMPOTENCY_KEY, contract.PREFER_WAIT),
        body=(Content(SubmitBody, {"a task": examples.UPPERCASE, "with all its options": examples.WITH_OPTIONS}),),
        answers=contract.OF_WRITES
        | {
            200: answer(
                "With `Prefer: wait`: it is final.",
                WholeTaskAnswer,
                examples.WHOLE_TASK,
                contract.LOCATION,
                contract.PREFERENCE_APPLIED,
                contract.REPLAYED,
            ),
            202: answer(
                "Accepted.",
                AcceptedAnswer,
                examples.ACCEPTED,
                contract.LOCATION,
                contract.PREFERENCE_APPLIED,
                contract.REPLAYED,
            ),
            400: contract.bad(
                "action required; unknown member 'prority'",
                details=[
                    {"path": "action", "error": "action required"},
                    {"path": "prority", "error": "unknown member 'prority'"},
                ],
            ),
            422: contract.KEY_USED,
            503: contract.NOT_STORED,
        },
    ),
    Operation(
        id="submit_batch",
        method="POST",
        path="/tasks/batch",
        handler=submit.submit_batch,
        group="Tasks",
        summary="Submit up to 1,000 tasks, all or none",
        description="As a JSON object, or as NDJSON: a task a line.",
        headers=(contract.IDEMPOTENCY_KEY,),
        body=(
            Content(BatchBody, {"two tasks": examples.BATCH}),
            Content(BatchBody, {"two lines": examples.LINES}, NDJSON),
        ),
        answers=contract.OF_WRITES
        | {
            202: answer("All are accepted.", BatchAnswer, examples.ACCEPTED_BATCH, contract.REPLAYED),
            400: contract.bad(
                "tasks.1.action required",
                details=[{"path": "tasks.1.action", "error": "tasks.1.action required", "index": 1}],
            ),
            422: contract.KEY_USED,
            503: contract.NOT_STORED,
        },
    ),
    Operation(
        id="find_tasks",
        method="GET",
        path="/tasks",
        handler=tasks.newest,
        group="Tasks",
        summary="Find tasks, newest first",
        description="Pages don't shift while tasks are added or change: what was there at the first page comes "
        "once. A page ends early where its tasks are large.",
        query=ListQuery,
        answers={
            200: answer("A page.", PageAnswer, examples.PAGE, contract.LINK),
            400: contract.bad("limit: Input should be less than or equal to 1000"),
            503: contract.UNAVAILABLE,
        },
    ),
    Operation(
        id="get_task",
        method="GET",
        path="/tasks/{id}",
        handler=tasks.show,
        group="Tasks",
        summary="Read a task, with its attempts",
        headers=(contract.PREFER_WAIT, contract.TASK_IF_NONE_MATCH),
        answers={
            200: answer(
                "The task.",
                WholeTaskAnswer,
                examples.WHOLE_TASK,
                contract.TASK_ETAG,
                contract.PREFERENCE_APPLIED,
            ),
            304: contract.SAME_TASK,
            400: contract.bad("Prefer: wait is a whole number of seconds from 0 to 86400"),
            404: contract.NO_TASK,
            503: contract.UNAVAILABLE,
        },
    ),
    Operation(
        id="delete_task",
        method="DELETE",
        path="/tasks/{id}",
        handler=tasks.delete,
        group="Tasks",
        summary="Forget a final task",
        answers=contract.OF_WRITES
        | {
            204: Answer("It is forgotten."),
            400: contract.bad("unknown query parameter 'force'"),
            404: contract.NO_TASK,
            409: contract.conflict("the task is queued: cancel it first", "queued"),
            503: contract.UNAVAILABLE,
        },
    ),
    Operation(
        id="cancel_task",
        method="POST",
        path="/tasks/{id}/cancel",
        handler=tasks.cancel,
        group="Tasks",
        summary="Cancel a task",
        description="At once where it waits. A running one is asked to stop: it is `cancelled` once it has, or "
        "final in another way where that came first.",
        answers=contract.OF_WRITES
        | {
            202: answer(
                "It is cancelled, or will be.",
                CancelAnswer,
                {"id": examples.ID, "status": "cancelled", "cancel_requested": True},
            ),
            400: contract.bad("unknown query parameter 'force'"),
            404: contract.NO_TASK,
            409: contract.conflict("the task is already completed", "completed"),
            503: contract.UNAVAILABLE,
        },
    ),
    Operation(
        id="retry_task",
        method="POST",
        path="/tasks/{id}/retry",
        handler=tasks.retry,
        group="Tasks",
        summary="Run a failed or cancelled task again",
        description="It has all its attempts anew; those that were stay in its history.",
        answers=contract.OF_WRITES
        | {
            202: answer("It will run.", AcceptedAnswer, {"id": examples.ID, "status": "pending"}),
            400: contract.bad("unknown member 'delay'"),
            404: contract.NO_TASK,
            409: contract.conflict("the task is running: only a failed or cancelled one is retried", "running"),
            503: contract.UNAVAILABLE_OR_FULL,
        },
    ),
]


def _bulk(
    verb: Literal["cancel", "retry", "delete"], handler: Handler, summary: str, example: dict[str, Any]
) -> Operation:
    return Operation(
        id=f"{verb}_tasks",
        method="POST",
        path=f"/tasks/{verb}",
        handler=handler,
        group="Bulk",
        summary=summary,
        description="In slices: where it ends with 503, those before are done. Tasks accepted meanwhile are not "
        "touched.",
        body=(Content(BulkBody, {"only count them": example | {"dry_run": True}, "do it": example}),),
        answers=contract.OF_WRITES
        | {
            200: answer("It is done.", BulkAnswer, {"count": 12, "dry_run": False}),
            400: contract.bad("name at least one of status, action, tag, created_after, created_before"),
            503: contract.UNAVAILABLE_OR_FULL if verb == "retry" else contract.UNAVAILABLE,
        },
    )


_BULK = [
    _bulk("cancel", bulk.cancel_all, "Cancel all tasks of a filter that are not final", {"tag": "customer-7"}),
    _bulk(
        "retry",
        bulk.retry_all,
        "Run all failed or cancelled tasks of a filter again",
        {"status": ["failed"], "action": "resize", "created_after": 1795341600},
    ),
    _bulk("delete", bulk.delete_all, "Forget all final tasks of a filter", {"created_before": 1795341600}),
]

_EVENTS = [
    Operation(
        id="watch_tasks",
        method="GET",
        path="/events",
        handler=events.all_events,
        group="Events",
        summary="Watch tasks change",
        description="Server-sent events: `status` and `progress`, as they happen, until the client leaves. "
        "`reset` says that some were missed. A reader that is too slow is dropped, and may resume.",
        query=EventFilter,
        headers=(contract.LAST_EVENT_ID,),
        answers={
            200: Answer("The stream.", (Content(EventData, {"example": examples.STREAM}, SSE),)),
            400: contract.bad(
                "unknown status 'done'; known: pending, queued, running, completed, failed or cancelled"
            ),
            503: contract.NO_STREAM,
        },
    ),
    Operation(
        id="watch_task",
        method="GET",
        path="/tasks/{id}/events",
        handler=events.task_events,
        group="Events",
        summary="Watch a task until it is final",
        description="Begins with where it stands, unless it is resumed.",
        headers=(contract.LAST_EVENT_ID,),
        answers={
            200: Answer("The stream.", (Content(EventData, {"example": examples.STREAM}, SSE),)),
            204: Answer("The task is final, and the client knows: an EventSource stops."),
            400: contract.bad("Last-Event-ID: not one of ours"),
            404: contract.NO_TASK,
            503: contract.NO_STREAM,
        },
    ),
]

_OVERVIEW = [
    Operation(
        id="get_stats",
        method="GET",
        path="/stats",
        handler=overview.stats,
        group="Overview",
        summary="Count tasks, now and in the last minutes",
        query=StatsQuery,
        answers={
            200: answer("The counters.", StatsAnswer, examples.STATS),
            400: contract.bad("minutes: Input should be less than or equal to 1440"),
            503: contract.UNAVAILABLE,
        },
    ),
    Operation(
        id="list_workers",
        method="GET",
        path="/workers",
        handler=overview.workers,
        group="Overview",
        summary="Who works, and on what",
        answers={
            200: answer("The workers.", WorkersAnswer, examples.WORKERS),
            400: contract.bad("unknown query parameter 'limit'"),
            503: contract.UNAVAILABLE,
        },
    ),
    Operation(
        id="list_actions",
        method="GET",
        path="/actions",
        handler=overview.actions,
        group="Overview",
        summary="What the workers can run",
        answers={
            200: answer("The actions.", ActionsAnswer, examples.ACTIONS),
            400: contract.bad("unknown query parameter 'limit'"),
            503: contract.UNAVAILABLE,
        },
    ),
    Operation(
        id="check_live",
        method="GET",
        path="/livez",
        handler=health.livez,
        group="Health",
        summary="Whether the process answers",
        answers={200: answer("It does.", LiveAnswer, {"status": "ok"})},
    ),
    Operation(
        id="check_ready",
        method="GET",
        path="/readyz",
        handler=health.readyz,
        group="Health",
        summary="Whether tasks can be accepted",
        answers={
            200: answer("They can.", ReadyAnswer, {"status": "ready", "schema": 3, "broker": "connected"}),
            503: answer(
                "They can't.",
                NotReadyAnswer,
                {"status": "not ready", "error": "schema 2, needed is 3", "broker": "connected"},
            ),
        },
    ),
]

_DOCS = [
    Operation(
        id="get_openapi",
        method="GET",
        path="/openapi.json",
        handler=docs.openapi,
        group="Documentation",
        summary="This document",
        headers=(contract.IF_NONE_MATCH,),
        answers={200: Answer("OpenAPI 3.1.", (Content(None),), (contract.ETAG,)), 304: contract.NOT_MODIFIED},
    ),
    Operation(
        id="browse",
        method="GET",
        path="/docs",
        handler=docs.page,
        group="Documentation",
        summary="A page to browse this document",
        headers=(contract.IF_NONE_MATCH,),
        answers={
            200: Answer("The page.", (Content(None, media_type="text/html"),), (contract.ETAG,)),
            304: contract.NOT_MODIFIED,
        },
    ),
    Operation(
        id="get_page_file",
        method="GET",
        path="/docs/{file}",
        handler=docs.file,
        group="Documentation",
        summary="What the page loads",
        headers=(contract.IF_NONE_MATCH,),
        answers={
            200: Answer(
                "The file.",
                tuple(
                    Content(None, media_type=media_type)
                    for media_type in ("text/javascript", "text/css", "image/png")
                ),
                (contract.ETAG,),
            ),
            304: contract.NOT_MODIFIED,
            404: answer("There is no such file.", ErrorAnswer, {"error": "no such path"}),
        },
    ),
]

OPERATIONS = [*_TASKS, *_BULK, *_EVENTS, *_OVERVIEW, *_DOCS]

#: What stands for an id in a path, but is none: without this, `DELETE /tasks/cancel` would look for a task.
_WORDS = "|".join(
    operation.path.rpartition("/")[2]
    for operation in OPERATIONS
    if operation.path[:7] == "/tasks/" and "{" not in operation.path
)


def routes() -> list[web.RouteDef]:
    """The application's routes. A GET answers HEAD too, but for the streams."""
    return [
        web.get(_pattern(operation), _strict(operation), allow_head=not operation.streams)
        if operation.method == "GET"
        else web.route(operation.method, _pattern(operation), _strict(operation))
        for operation in OPERATIONS
    ]


def _strict(operation: Operation) -> Handler:
    """The handler, for requests without a query or a body that it doesn't take: what would be ignored, such as the
    query of `/tasks/delete?dry_run=true`, was meant. Probes and browsers may add what they like."""
    if operation.group in {"Health", "Documentation"}:
        return operation.handler

    async def handle(request: web.Request) -> web.StreamResponse:
        if operation.query is None:
            read_query(Nothing, request.query)
        if operation.method != "GET" and not operation.body and request.body_exists:
            # Some clients send an empty object where they have nothing to say.
            read_json(Nothing, await read_body(request) or b"{}")
        return await operation.handler(request)

    return handle


def _pattern(operation: Operation) -> str:
    return operation.path.replace("{id}", f"{{id:(?!(?:{_WORDS})$)[^{{}}/]+}}")
