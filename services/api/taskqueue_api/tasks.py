"""The resource `/tasks`: finding tasks, and acting on one."""

import base64
import binascii
import json

from aiohttp import web

from taskqueue.store import Cursor
from taskqueue.task import FINAL, Status, Task
from taskqueue_api.answers import attempt_json, task_json
from taskqueue_api.bodies import read_query
from taskqueue_api.errors import bad_request
from taskqueue_api.keys import STORE
from taskqueue_api.models import ListQuery
from taskqueue_api.wait import preferred_wait, wait_for

#: Bytes of payloads and results in one page: what comes beyond is the next page's.
_PAGE_BYTES = 4 * 1024 * 1024


async def newest(request: web.Request) -> web.Response:
    """`GET /tasks`: a page of the tasks that fit a filter, newest first."""
    query = read_query(ListQuery, request.query)
    page = await request.app[STORE].find(
        query.to_store(),
        limit=query.limit,
        cursor=None if query.cursor is None else _decode(query.cursor),
        max_bytes=_PAGE_BYTES,
    )
    tasks = [task_json(task) for task in page.tasks]
    answer = {"tasks": tasks, "count": len(tasks)}
    if page.next is None:
        return web.json_response(answer)
    cursor = _encode(page.next)
    url = request.rel_url.update_query(cursor=cursor)
    return web.json_response(answer | {"next": cursor}, headers={"Link": f'<{url}>; rel="next"'})


async def show(request: web.Request) -> web.Response:
    """`GET /tasks/{id}`: one task, with its attempts; with `Prefer: wait`, once it is final."""
    wait = preferred_wait(request)
    task = await existing_task(request)
    if wait is not None and task.status not in FINAL:
        await wait_for(request.app, task.id, wait)
        task = await existing_task(request)
    attempts = [attempt_json(attempt) for attempt in await request.app[STORE].attempts_of(task.id)]
    response = web.json_response(task_json(task) | {"attempts": attempts})
    if wait is not None:
        response.headers["Preference-Applied"] = f"wait={wait:g}"
    return response


async def cancel(request: web.Request) -> web.Response:
    """`POST /tasks/{id}/cancel`: at once where it waits; a running one is asked to stop."""
    task = await existing_task(request)
    # `CANCELLED` is also the answer for a task that was cancelled long ago.
    status = task.status if task.status in FINAL else await request.app[STORE].cancel(task.id)
    if task.status in FINAL or status not in {Status.CANCELLED, Status.RUNNING}:
        return _conflict(f"the task is already {status}", status)
    return web.json_response({"id": task.id, "status": status, "cancel_requested": True}, status=202)


async def retry(request: web.Request) -> web.Response:
    """`POST /tasks/{id}/retry`: run a failed or cancelled task again; its attempts stay."""
    task = await existing_task(request)
    if not await request.app[STORE].rerun(task.id):
        return _conflict(f"the task is {task.status}: only a failed or cancelled one is retried", task.status)
    return web.json_response({"id": task.id, "status": Status.PENDING}, status=202)


async def delete(request: web.Request) -> web.Response:
    """`DELETE /tasks/{id}`: forget a final task."""
    task = await existing_task(request)
    if not await request.app[STORE].delete(task.id):
        return _conflict(f"the task is {task.status}: cancel it first", task.status)
    return web.Response(status=204)


async def existing_task(request: web.Request) -> Task:
    """The task that the path names.

    Raises:
        HTTPNotFound: there is none.
    """
    id = request.match_info["id"]
    task = await request.app[STORE].get(id)
    if task is None:
        raise web.HTTPNotFound(
            text=json.dumps({"error": f"no task has the id {id[:100]!r}"}), content_type="application/json"
        )
    return task


def _conflict(error: str, status: Status | None) -> web.Response:
    return web.json_response({"error": error, "status": status}, status=409)


def _encode(cursor: Cursor) -> str:
    return base64.urlsafe_b64encode(f"{cursor.before}.{cursor.floor}".encode()).decode().rstrip("=")


def _decode(text: str) -> Cursor:
    try:
        before, floor = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode().split(".")
        cursor = Cursor(int(before), int(floor))
    except (ValueError, binascii.Error) as error:
        raise bad_request("cursor: not one that a page gave as `next`") from error
    if not (0 <= cursor.before < 2**63 and 0 <= cursor.floor < 2**63):
        raise bad_request("cursor: not one that a page gave as `next`")
    return cursor
