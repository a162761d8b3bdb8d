"""The answers of the API that are fixed: see docs/api.md."""

import re
import time

import pytest
from tests.integration.system import System
from yarl import URL

from taskqueue.message import decode
from taskqueue.store.schema import SCHEMA_VERSION
from taskqueue.task import Status

UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def has_milliseconds(seconds: float) -> bool:
    return isinstance(seconds, float) and round(seconds, 3) == seconds


async def test_a_submitted_task_is_answered_with_its_id_its_status_and_where_it_is(system: System) -> None:
    answer = await system.post("/tasks", json={"action": "uppercase", "data": {"text": "hello world"}})
    assert answer.status == 202
    assert answer.body == {"id": answer.body["id"], "status": "queued"}
    assert UUID.fullmatch(answer.body["id"])
    assert answer.headers["Location"] == f"/tasks/{answer.body['id']}"
    there = await system.get(answer.headers["Location"])
    assert (there.status, there.body["id"]) == (200, answer.body["id"])


async def test_the_content_type_of_a_submission_does_not_matter(system: System) -> None:
    for headers in ({}, {"Content-Type": "text/plain"}, {"Content-Type": "application/x-www-form-urlencoded"}):
        answer = await system.post("/tasks", data=b'{"action": "x"}', headers=headers)
        assert answer.status == 202


async def test_a_task_has_the_members_of_the_contract(system: System) -> None:
    before = time.time()
    id = await system.submit("uppercase", {"text": "hello world"})
    async with system.worker():
        task = await system.until(id)
    after = time.time()
    assert (task["id"], task["status"], task["result"]) == (id, "completed", {"output": "HELLO WORLD"})
    assert set(task["payload"]) == {"id", "action", "data", "created_at"}
    assert task["payload"] == {
        "id": id,
        "action": "uppercase",
        "data": {"text": "hello world"},
        "created_at": task["created_at"],
    }
    assert has_milliseconds(task["created_at"])
    assert has_milliseconds(task["processed_at"])
    assert before - 0.001 <= task["created_at"] <= task["processed_at"] <= after


async def test_the_payload_is_what_travels_through_the_queue(system: System) -> None:
    id = await system.submit("greet", {"name": "ü"})
    async with system.broker.consume(1) as consumer:
        message = decode((await anext(aiter(consumer))).body)
    payload = (await system.task(id))["payload"]
    assert payload == {
        "id": message.id,
        "action": message.action,
        "data": message.data,
        "created_at": message.created_at,
    }


async def test_a_task_that_waits_has_no_result_and_no_end(system: System) -> None:
    task = await system.task(await system.submit("uppercase"))
    assert task["result"] is None
    assert task["processed_at"] is None
    assert task["error"] is None
    assert task["attempts"] == []


async def test_data_is_an_empty_object_by_default(system: System) -> None:
    answer = await system.post("/tasks", json={"action": "anything"})
    assert answer.status == 202
    task = await system.task(answer.body["id"])
    assert (task["data"], task["payload"]["data"]) == ({}, {})


async def test_what_a_submission_leaves_out_comes_from_the_settings_where_its_action_says_nothing(
    system: System,
) -> None:
    id = await system.submit("sum")
    task = await system.task(id)
    assert task["max_attempts"] is None, "its action may say: who claims it knows"
    assert task["priority"] == "normal"
    assert task["timeout"] is None
    assert task["run_at"] == task["created_at"]
    async with system.worker(max_attempts=4):
        assert (await system.until(id))["max_attempts"] == 4


async def test_what_a_submission_says_is_kept(system: System) -> None:
    later = round(time.time() + 1000, 3)
    id = await system.submit("anything", priority="high", max_attempts=7, timeout=1.5, run_at=later)
    task = await system.task(id)
    assert task["status"] == "pending"
    said = {"priority": "high", "max_attempts": 7, "timeout": 1.5, "run_at": later}
    assert said.items() <= task.items()


async def test_an_integer_may_be_written_with_a_fraction_of_zero(system: System) -> None:
    answer = await system.post("/tasks", data=b'{"action": "x", "max_attempts": 7.0}')
    assert (await system.task(answer.body["id"]))["max_attempts"] == 7


async def test_a_delay_counts_from_the_submission(system: System) -> None:
    task = await system.task(await system.submit("anything", delay=1000))
    assert task["run_at"] == pytest.approx(task["created_at"] + 1000, abs=0.001)


async def test_no_json_is_told(system: System) -> None:
    answer = await system.post("/tasks", data=b"{")
    assert (answer.status, answer.body["error"]) == (400, "invalid JSON")


async def test_no_action_is_told(system: System) -> None:
    answer = await system.post("/tasks", json={"data": {}})
    assert (answer.status, answer.body) == (400, {"error": "action required"})


# Lists


async def test_an_empty_list(system: System) -> None:
    answer = await system.get("/tasks")
    assert (answer.status, answer.body) == (200, {"tasks": [], "count": 0})


async def test_tasks_are_listed_newest_first_and_counted(system: System) -> None:
    ids = [await system.submit("anything", {"number": number}) for number in range(5)]
    answer = await system.get("/tasks")
    assert [task["id"] for task in answer.body["tasks"]] == ids[::-1]
    assert answer.body["count"] == 5


async def test_a_listed_task_has_the_members_of_the_contract(system: System) -> None:
    await system.submit("anything", {"x": 1})
    [task] = (await system.get("/tasks")).body["tasks"]
    assert {"id", "payload", "status", "result", "created_at", "processed_at"} <= set(task)
    assert (task["data"], task["payload"]["data"]) == ({"x": 1}, {"x": 1})


async def fill(system: System, count: int) -> None:
    answers = [await system.submit("anything") for _ in range(count)]
    assert len(answers) == count


async def test_a_list_has_a_hundred_tasks_unless_a_limit_says_otherwise(system: System) -> None:
    await fill(system, 103)
    for query, count in (("", 100), ("?limit=1", 1), ("?limit=102", 102), ("?limit=1000", 103)):
        body = (await system.get(f"/tasks{query}")).body
        assert (len(body["tasks"]), body["count"]) == (count, count)


async def test_a_list_is_filtered_by_status(system: System) -> None:
    done, failed = await system.submit("uppercase", {"text": "x"}), await system.submit("uppercase", {"text": 1})
    async with system.worker():
        await system.until(done)
        await system.until(failed)
    waiting = [await system.submit("anything", delay=1000) for _ in range(3)]
    expected: dict[Status, list[str]] = {
        Status.COMPLETED: [done],
        Status.FAILED: [failed],
        Status.PENDING: waiting[::-1],
    }
    for status in Status:
        body = (await system.get(f"/tasks?status={status}")).body
        ids = expected.get(status, [])
        assert ([task["id"] for task in body["tasks"]], body["count"]) == (ids, len(ids))
    body = (await system.get("/tasks?status=pending&limit=2")).body
    assert [task["id"] for task in body["tasks"]] == waiting[:0:-1]


# Errors


@pytest.mark.parametrize(
    "id",
    [
        "x",
        "01a2043a-b7c0-71dd-b05f-f2d70b6d4bd4",
        "x" * 4000,
        "%00",
        "%C3%BC%F0%9F%98%80",
        "%ED%A0%80",
        "%FF",
        "%2F",
        "'",
        "%22",
    ],
)
@pytest.mark.parametrize("verb", ["", "/cancel"])
async def test_an_unknown_id_is_answered_404(system: System, id: str, verb: str) -> None:
    method = "POST" if verb else "GET"
    answer = await system.request(method, URL(f"/tasks/{id}{verb}", encoded=True))
    assert answer.status == 404
    assert "no task has the id" in answer.body["error"]
    assert len(answer.body["error"]) < 1000


@pytest.mark.parametrize("path", ["/x", "/task", "/tasks/", "/tasks/x/y", "/tasks/%ff", "/livez/", "/{id}"])
async def test_an_unknown_path_is_answered_404(system: System, path: str) -> None:
    answer = await system.get(URL(path, encoded=True))
    assert answer.status == 404
    assert answer.body["error"]


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("DELETE", "/tasks", {"GET", "HEAD", "POST"}),
        ("PUT", "/tasks/x", {"DELETE", "GET", "HEAD"}),
        ("GET", "/tasks/x/cancel", {"POST"}),
        ("POST", "/livez", {"GET", "HEAD"}),
        ("PURGE", "/tasks", {"GET", "HEAD", "POST"}),
    ],
)
async def test_a_wrong_method_is_answered_405_with_those_allowed(
    system: System, method: str, path: str, allowed: set[str]
) -> None:
    answer = await system.request(method, path)
    assert answer.status == 405
    assert set(answer.headers["Allow"].replace(" ", "").split(",")) == allowed
    assert method in answer.body["error"]


# Health


async def test_a_live_process_says_so(system: System) -> None:
    answer = await system.get("/livez")
    assert (answer.status, answer.body) == (200, {"status": "ok"})


async def test_readiness_tells_the_schema_and_the_broker(system: System) -> None:
    answer = await system.get("/readyz")
    assert answer.status == 200
    assert answer.body == {"status": "ready", "schema": SCHEMA_VERSION, "broker": "connected"}
