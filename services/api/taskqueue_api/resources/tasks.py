"""The resource `/tasks`: finding tasks, and acting on one."""

import hashlib
import json
from functools import partial

from aiohttp import ETag, web

from taskqueue.contract.answers import AcceptedAnswer, CancelAnswer, ConflictAnswer
from taskqueue.contract.audit import AuditedOperation
from taskqueue.contract.requests import ListQuery
from taskqueue.contract.tasks import PageAnswer, TaskAnswer, WholeTaskAnswer
from taskqueue.logs import REQUEST_ID
from taskqueue.store import verbs
from taskqueue.store.audit import noting
from taskqueue.store.bulk import APPLIES_TO
from taskqueue.task import FINAL, Status, Task
from taskqueue_api.http.bodies import read_query
from taskqueue_api.http.credentials import unauthorized
from taskqueue_api.http.prefix import prefix_of
from taskqueue_api.http.room import room_for_answer
from taskqueue_api.keys import BACKLOG, HOLDER, KEYRING, STORE
from taskqueue_api.resources.audit import deed_of
from taskqueue_api.resources.cursors import decode, encode
from taskqueue_api.resources.filters import to_store
from taskqueue_api.resources.wait import once_final, place_to_wait, preferred_wait

#: Bytes of payloads and results in one page, as the store has them: what comes beyond is the next page's. In the
#: answer a task's data comes twice.
PAGE_BYTES = 2 * 1024 * 1024

#: What a task is after it was cancelled, or asked to stop.
_CANCELLED = {Status.CANCELLED, Status.RUNNING}


async def newest(request: web.Request) -> web.Response:
    """`GET /tasks`: a page of the tasks that fit a filter, newest first."""
    query = read_query(ListQuery, request.query)
    holder = request[HOLDER]
    wanted = to_store(query, holder)
    page = await request.app[STORE].reads.find(
        wanted,
        limit=query.limit,
        cursor=None if query.cursor is None else decode(query.cursor, wanted, holder),
        max_bytes=PAGE_BYTES,
        make_room=room_for_answer(request),
    )
    answer = PageAnswer(tasks=[TaskAnswer.of(task) for task in page.tasks], count=len(page.tasks))
    if page.next is None:
        return web.json_response(text=answer.to_json())
    answer.next = encode(page.next, wanted, holder)
    url = request.rel_url.update_query(cursor=answer.next)
    link = f'<{prefix_of(request)}{url}>; rel="next"'
    return web.json_response(text=answer.to_json(), headers={"Link": link})


async def show(request: web.Request) -> web.Response:
    """`GET /tasks/{id}`: one task, with its attempts; with `Prefer: wait`, once it is final."""
    wait = preferred_wait(request)
    if wait is None:
        return _unless_known(request, await _whole(request))
    if request[HOLDER].is_bound:
        await existing_task(request)
    async with place_to_wait(request.app):
        task = await once_final(request, request.match_info["id"], wait)
    if not request.app[KEYRING].is_good(request[HOLDER]):
        raise unauthorized("the key, or its session, has ended meanwhile", "invalid_token")
    response = _unless_known(request, task or await _whole(request))
    response.headers["Preference-Applied"] = f"wait={wait:g}"
    return response


async def cancel(request: web.Request) -> web.Response:
    """`POST /tasks/{id}/cancel`: at once where it waits; a running one is asked to stop."""
    task = await existing_task(request)
    # The verb can't tell a task that it cancelled from one that was cancelled long ago.
    if task.status not in FINAL:
        status: Status | None = task.status
        if not task.cancel_requested:  # else it runs, and was asked before: nothing is to be changed
            deed = deed_of(request, AuditedOperation.CANCEL_TASK, target=task.id)
            status = await request.app[STORE].write(
                noting, deed, partial(verbs.cancel, id=task.id), _CANCELLED.__contains__
            )
        if status in _CANCELLED:
            answer = CancelAnswer(id=task.id, status=status, cancel_requested=True)
            return web.json_response(text=answer.to_json(), status=202)
        task = await existing_task(request)
    return _conflict(f"the task is already {task.status}", task)


async def retry(request: web.Request) -> web.Response:
    """`POST /tasks/{id}/retry`: run a failed or cancelled task again; its attempts stay."""
    task = await existing_task(request)
    if task.status in APPLIES_TO["retry"]:
        await request.app[BACKLOG].check()
        deed = deed_of(request, AuditedOperation.RETRY_TASK, target=task.id)
        again = partial(verbs.retry, id=task.id, request_id=REQUEST_ID.get())
        if await request.app[STORE].write(noting, deed, again):
            request.app[BACKLOG].add(1)
            answer = AcceptedAnswer(id=task.id, status=Status.PENDING)
            return web.json_response(text=answer.to_json(), status=202)
        task = await existing_task(request)
    return _conflict(f"the task is {task.status}: only a failed or cancelled one is retried", task)


async def delete(request: web.Request) -> web.Response:
    """`DELETE /tasks/{id}`: forget a final task."""
    if request[HOLDER].is_bound:
        await existing_task(request)
    id = request.match_info["id"]
    deed = deed_of(request, AuditedOperation.DELETE_TASK, target=id)
    if await request.app[STORE].write(noting, deed, partial(verbs.delete, id=id)):
        return web.Response(status=204)
    task = await existing_task(request)
    return _conflict(f"the task is {task.status}: cancel it first", task)


async def existing_task(request: web.Request) -> Task:
    """The task that the path names, in outline where it is large.

    Raises:
        HTTPNotFound: there is none.
    """
    id = request.match_info["id"]
    return _found(request, id, await request.app[STORE].reads.outline(id))


async def _whole(request: web.Request) -> Task:
    id = request.match_info["id"]
    return _found(request, id, await request.app[STORE].reads.get(id, room_for_answer(request)))


def _found(request: web.Request, id: str, task: Task | None) -> Task:
    # What is another's is as good as not there: nobody learns from the answer that it is.
    if task is None or not request[HOLDER].owns(task.action, task.tags):
        raise web.HTTPNotFound(
            text=json.dumps({"error": f"no task has the id {id[:100]!r}"}), content_type="application/json"
        )
    return task


def _unless_known(request: web.Request, task: Task) -> web.Response:
    """The task; 304 where the client has it already. The tag is weak: the bytes may be sent compressed."""
    text = WholeTaskAnswer.whole(task).to_json()
    tag = ETag(hashlib.blake2b(text.encode(), digest_size=12).hexdigest(), is_weak=True)
    if any(known.value in {tag.value, "*"} for known in request.if_none_match or ()):
        response = web.Response(status=304)
    else:
        response = web.Response(text=text, content_type="application/json")
    response.etag = tag
    response.headers["Cache-Control"] = "private, no-cache"  # which means: ask whether it has changed
    return response


def _conflict(error: str, task: Task) -> web.Response:
    answer = ConflictAnswer(error=error, status=task.status)
    return web.json_response(text=answer.to_json(), status=409)
