"""From the commit of a POST to the end of its dispatch lease: what is confirmed, and what is not."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.conformance.waiting import eventually
from tests.integration.store.given import stored
from tests.integration.system import Answer, System, quick_settings
from tests.integration.test_store_away import locked

from taskqueue.broker import PublishError
from taskqueue.broker.memory import MemoryBroker
from taskqueue.store import verbs
from taskqueue.telemetry import Committed, LeasesKept, NotConfirmed, Published, TaskAccepted

TASK = {"action": "uppercase", "data": {"text": "x"}}


class PickyBroker(MemoryBroker):
    """Confirms no message with a `refused` in it."""

    async def publish(self, body: bytes, *, message_id: str, priority: int, timeout: float) -> None:
        if b"refused" in body:
            raise PublishError("on purpose")
        await super().publish(body, message_id=message_id, priority=priority, timeout=timeout)


@pytest.fixture
async def system(tmp_path: Path) -> AsyncIterator[System]:
    async with System.open(quick_settings(tmp_path), PickyBroker()) as system:
        yield system


@pytest.fixture
async def told(system: System) -> list[Any]:
    """What happens from now on: the API has made sure of its queue."""
    await system.store.write(verbs.cancel, "nobody")
    happenings: list[Any] = []
    system.telemetry.listen(happenings.append)
    return happenings


@pytest.fixture
def settled(system: System, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many leases each write takes off."""
    sizes: list[int] = []
    write = system.store.write

    def note(*arguments: Any) -> asyncio.Future[Any]:
        if arguments[0] is verbs.settle:
            sizes.append(len(arguments[1]))
        return write(*arguments)

    monkeypatch.setattr(system.store, "write", note)
    return sizes


async def batch(system: System, *actions: str) -> Answer:
    return await system.post("/tasks/batch", json={"tasks": [{"action": action} for action in actions]})


def statuses(system: System) -> list[tuple[str, str]]:
    """The events so far: each task's action and new status."""
    query = "SELECT action, events.status FROM events JOIN task ON task.seq = task_seq ORDER BY events.seq"
    return [(row["action"], row["status"]) for row in stored(system.settings.database, query)]


def leases(system: System) -> int:
    """How many tasks are leased to a publisher."""
    [row] = stored(system.settings.database, "SELECT count(dispatch_id) AS n FROM task")
    return int(row["n"])


async def test_what_the_broker_did_not_confirm_is_pending_in_the_answer_and_in_the_store(
    system: System, told: list[Any]
) -> None:
    answer = await batch(system, "taken", "refused", "taken", "refused")
    told_statuses = [task["status"] for task in answer.body["tasks"]]
    assert told_statuses == ["queued", "pending", "queued", "pending"]
    assert [(await system.task(task["id"]))["status"] for task in answer.body["tasks"]] == told_statuses
    assert statuses(system) == [
        ("taken", "queued"),
        ("refused", "queued"),
        ("taken", "queued"),
        ("refused", "queued"),
        ("refused", "pending"),
        ("refused", "pending"),
    ]
    kinds = [type(happening) for happening in told if not isinstance(happening, Committed)]
    assert kinds == [Published, NotConfirmed, Published, NotConfirmed, *[TaskAccepted] * 4]
    assert await system.broker.ready_count() == 2


async def test_a_kept_answer_is_amended_in_the_transaction_of_the_demotion(
    system: System, told: list[Any]
) -> None:
    """There is no moment in which the task is `pending`, and a replay would tell `queued`."""
    key = {"Idempotency-Key": "k"}
    first = await system.post("/tasks", json={"action": "refused"}, headers=key)
    assert first.body["status"] == "pending"
    assert [happening.writes for happening in told if isinstance(happening, Committed)] == [1, 1]
    again = await system.post("/tasks", json={"action": "refused"}, headers=key)
    assert (again.body, again.headers["Idempotency-Replayed"]) == (first.body, "true")


async def test_leases_of_many_posts_are_taken_off_together(system: System, settled: list[int]) -> None:
    await asyncio.gather(*(system.post("/tasks", json=TASK) for _ in range(30)))
    await eventually(lambda: sum(settled) == 30 and not leases(system))
    assert len(settled) <= 3
    rows = stored(system.settings.database, "SELECT status, dispatch_until FROM task")
    assert [(row["status"], row["dispatch_until"]) for row in rows] == [("queued", None)] * 30


async def test_leases_that_a_locked_store_keeps_are_taken_off_later_with_those_that_came_meanwhile(
    system: System, settled: list[int], told: list[Any]
) -> None:
    """Nobody publishes these tasks again for that."""
    await batch(system, "first", "first")
    with locked(system.settings.database):
        await eventually(lambda: any(isinstance(happening, LeasesKept) for happening in told))
        assert leases(system) == 2
    await batch(system, "second")
    await eventually(lambda: not leases(system))
    assert settled[0] == 2
    assert settled[-1] in {1, 2, 3}
    assert {status for _, status in statuses(system)} == {"queued"}
    assert await system.broker.ready_count() == 3


async def test_an_idle_api_writes_nothing(system: System, settled: list[int], told: list[Any]) -> None:
    await system.post("/tasks", json=TASK)
    await eventually(lambda: not leases(system))
    await system.post("/tasks", json=TASK | {"delay": 1000})
    assert settled == [1]
    assert len([happening for happening in told if isinstance(happening, Committed)]) == 3


async def test_a_stopping_api_writes_what_it_knows_of_its_leases(tmp_path: Path) -> None:
    settings = quick_settings(tmp_path)
    async with System.open(settings) as system:
        await batch(system, *["x"] * 10)
        assert leases(system) == 10
        database = system.settings.database
    rows = stored(database, "SELECT status, dispatch_id FROM task")
    assert [(row["status"], row["dispatch_id"]) for row in rows] == [("queued", None)] * 10
