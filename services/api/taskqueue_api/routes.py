"""The route table. The application's routes and the OpenAPI document are both made from it."""

from aiohttp import web
from aiohttp.typedefs import Handler

from taskqueue.contract.requests import Nothing
from taskqueue_api.http.bodies import read_json, read_query
from taskqueue_api.http.deadline import Body
from taskqueue_api.http.room import off_loop
from taskqueue_api.openapi import docs
from taskqueue_api.openapi.operations.audit import READ_AUDIT
from taskqueue_api.openapi.operations.bulk import CANCEL_TASKS, DELETE_TASKS, RETRY_TASKS
from taskqueue_api.openapi.operations.dead import DROP_DEAD_LETTERS, LIST_DEAD_LETTERS, REQUEUE_DEAD_LETTERS
from taskqueue_api.openapi.operations.docs import BROWSE, GET_OPENAPI, GET_PAGE_FILE, GET_ROOT
from taskqueue_api.openapi.operations.events import WATCH_TASK, WATCH_TASKS
from taskqueue_api.openapi.operations.keys import CREATE_KEY, LIST_KEYS, REVOKE_KEY
from taskqueue_api.openapi.operations.overview import (
    CHECK_LIVE,
    CHECK_READY,
    GET_METRICS,
    GET_OVERVIEW,
    GET_STATS,
    LIST_ACTIONS,
    LIST_ERRORS,
    LIST_TAGS,
    LIST_WORKERS,
)
from taskqueue_api.openapi.operations.tasks import (
    CANCEL_TASK,
    DELETE_TASK,
    FIND_TASKS,
    GET_TASK,
    RETRY_TASK,
    SUBMIT_BATCH,
    SUBMIT_TASK,
)
from taskqueue_api.openapi.terms import Route
from taskqueue_api.resources import (
    audit,
    bulk,
    dead,
    events,
    failures,
    health,
    keys,
    metrics,
    overview,
    submit,
    tags,
    tasks,
)
from taskqueue_api.resources.permission import require

ROUTES = [
    Route("POST", "/tasks", submit.submit, SUBMIT_TASK),
    Route("POST", "/tasks/batch", submit.submit_batch, SUBMIT_BATCH),
    Route("GET", "/tasks", tasks.newest, FIND_TASKS),
    Route("GET", "/tasks/{id}", tasks.show, GET_TASK),
    Route("DELETE", "/tasks/{id}", tasks.delete, DELETE_TASK),
    Route("POST", "/tasks/{id}/cancel", tasks.cancel, CANCEL_TASK),
    Route("POST", "/tasks/{id}/retry", tasks.retry, RETRY_TASK),
    Route("POST", "/tasks/cancel", bulk.cancel_all, CANCEL_TASKS),
    Route("POST", "/tasks/retry", bulk.retry_all, RETRY_TASKS),
    Route("POST", "/tasks/delete", bulk.delete_all, DELETE_TASKS),
    Route("GET", "/events", events.all_events, WATCH_TASKS),
    Route("GET", "/tasks/{id}/events", events.task_events, WATCH_TASK),
    Route("GET", "/overview", overview.overview, GET_OVERVIEW),
    Route("GET", "/errors", failures.errors, LIST_ERRORS),
    Route("GET", "/tags", tags.tags, LIST_TAGS),
    Route("GET", "/stats", overview.stats, GET_STATS),
    Route("GET", "/workers", overview.workers, LIST_WORKERS),
    Route("GET", "/actions", overview.actions, LIST_ACTIONS),
    Route("GET", "/metrics", metrics.metrics, GET_METRICS),
    Route("GET", "/dead", dead.show, LIST_DEAD_LETTERS),
    Route("POST", "/dead/requeue", dead.requeue, REQUEUE_DEAD_LETTERS),
    Route("POST", "/dead/drop", dead.drop, DROP_DEAD_LETTERS),
    Route("POST", "/keys", keys.create, CREATE_KEY),
    Route("GET", "/keys", keys.show_all, LIST_KEYS),
    Route("DELETE", "/keys/{key}", keys.revoke, REVOKE_KEY),
    Route("GET", "/audit", audit.show, READ_AUDIT),
    Route("GET", "/livez", health.livez, CHECK_LIVE),
    Route("GET", "/readyz", health.readyz, CHECK_READY),
    Route("GET", "/", docs.root, GET_ROOT),
    Route("GET", "/openapi.json", docs.openapi, GET_OPENAPI),
    Route("GET", "/docs", docs.page, BROWSE),
    Route("GET", "/docs/{file}", docs.file, GET_PAGE_FILE),
]

#: What stands for an id in a path, but is none: without this, `DELETE /tasks/cancel` would look for a task.
_WORDS = "|".join(
    route.path.rpartition("/")[2] for route in ROUTES if route.path[:7] == "/tasks/" and "{" not in route.path
)


def routes() -> list[web.RouteDef]:
    """The application's routes. A GET answers HEAD too, but for the streams."""
    return [
        web.get(_pattern(route), _guarded(route), allow_head=not route.operation.streams)
        if route.method == "GET"
        else web.route(route.method, _pattern(route), _guarded(route))
        for route in ROUTES
    ]


def _guarded(route: Route) -> Handler:
    """The handler, for those who may, and for requests without a query or a body that it doesn't take: what would
    be ignored, such as the query of `/tasks/delete?dry_run=true`, was meant. Probes and browsers may add what they
    like."""
    operation = route.operation
    role, lenient = operation.role, operation.group in {"Health", "Documentation"}

    async def handle(request: web.Request) -> web.StreamResponse:
        if role is not None:
            require(request, role, narrowed=operation.narrows)
        if lenient:
            return await route.handler(request)
        if operation.query is None:
            read_query(Nothing, request.query)
        if route.method != "GET" and not operation.body and request.body_exists:
            # Some clients send an empty object where they have nothing to say.
            async with Body(request) as raw:
                await off_loop(request.app, len(raw), read_json, Nothing, raw or b"{}")
        return await route.handler(request)

    return handle


def _pattern(route: Route) -> str:
    return route.path.replace("{id}", f"{{id:(?!(?:{_WORDS})$)[^{{}}/]+}}")
