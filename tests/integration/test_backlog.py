"""Where too many tasks wait, new ones are refused early."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.conformance.waiting import eventually
from tests.integration.system import Answer, System, quick_settings

from taskqueue_api.live import backlog

TASK = {"action": "note", "data": {"text": "x"}}


@pytest.fixture
async def system(tmp_path: Path) -> AsyncIterator[System]:
    async with System.open(quick_settings(tmp_path, max_backlog=3)) as system:
        yield system


async def post(system: System) -> Answer:
    return await system.post("/tasks", json=TASK)


async def post_batch(system: System) -> Answer:
    return await system.post("/tasks/batch", json={"tasks": [TASK, TASK]})


async def test_a_task_too_many_is_refused_and_not_stored(system: System) -> None:
    for delay in (0, 0, 1000):
        await system.submit("note", {"text": "x"}, delay=delay)
    for answer in (await post(system), await post_batch(system)):
        assert answer.status == 503
        assert "too many tasks waiting" in answer.body["error"]
        assert int(answer.headers["Retry-After"]) > 0
    assert await system.count() == 3


async def test_others_tasks_count(tmp_path: Path, system: System) -> None:
    async with System.open(quick_settings(tmp_path, max_backlog=3)) as other:
        for _ in range(3):
            await other.submit("x")
    assert (await post(system)).status == 503


async def test_tasks_are_accepted_again_when_enough_are_done(system: System) -> None:
    assert (await post_batch(system)).status == 202
    assert (await post_batch(system)).status == 202
    assert (await post(system)).status == 503

    async def accepted() -> bool:
        return (await post(system)).status == 202

    async with system.worker():
        await eventually(accepted)


async def test_a_repeated_submission_does_not_count_twice(system: System) -> None:
    for _ in range(5):
        answer = await system.post("/tasks", json=TASK, headers={"Idempotency-Key": "a"})
        assert answer.status == 202


@pytest.mark.parametrize("path", ["/tasks", "/tasks/batch"])
async def test_a_submission_that_was_accepted_is_answered_again_however_many_wait(
    system: System, path: str
) -> None:
    body = TASK if path == "/tasks" else {"tasks": [TASK]}
    first = await system.post(path, json=body, headers={"Idempotency-Key": "a"})
    for _ in range(2):
        assert (await post(system)).status == 202
    again = await system.post(path, json=body, headers={"Idempotency-Key": "a"})
    assert (again.status, again.body) == (202, first.body)
    assert again.headers["Idempotency-Replayed"] == "true"
    assert (await system.post(path, json=body, headers={"Idempotency-Key": "b"})).status == 503
    assert await system.count() == 3


async def test_everything_else_is_still_done(system: System) -> None:
    ids = [await system.submit("x", delay=1000) for _ in range(3)]
    assert (await system.get("/tasks")).status == 200
    assert (await system.post(f"/tasks/{ids[0]}/cancel")).status == 202


async def test_a_final_task_is_not_run_again_where_too_many_wait(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backlog, "FRESH", 0)
    id = await system.submit("x", delay=1000)
    await system.post(f"/tasks/{id}/cancel")
    for _ in range(3):
        other = await system.submit("x", delay=1000)
    for path, body in ((f"/tasks/{id}/retry", None), ("/tasks/retry", {"status": ["cancelled"]})):
        answer = await system.post(path, json=body)
        assert answer.status == 503
        assert "too many tasks waiting" in answer.body["error"]
    assert (await system.task(id))["status"] == "cancelled"
    assert (await system.post("/tasks/none/retry")).status == 404
    assert (await system.post(f"/tasks/{other}/retry")).status == 409
    answer = await system.post("/tasks/retry", json={"status": ["cancelled"], "dry_run": True})
    assert (answer.status, answer.body["count"]) == (200, 1)


async def test_a_task_that_is_run_again_counts_at_once(system: System) -> None:
    final = [await system.submit("x", delay=1000) for _ in range(3)]
    for id in final:
        await system.post(f"/tasks/{id}/cancel")
    await eventually(lambda: accepted_again(system))
    assert [(await system.post(f"/tasks/{id}/retry")).status for id in final] == [202, 202, 503]


async def accepted_again(system: System) -> bool:
    return (await system.post("/tasks", json={"action": "x", "delay": 1000})).status == 202


async def test_zero_is_no_limit(tmp_path: Path) -> None:
    async with System.open(quick_settings(tmp_path, max_backlog=0)) as system:
        for _ in range(5):
            await system.submit("x")
