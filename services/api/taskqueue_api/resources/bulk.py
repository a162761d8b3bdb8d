"""`POST /tasks/cancel`, `/tasks/retry` and `/tasks/delete`: act on all tasks that fit a filter."""

from aiohttp import web

from taskqueue.contract.answers import BulkAnswer
from taskqueue.contract.audit import AuditedOperation
from taskqueue.contract.requests import BulkBody
from taskqueue.logs import REQUEST_ID
from taskqueue.store.bulk import APPLIES_TO, Verb
from taskqueue_api.http.bodies import read_json
from taskqueue_api.http.deadline import Body
from taskqueue_api.http.room import off_loop
from taskqueue_api.keys import BACKLOG, HOLDER, STORE
from taskqueue_api.resources.audit import deed_of
from taskqueue_api.resources.filters import to_store

_OPERATIONS: dict[Verb, AuditedOperation] = {
    "cancel": AuditedOperation.CANCEL_TASKS,
    "retry": AuditedOperation.RETRY_TASKS,
    "delete": AuditedOperation.DELETE_TASKS,
}


async def cancel_all(request: web.Request) -> web.Response:
    """Cancel those that wait, and ask running ones to stop."""
    return await _act(request, "cancel")


async def retry_all(request: web.Request) -> web.Response:
    """Run failed and cancelled ones again."""
    return await _act(request, "retry")


async def delete_all(request: web.Request) -> web.Response:
    """Forget final ones."""
    return await _act(request, "delete")


async def _act(request: web.Request, verb: Verb) -> web.Response:
    async with Body(request) as raw:
        body = await off_loop(request.app, len(raw), read_json, BulkBody, raw)
    store, wanted = request.app[STORE], to_store(body, request[HOLDER])
    if body.dry_run:
        count = await store.reads.count(wanted, APPLIES_TO[verb])
    else:
        if verb == "retry":
            await request.app[BACKLOG].check()
        filter = body.model_dump(mode="json", exclude_unset=True, exclude={"dry_run"})
        deed = deed_of(request, _OPERATIONS[verb], filter=filter)
        count = await store.bulk.apply_to_all(
            verb, wanted, await store.reads.first_page(wanted), request_id=REQUEST_ID.get(), deed=deed
        )
    return web.json_response(text=BulkAnswer(count=count, dry_run=body.dry_run).to_json())
