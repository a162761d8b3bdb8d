"""`POST /tasks/batch`: up to 1,000 tasks, accepted all or none."""

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from tests.integration import actions
from tests.integration.store.given import stored
from tests.integration.system import Answer, System, quick_settings
from tests.integration.test_store_away import locked

from taskqueue.broker.memory import MemoryBroker

TASK: dict[str, Any] = {"action": "note", "data": {"text": "x"}}


async def batch(system: System, tasks: Any, **options: Any) -> Answer:
    return await system.post("/tasks/batch", json={"tasks": tasks}, **options)


async def lines(system: System, *values: bytes, content_type: str = "application/x-ndjson") -> Answer:
    return await system.post("/tasks/batch", data=b"\n".join(values), headers={"Content-Type": content_type})


async def assert_nothing_stored(system: System) -> None:
    assert await system.count() == 0
    assert await system.broker.ready_count() == 0


async def test_a_thousand_tasks_are_accepted_and_each_is_run_once(system: System) -> None:
    answer = await batch(system, [{"action": "note", "data": {"text": str(n)}} for n in range(1000)])
    assert (answer.status, answer.body["count"]) == (202, 1000)
    assert {task["status"] for task in answer.body["tasks"]} == {"queued"}
    ids = [task["id"] for task in answer.body["tasks"]]
    listed = (await system.get("/tasks?limit=1000")).body["tasks"]
    assert [task["id"] for task in listed] == ids[::-1], "in the order that they were given"
    assert [task["payload"]["data"]["text"] for task in listed] == [str(n) for n in range(999, -1, -1)]
    async with system.worker(consumers=10):
        await system.until(ids[-1])
        for id in ids:
            await system.until(id)
    assert Counter(actions.notes) == {str(n): 1 for n in range(1000)}


async def test_a_batch_is_one_transaction(system: System) -> None:
    """Readers see all of it or nothing; here, what is stored when the last one is refused by the database."""

    stored(
        system.settings.database,
        "CREATE TRIGGER trap BEFORE INSERT ON task WHEN NEW.action = 'trap' "
        "BEGIN SELECT RAISE(ABORT, 'trap'); END",
    )
    answer = await batch(system, [*[TASK] * 999, {"action": "trap"}])
    assert answer.status == 500
    await assert_nothing_stored(system)
    assert (await batch(system, [TASK])).status == 202


@pytest.mark.parametrize("index", [0, 500, 999])
async def test_one_bad_task_refuses_all_and_is_told_by_its_index(system: System, index: int) -> None:
    tasks: list[Any] = [TASK] * 1000
    tasks[index] = {"action": "x", "delay": -1}
    answer = await batch(system, tasks)
    assert answer.status == 400
    [detail] = answer.body["details"]
    assert (detail["index"], detail["path"]) == (index, f"tasks.{index}.delay")
    assert answer.body["error"] == detail["error"]
    await assert_nothing_stored(system)


@pytest.mark.parametrize("given_as", ["json", "lines"])
async def test_every_bad_task_is_told_at_once(system: System, given_as: str) -> None:
    tasks: list[Any] = [
        TASK,
        {},
        TASK,
        {"action": "x", "run_at": 1, "delay": 1},
        7,
        {"action": "x", "tags": "a", "y": 1},
    ]
    if given_as == "json":
        answer = await batch(system, tasks)
    else:
        answer = await lines(system, *(json.dumps(task).encode() for task in tasks))
    assert answer.status == 400
    assert [(detail["index"], detail["path"]) for detail in answer.body["details"]] == [
        (1, "tasks.1.action"),
        (3, "tasks.3.delay"),
        (4, "tasks.4"),
        (5, "tasks.5.tags"),
        (5, "tasks.5.y"),
    ]
    assert all(detail["error"] in answer.body["error"] for detail in answer.body["details"])
    await assert_nothing_stored(system)


async def test_a_number_that_no_answer_could_hold_is_told_by_its_index(system: System) -> None:
    answer = await system.post(
        "/tasks/batch", data=b'{"tasks": [{"action": "x"}, {"action": "x", "data": {"n": 1e999}}]}'
    )
    assert answer.status == 400
    [detail] = answer.body["details"]
    assert (detail["index"], detail["path"]) == (1, "tasks.1.data")
    await assert_nothing_stored(system)


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b'{"tasks": []}', "tasks: .*at least 1"),
        (b"{}", "tasks required"),
        (b'{"tasks": {}}', "tasks: .*list"),
        (b'{"tasks": null}', "tasks: .*list"),
        (b'[{"action": "x"}]', "the body must be a JSON object"),
        (b"", "invalid JSON"),
        (b'{"tasks": [{"action": "x"}', "invalid JSON"),
        (b'{"tasks": [{"action": "x"}], "dry_run": true}', "unknown member 'dry_run'"),
        (b'{"tasks": [{"action": "x", "data": {"n": NaN}}]}', "invalid JSON"),
    ],
)
async def test_a_body_that_is_no_batch_is_refused(system: System, body: bytes, error: str) -> None:
    answer = await system.post("/tasks/batch", data=body)
    assert answer.status == 400
    assert re.match(error, answer.body["error"]), answer.body
    await assert_nothing_stored(system)


async def test_1001_tasks_are_refused(system: System) -> None:
    for answer in (await batch(system, [TASK] * 1001), await lines(system, *[json.dumps(TASK).encode()] * 1001)):
        assert answer.status == 400
        assert re.match("tasks: .*1000", answer.body["error"])
    await assert_nothing_stored(system)


async def test_options_of_each_task_are_its_own(system: System) -> None:
    answer = await batch(
        system,
        [
            TASK,
            TASK | {"delay": 1000, "tags": ["later"]},
            TASK | {"priority": "high", "max_attempts": 7, "timeout": 2.5},
            TASK | {"run_at": 1},
            TASK | {"run_at": "1970-01-01T01:00:01.5+01:00"},
        ],
    )
    assert [task["status"] for task in answer.body["tasks"]] == ["queued", "pending", "queued", "queued", "queued"]
    one, later, high, past, in_iso = [await system.task(task["id"]) for task in answer.body["tasks"]]
    assert (one["priority"], one["tags"], one["timeout"]) == ("normal", [], None)
    assert later["run_at"] == pytest.approx(later["created_at"] + 1000, abs=0.01)
    assert (later["tags"], high["tags"]) == (["later"], [])
    assert (high["priority"], high["max_attempts"], high["timeout"]) == ("high", 7, 2.5)
    assert (past["run_at"], in_iso["run_at"]) == (1, 1.5)


# NDJSON


@pytest.mark.parametrize(
    "content_type", ["application/x-ndjson", "application/ndjson; charset=utf-8", "application/jsonl"]
)
async def test_lines_of_json_are_a_batch(system: System, content_type: str) -> None:
    values = [json.dumps(TASK | {"data": {"text": str(n)}}).encode() for n in range(3)]
    answer = await lines(system, values[0] + b"\r", b"", b"  ", *values[1:], b"", content_type=content_type)
    assert (answer.status, answer.body["count"]) == (202, 3)
    listed = (await system.get("/tasks")).body["tasks"]
    assert [task["payload"]["data"]["text"] for task in listed] == ["2", "1", "0"]


async def test_a_line_that_is_no_json_is_told_by_its_number(system: System) -> None:
    good = json.dumps(TASK).encode()
    answer = await lines(system, good, b"", b'{"action": "x"', good, b"}")
    assert answer.status == 400
    cut, wrong = "line 3, column 14: EOF while parsing an object", "line 5, column 1: expected value"
    assert answer.body == {
        "error": "line 3: invalid JSON; line 5: invalid JSON",
        "details": [
            {"path": "tasks.1", "error": "line 3: invalid JSON", "index": 1, "detail": cut},
            {"path": "tasks.3", "error": "line 5: invalid JSON", "index": 3, "detail": wrong},
        ],
    }
    await assert_nothing_stored(system)


async def test_of_many_bad_lines_a_hundred_are_told(system: System) -> None:
    answer = await lines(system, *[b"{"] * 1000)
    assert (answer.status, len(answer.body["details"])) == (400, 100)


async def test_no_lines_are_an_empty_batch(system: System) -> None:
    answer = await lines(system, b"", b" ")
    assert answer.status == 400
    assert re.match("tasks: .*at least 1", answer.body["error"])


# Limits and faults


async def test_a_batch_may_be_larger_than_a_single_body_and_has_its_own_limit(tmp_path: Path) -> None:
    settings = quick_settings(tmp_path, max_body_bytes=1000, max_batch_bytes=20_000)
    async with System.open(settings) as system:
        answer = await batch(system, [TASK | {"data": {"text": "x" * 500}}] * 20)
        assert answer.status == 202
        answer = await batch(system, [TASK | {"data": {"text": "x" * 500}}] * 40)
        assert answer.status == 413
        assert "BATCH_BYTES" in answer.body["error"]
        answer = await lines(system, *[json.dumps(TASK).encode()] * 999)
        assert answer.status == 413
        assert (await system.post("/tasks", json=TASK | {"data": {"text": "x" * 1000}})).status == 413
        assert await system.count() == 20


async def test_without_a_broker_all_are_accepted_as_pending_and_published_later(tmp_path: Path) -> None:
    broker = MemoryBroker()
    async with System.open(quick_settings(tmp_path), broker) as system:
        await broker.__aexit__(None, None, None)
        answer = await batch(system, [TASK] * 300)
        assert answer.status == 202
        assert {task["status"] for task in answer.body["tasks"]} == {"pending"}
        await broker.__aenter__()
        async with system.worker():
            for task in answer.body["tasks"]:
                await system.until(task["id"])
    assert len(actions.notes) == 300


async def test_a_batch_to_a_locked_store_is_refused_and_never_stored(system: System) -> None:
    with locked(system.settings.database):
        answer = await batch(system, [TASK] * 1000)
    assert (answer.status, answer.body) == (503, {"error": "failed to queue task"})
    assert int(answer.headers["Retry-After"]) > 0
    accepted = await system.submit("note", {"text": "y"})
    assert [task["id"] for task in (await system.get("/tasks")).body["tasks"]] == [accepted]
