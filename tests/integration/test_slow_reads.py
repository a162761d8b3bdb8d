"""What may be slow (a filter that fits few of many, a count, statistics) holds up nothing that is quick."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from tests.integration.store.test_find import ENDLESS
from tests.integration.system import System
from tests.integration.test_stream_ends import told

from taskqueue.store import reads

#: Seconds within which what is quick is answered; a search may take 20.
SOON = 5


@pytest.fixture
async def slow(system: System) -> AsyncIterator[System]:
    """A search, a count and a survey go on for ever, and others wait for their turns."""
    engine = system.store._engine
    slow = [asyncio.create_task(read(ENDLESS, {})) for read in (engine.search, engine.count) for _ in range(2)]
    waiting = asyncio.create_task(system.get("/stats?minutes=1440"))
    counting = asyncio.create_task(system.post("/tasks/delete", json={"tag": "x", "dry_run": True}))
    yield system
    assert not any(reading.done() for reading in [*slow, waiting, counting]), "it was no test"
    for reading in slow:
        reading.cancel()
    await asyncio.wait(slow)
    assert (await waiting).status == 200
    assert (await counting).body == {"count": 0, "dry_run": True}


async def test_what_is_quick_does_not_wait_for_what_is_slow(slow: System) -> None:
    async with asyncio.timeout(SOON):
        id = await slow.submit("x", tags=["a"], delay=1000)
        for path in (
            "/livez",
            "/readyz",
            f"/tasks/{id}",
            "/workers",
            "/actions",
            "/tasks",
            "/tasks?tag=a",
            "/tasks?status=pending&action=x&created_after=1&created_before=9999999999",
        ):
            assert (await slow.get(path)).status == 200, path
        for path in ("/events", f"/tasks/{id}/events"):
            async with slow.client.get(path, headers={"Last-Event-ID": "0"}) as response:
                assert (await anext(told(response))).data["status"] == "pending", path


async def test_waits_and_changes_do_not_either(slow: System) -> None:
    async with slow.worker(), asyncio.timeout(SOON):
        answer = await slow.post(
            "/tasks", json={"action": "uppercase", "data": {"text": "x"}}, headers={"Prefer": "wait=20"}
        )
        assert (answer.status, answer.body["status"]) == (200, "completed")
        id = await slow.submit("x", delay=1000)
        assert (await slow.post(f"/tasks/{id}/cancel")).status == 202
        assert (await slow.post(f"/tasks/{id}/retry")).status == 202


async def test_the_events_of_one_task_are_found_among_any_number(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reads, "_EVENTS_LOOKED_AT", 7)
    id = await system.submit("x", delay=1000)
    for _ in range(3):
        await system.post("/tasks/batch", json={"tasks": [{"action": "y", "delay": 9}] * 10})
    await system.post(f"/tasks/{id}/cancel")
    async with system.client.get(f"/tasks/{id}/events", headers={"Last-Event-ID": "0"}) as response:
        statuses = [sent.data["status"] async for sent in told(response)]
    assert statuses == ["pending", "cancelled"]
