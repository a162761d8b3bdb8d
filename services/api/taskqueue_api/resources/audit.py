"""The resource `/audit`: who changed what. And what the handlers that change something note of it."""

import json
from typing import Any

from aiohttp import web

from taskqueue.contract.audit import AuditAnswer, AuditedOperation, AuditEntry
from taskqueue.contract.requests import AuditQuery
from taskqueue.logs import REQUEST_ID
from taskqueue.store.audit import Deed, Noted
from taskqueue_api.http.addresses import address_of
from taskqueue_api.http.bodies import read_query
from taskqueue_api.keys import HOLDER, STORE


def deed_of(
    request: web.Request,
    operation: AuditedOperation,
    *,
    target: str | None = None,
    filter: dict[str, Any] | None = None,
) -> Deed:
    """What is to be noted of a request once it has changed something."""
    holder = request[HOLDER]
    return Deed(
        operation,
        key=holder.key,
        label=holder.label or None,
        address=address_of(request),
        request_id=REQUEST_ID.get(),
        target=target,
        filter=None if filter is None else json.dumps(filter),
    )


async def show(request: web.Request) -> web.Response:
    """`GET /audit`: a page of what was changed, newest first."""
    query = read_query(AuditQuery, request.query)
    noted = await request.app[STORE].reads.audit(
        query.limit + 1, before=query.before, key=query.key, operation=query.operation
    )
    page = noted[: query.limit]
    answer = AuditAnswer(entries=[_entry(each) for each in page], count=len(page))
    if len(noted) > len(page):
        answer.next = page[-1].seq
    return web.json_response(text=answer.to_json())


def _entry(noted: Noted) -> AuditEntry:
    return AuditEntry.model_validate(
        {
            "seq": noted.seq,
            "at": noted.at / 1000,
            "operation": noted.operation,
            "key": noted.key,
            "label": noted.label,
            "target": noted.target,
            "filter": None if noted.filter is None else json.loads(noted.filter),
            "tasks": noted.tasks,
            "address": noted.address,
            "request_id": noted.request_id,
        }
    )
