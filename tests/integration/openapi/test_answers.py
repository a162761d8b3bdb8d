"""Every answer that the document promises is given for some request, and looks as it says.

`REQUESTS` has the requests for each operation and status; a status without one fails.
"""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from tests.conformance.burying import bury
from tests.integration import actions
from tests.integration.openapi.described import Described, Reply
from tests.integration.system import System
from tests.integration.test_store_away import lose_its_content

from taskqueue.task import Status
from taskqueue_api.keys import BACKLOG
from taskqueue_api.routes import ROUTES

UNKNOWN = "01a2043a-b7c0-71dd-b05f-f2d70b6d4bd4"
TASK = {"action": "uppercase", "data": {"text": "x"}}
KEY = {"label": "x", "role": "read"}
NDJSON = {"Content-Type": "application/x-ndjson"}

Request = Callable[[System], Awaitable[list[Reply]]]
REQUESTS: defaultdict[tuple[str, int], list[Request]] = defaultdict(list)


async def send(system: System, method: str, path: str, **options: Any) -> Reply:
    async with system.client.request(method, path, **options) as response:
        return await Reply.read(response)


def answered(id: str, status: int) -> Callable[[Request], Request]:
    """Says which answer the replies of a function are."""

    def keep(request: Request) -> Request:
        REQUESTS[id, status].append(request)
        return request

    return keep


def plain(id: str, status: int, method: str, path: str, **options: Any) -> None:
    """One request that needs nothing before it."""

    @answered(id, status)
    async def request(system: System) -> list[Reply]:
        return [await send(system, method, path, **options)]


# What many operations have in common

for id_, method_, path_, options_ in (
    ("submit_task", "POST", "/tasks", {"json": TASK}),
    ("submit_batch", "POST", "/tasks/batch", {"json": {"tasks": [TASK]}}),
    ("find_tasks", "GET", "/tasks", {}),
    ("get_task", "GET", f"/tasks/{UNKNOWN}", {}),
    ("delete_task", "DELETE", f"/tasks/{UNKNOWN}", {}),
    ("cancel_task", "POST", f"/tasks/{UNKNOWN}/cancel", {}),
    ("retry_task", "POST", f"/tasks/{UNKNOWN}/retry", {}),
    ("watch_task", "GET", f"/tasks/{UNKNOWN}/events", {}),
    ("cancel_tasks", "POST", "/tasks/cancel", {"json": {"tag": "x"}}),
    ("retry_tasks", "POST", "/tasks/retry", {"json": {"tag": "x"}}),
    ("delete_tasks", "POST", "/tasks/delete", {"json": {"tag": "x"}}),
    ("watch_tasks", "GET", "/events", {}),
    ("get_overview", "GET", "/overview", {}),
    ("list_errors", "GET", "/errors", {}),
    ("list_tags", "GET", "/tags", {}),
    ("get_stats", "GET", "/stats", {}),
    ("list_workers", "GET", "/workers", {}),
    ("list_actions", "GET", "/actions", {}),
    ("create_key", "POST", "/keys", {"json": KEY}),
    ("list_keys", "GET", "/keys", {}),
    ("revoke_key", "DELETE", f"/keys/{UNKNOWN}", {}),
    ("read_audit", "GET", "/audit", {}),
    ("check_ready", "GET", "/readyz", {}),
):

    @answered(id_, 503)
    async def without_a_store(
        system: System, method: str = method_, path: str = path_, options: dict[str, Any] = options_
    ) -> list[Reply]:
        await system.until(await system.submit("x"), Status.QUEUED)  # no write is under way
        lose_its_content(system.settings.database)
        return [await send(system, method, path, **options)]

    if UNKNOWN in path_:
        plain(id_, 404, method_, path_)
        plain(id_, 404, method_, path_.replace(UNKNOWN, "x"))

for id_, method_, path_ in (
    ("submit_task", "POST", "/tasks"),
    ("submit_batch", "POST", "/tasks/batch"),
    ("delete_task", "DELETE", f"/tasks/{UNKNOWN}"),
    ("cancel_task", "POST", f"/tasks/{UNKNOWN}/cancel"),
    ("retry_task", "POST", f"/tasks/{UNKNOWN}/retry"),
    ("cancel_tasks", "POST", "/tasks/cancel"),
    ("retry_tasks", "POST", "/tasks/retry"),
    ("delete_tasks", "POST", "/tasks/delete"),
    ("requeue_dead_letters", "POST", "/dead/requeue"),
    ("drop_dead_letters", "POST", "/dead/drop"),
    ("create_key", "POST", "/keys"),
    ("revoke_key", "DELETE", f"/keys/{UNKNOWN}"),
):
    plain(id_, 400, method_, path_, data=b"{")
    plain(id_, 400, method_, path_, data=b"[]")
    plain(id_, 400, method_, path_, json={"action": 1, "priority": 1, "tag": "", "tasks": [], "other": 1})
    plain(id_, 400, method_, f"{path_}?dry_run=true", json={"tag": "x"})
    plain(id_, 403, method_, path_, headers={"Origin": "https://other.example"})
    plain(id_, 413, method_, path_, data=b" " * 40_000)
    plain(id_, 415, method_, path_, data=b"{}", headers={"Content-Encoding": "br"})

    @answered(id_, 408)
    async def with_a_body_that_never_ends(system: System, method: str = method_, path: str = path_) -> list[Reply]:
        async def body() -> AsyncIterator[bytes]:
            yield b"{"
            await asyncio.sleep(60)

        return [await send(system, method, path, data=body())]


plain("list_workers", 400, "GET", "/workers?limit=1")
plain("list_actions", 400, "GET", "/actions?limit=1")
plain("read_audit", 400, "GET", "/audit?limit=0")
plain("read_audit", 400, "GET", "/audit?operation=submit_task&other=1")
plain("list_keys", 400, "GET", "/keys?limit=1")
plain("get_task", 400, "GET", f"/tasks/{UNKNOWN}?wait=10")
plain("watch_task", 400, "GET", f"/tasks/{UNKNOWN}/events?status=failed")


for id_, path_, body_ in (
    ("submit_task", "/tasks", TASK),
    ("submit_batch", "/tasks/batch", {"tasks": [TASK]}),
    ("retry_task", f"/tasks/{UNKNOWN}/retry", {}),
    ("retry_tasks", "/tasks/retry", {"status": ["failed"]}),
):

    @answered(id_, 503)
    async def with_too_many_waiting(system: System, path: str = path_, body: Any = body_) -> list[Reply]:
        system.client.server.app[BACKLOG].add(system.settings.max_backlog)  # type: ignore[attr-defined]
        return [await send(system, "POST", path, json=body)]


for id_, path_, body_, other_ in (
    ("submit_task", "/tasks", TASK, {"action": "x"}),
    ("submit_batch", "/tasks/batch", {"tasks": [TASK]}, {"tasks": [TASK, TASK]}),
):

    @answered(id_, 422)
    async def with_a_key_used_before(
        system: System, path: str = path_, body: Any = body_, other: Any = other_
    ) -> list[Reply]:
        headers = {"Idempotency-Key": '"a key"'}
        await send(system, "POST", path, json=body, headers=headers)
        return [await send(system, "POST", path, json=other, headers=headers)]

    @answered(id_, 202)
    async def with_a_key(system: System, path: str = path_, body: Any = body_) -> list[Reply]:
        headers = {"Idempotency-Key": '"a key"', "Prefer": "wait=0"}
        return [await send(system, "POST", path, json=body, headers=headers) for _ in range(2)]

    plain(id_, 400, "POST", path_, json=body_, headers={"Idempotency-Key": '""'})


# Keys

plain("create_key", 201, "POST", "/keys", json=KEY | {"expires_in": 60})
plain("create_key", 400, "POST", "/keys", json=KEY | {"expires_at": 1})
plain("create_key", 400, "POST", "/keys", json=KEY | {"expires_at": 4e9, "expires_in": 60})


@answered("list_keys", 200)
async def list_a_revoked_key(system: System) -> list[Reply]:
    await revoke_a_key_twice(system)
    return [await send(system, "GET", "/keys")]


@answered("revoke_key", 200)
async def revoke_a_key_twice(system: System) -> list[Reply]:
    made = await system.post("/keys", json=KEY)
    return [await send(system, "DELETE", f"/keys/{made.body['id']}") for _ in range(2)]


@answered("read_audit", 200)
async def read_what_was_done_to_keys_and_tasks(system: System) -> list[Reply]:
    await revoke_a_key_twice(system)
    id = await system.submit("x", tags=["a"], delay=1000)
    await send(system, "POST", f"/tasks/{id}/cancel")
    await send(system, "POST", "/tasks/retry", json={"tag": "a"})
    return [await send(system, "GET", f"/audit?limit={limit}") for limit in (1, 100)]


# Dead letters

plain("list_dead_letters", 400, "GET", "/dead?limit=1001")
plain("requeue_dead_letters", 400, "POST", "/dead/requeue", json={"ids": ["x"], "all": True})
plain("drop_dead_letters", 400, "POST", "/dead/drop", json={"all": True, "limit": 0})


@answered("list_dead_letters", 200)
async def list_none_one_and_all(system: System) -> list[Reply]:
    none = await send(system, "GET", "/dead")
    await bury(system.broker, b"{", b"\xff" * 3000)
    return [none, *[await send(system, "GET", f"/dead?limit={limit}") for limit in (1, 1000)]]


for id_, path_ in (("requeue_dead_letters", "/dead/requeue"), ("drop_dead_letters", "/dead/drop")):
    plain(id_, 404, "POST", path_, json={"ids": ["x"], "limit": 1.0})

    @answered(id_, 200)
    async def end_none_one_and_all(system: System, path: str = path_) -> list[Reply]:
        none = await send(system, "POST", path, json={"all": True})
        await bury(system.broker, b"{", b"\xff" * 3000)
        id = (await system.get("/dead?limit=1")).body["letters"][0]["id"]
        replies = [await send(system, "POST", path, json=body) for body in ({"ids": [id, id]}, {"all": True})]
        assert [reply.json for reply in replies] == [{"count": 1, "left": 1}, {"count": 1, "left": 0}]
        return [none, *replies]


for id_, method_, path_, options_ in (
    ("list_dead_letters", "GET", "/dead", {}),
    ("requeue_dead_letters", "POST", "/dead/requeue", {"json": {"ids": ["x"]}}),
    ("drop_dead_letters", "POST", "/dead/drop", {"json": {"all": True}}),
):

    @answered(id_, 503)
    async def without_a_broker(
        system: System, method: str = method_, path: str = path_, options: dict[str, Any] = options_
    ) -> list[Reply]:
        await system.broker.__aexit__(None, None, None)
        return [await send(system, method, path, **options)]


# Tasks

plain("submit_task", 202, "POST", "/tasks", json=TASK)
plain("submit_task", 400, "POST", "/tasks", json={"data": []})
plain("submit_batch", 202, "POST", "/tasks/batch", data=b'{"action": "x"}\n\n{"action": "y"}', headers=NDJSON)
plain("submit_batch", 200, "POST", "/tasks/batch?dry_run=true", data=b'{"action": "x"}', headers=NDJSON)
plain("submit_batch", 400, "POST", "/tasks/batch", data=b'{"action": "x"}\n{}', headers=NDJSON)
plain("submit_batch", 400, "POST", "/tasks/batch", data=b'{"action": "x"}\n{', headers=NDJSON)
plain("find_tasks", 200, "GET", "/tasks")
plain("get_metrics", 200, "GET", "/metrics")
plain("get_metrics", 400, "GET", "/metrics?name=x")
plain("find_tasks", 400, "GET", "/tasks?limit=0")
plain("find_tasks", 400, "GET", "/tasks?limit=0&status=done&other=1")
plain("find_tasks", 400, "GET", "/tasks?cursor=x")


plain("submit_task", 400, "POST", "/tasks", json=TASK, headers={"Prefer": "wait=-1"})
plain("get_task", 400, "GET", f"/tasks/{UNKNOWN}", headers={"Prefer": "wait=1e9"})


@answered("submit_task", 200)
async def submit_and_wait(system: System) -> list[Reply]:
    headers = {"Prefer": "wait=5", "Idempotency-Key": "once"}
    async with system.worker():
        await send(system, "POST", "/tasks", json=TASK, headers=headers)
        [task] = (await system.get("/tasks")).body["tasks"]
        await system.until(task["id"])
        return [await send(system, "POST", "/tasks", json=TASK, headers=headers)]


@answered("find_tasks", 200)
async def find_pages(system: System) -> list[Reply]:
    for n in range(3):
        await system.submit("x", tags=["a", f"n{n}"], priority="low", timeout=1)
    return [await send(system, "GET", f"/tasks?limit={limit}&tag=a&status=queued,pending") for limit in (2, 3)]


@answered("get_task", 200)
async def read_tasks_of_all_kinds(system: System) -> list[Reply]:
    waits = await system.submit("x", delay=1000)
    async with system.worker():
        completed = await system.submit("resize", {"image": "a", "width": 1})
        failed = await system.submit("fail", max_attempts=2)
        runs = await system.submit("hold", {"name": "described"})
        for id in (completed, failed):
            await system.until(id)
        await actions.started("described")
        replies = [await send(system, "GET", f"/tasks/{id}") for id in (waits, completed, failed, runs)]
        replies.append(await send(system, "GET", f"/tasks/{waits}", headers={"Prefer": "wait=1"}))
        actions.let_go("described")
    assert [reply.json["status"] for reply in replies] == ["pending", "completed", "failed", "running", "pending"]
    assert replies[1].json["progress"] == {"fraction": 0.4, "message": "resizing"}
    assert [attempt["outcome"] for attempt in replies[2].json["attempts"]] == ["error", "error"]
    return replies


@answered("get_task", 304)
async def read_a_task_again(system: System) -> list[Reply]:
    path = f"/tasks/{await system.submit('x', delay=1000)}"
    tag = (await send(system, "GET", path)).headers["Etag"]
    return [
        await send(system, "GET", path, headers={"If-None-Match": known, "Prefer": "wait=0"})
        for known in (tag, tag.removeprefix("W/"), "*", f'"other", {tag}')
    ]


async def cancelled(system: System) -> str:
    id = await system.submit("x", delay=1000)
    assert (await system.post(f"/tasks/{id}/cancel")).status == 202
    return id


@answered("cancel_task", 202)
async def cancel_tasks_that_wait_and_that_run(system: System) -> list[Reply]:
    waits = await system.submit("x", delay=1000)
    async with system.worker():
        runs = await system.submit("clean_up", {"name": "described"})
        await actions.started("described")
        return [await send(system, "POST", f"/tasks/{id}/cancel") for id in (waits, runs)]


@answered("cancel_task", 409)
async def cancel_a_cancelled_task(system: System) -> list[Reply]:
    return [await send(system, "POST", f"/tasks/{await cancelled(system)}/cancel")]


@answered("retry_task", 202)
async def retry_a_cancelled_task(system: System) -> list[Reply]:
    return [await send(system, "POST", f"/tasks/{await cancelled(system)}/retry")]


@answered("retry_task", 409)
async def retry_a_waiting_task(system: System) -> list[Reply]:
    return [await send(system, "POST", f"/tasks/{await system.submit('x')}/retry")]


@answered("delete_task", 204)
async def delete_a_cancelled_task(system: System) -> list[Reply]:
    return [await send(system, "DELETE", f"/tasks/{await cancelled(system)}")]


@answered("delete_task", 409)
async def delete_a_waiting_task(system: System) -> list[Reply]:
    return [await send(system, "DELETE", f"/tasks/{await system.submit('x')}")]


@answered("cancel_tasks", 200)
async def cancel_some(system: System) -> list[Reply]:
    await system.submit("x")
    body = {"status": ["pending", "queued"], "action": "x", "created_after": 1, "tag": None}
    replies = [await send(system, "POST", "/tasks/cancel", json=body | {"dry_run": dry}) for dry in (True, False)]
    assert [reply.json for reply in replies] == [{"count": 1, "dry_run": True}, {"count": 1, "dry_run": False}]
    return replies


plain("retry_tasks", 200, "POST", "/tasks/retry", json={"status": ["failed"]})
plain("delete_tasks", 200, "POST", "/tasks/delete", json={"created_before": 1e9})

# Events

plain("watch_tasks", 400, "GET", "/events?status=done")
plain("watch_tasks", 400, "GET", "/events", headers={"Last-Event-ID": "x"})
plain("watch_task", 400, "GET", f"/tasks/{UNKNOWN}/events", headers={"Last-Event-ID": "-1"})
plain("watch_task", 400, "GET", f"/tasks/{UNKNOWN}/events", headers={"Last-Event-ID": "99"})


@answered("watch_tasks", 200)
async def watch_all(system: System) -> list[Reply]:
    async with system.worker(), system.client.get("/events", headers={"Last-Event-ID": "0"}) as response:
        await system.submit("resize", {"image": "a", "width": 1}, tags=["a"])
        body = b""
        while b"completed" not in body:
            body += await response.content.readany()
        headers = {name.title(): value for name, value in response.headers.items()}
        return [Reply(response.status, response.content_type, headers, body.rpartition(b"\n\n")[0])]


@answered("watch_task", 200)
async def watch_one(system: System) -> list[Reply]:
    id = await cancelled(system)
    return [
        await send(system, "GET", f"/tasks/{id}/events", headers=headers)
        for headers in ({}, {"Last-Event-ID": "0"})
    ]


@answered("watch_task", 204)
async def watch_one_to_its_end(system: System) -> list[Reply]:
    id = await cancelled(system)
    _, last = await system.store.reads.event_range()
    return [await send(system, "GET", f"/tasks/{id}/events", headers={"Last-Event-ID": str(last)})]


# Overview, health, documentation

plain("get_overview", 400, "GET", "/overview?window=1d")
plain("list_errors", 400, "GET", "/errors?status=failed")
plain("list_tags", 400, "GET", "/tags?limit=0")
plain("get_stats", 400, "GET", "/stats?minutes=0")
plain("check_live", 200, "GET", "/livez")
plain("check_ready", 200, "GET", "/readyz")


@answered("get_overview", 200)
async def overview_of_some(system: System) -> list[Reply]:
    async with system.worker():
        await system.until(await system.submit("uppercase"))
    await system.submit("x")
    return [await send(system, "GET", f"/overview?window={window}") for window in ("1h", "24h", "7d")]


@answered("list_errors", 200)
async def errors_of_some(system: System) -> list[Reply]:
    async with system.worker():
        await system.until(await system.submit("refuse"))
    return [await send(system, "GET", "/errors")]


@answered("list_tags", 200)
async def tags_of_some(system: System) -> list[Reply]:
    await system.submit("x", tags=["a", "b"])
    return [await send(system, "GET", "/tags")]


@answered("get_stats", 200)
async def stats_of_some(system: System) -> list[Reply]:
    empty = await send(system, "GET", "/stats?minutes=1")
    async with system.worker():
        for action in ("uppercase", "x"):
            await system.until(await system.submit(action))
        waiting = await system.submit("hold", {"name": "described"})
        await actions.started("described")
        reply = await send(system, "GET", "/stats")
        actions.let_go("described")
        await system.until(waiting)
    assert set(reply.json["actions"]) == {"uppercase", "x", "hold"}
    return [empty, reply]


def see(id: str, path: str, member: str) -> None:
    @answered(id, 200)
    async def request(system: System) -> list[Reply]:
        none = await send(system, "GET", path)
        async with system.worker():
            await system.submit("hold", {"name": "described"})
            await actions.started("described")
            reply = await send(system, "GET", path)
            actions.let_go("described")
        assert reply.json[member]
        return [none, reply]


see("list_workers", "/workers", "workers")
see("list_actions", "/actions", "actions")

for id_, path_ in (
    ("get_openapi", "/openapi.json"),
    ("browse", "/docs"),
    ("get_page_file", "/docs/start.js"),
    ("get_page_file", "/docs/swagger-ui.css"),
    ("get_page_file", "/docs/swagger-ui-bundle.js"),
    ("get_page_file", "/docs/favicon-32x32.png"),
):
    plain(id_, 200, "GET", path_)

    @answered(id_, 304)
    async def again(system: System, path: str = path_) -> list[Reply]:
        first = await send(system, "GET", path)
        tags = (first.headers["Etag"], "*", f'"other", W/{first.headers["Etag"]}')
        return [await send(system, "GET", path, headers={"If-None-Match": tag}) for tag in tags]


plain("get_page_file", 404, "GET", "/docs/other.js")
plain("get_root", 200, "GET", "/")
plain("get_root", 307, "GET", "/", headers={"Accept": "text/html"}, allow_redirects=False)
plain("get_page_file", 404, "GET", "/docs/..%2f__init__.py")


@pytest.mark.parametrize(
    ("id", "status"), [(route.operation.id, status) for route in ROUTES for status in route.operation.answers]
)
async def test_every_documented_answer_is_given(
    system: System, described: Described, id: str, status: int
) -> None:
    assert REQUESTS[id, status], "no request here is answered so"
    seen: set[str] = set()
    for request in REQUESTS[id, status]:
        for reply in await request(system):
            assert reply.status == status, reply.body
            described.check(id, reply)
            seen |= reply.headers.keys()
    told = {name.title() for name in described.answers(id)[status].get("headers", {})}
    assert told <= seen, "a header that none of these had"


def test_no_request_is_of_an_answer_that_is_not_documented() -> None:
    told = {(route.operation.id, status) for route in ROUTES for status in route.operation.answers}
    assert {key for key, requests in REQUESTS.items() if requests} <= told
