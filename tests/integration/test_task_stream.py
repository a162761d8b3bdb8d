"""The stream of one task among many: its own events, all of them, once, also where others are deleted."""

import asyncio
import contextlib
from typing import Any

import pytest
from tests.conformance.waiting import eventually
from tests.integration import actions
from tests.integration.store.given import task_of
from tests.integration.system import System
from tests.integration.test_stream_ends import Sent, listening, told, whole
from tests.integration.test_wait import watcher

from taskqueue.store import verbs
from taskqueue_api.live.watcher import Watcher


async def cancelled(system: System) -> str:
    id = await system.submit("x", delay=1000)
    await system.post(f"/tasks/{id}/cancel")
    return id


async def events_of(system: System, id: str) -> list[int]:
    return [event.seq for event in await system.store.reads.events_after(0, limit=10_000) if event.task_id == id]


def standing(event: Sent) -> tuple[str, Any]:
    return event.data["status"], event.data["progress"] and event.data["progress"]["fraction"]


async def test_of_two_tasks_at_work_each_stream_gets_its_own(system: System) -> None:
    async with system.worker(consumers=2):
        ids = [await system.submit("report", {"name": f"gate {n}", "fractions": [0.25 + n / 2]}) for n in range(2)]
        reading = [asyncio.create_task(whole(system, f"/tasks/{id}/events")) for id in ids]
        await eventually(lambda: watcher(system).listeners == 2)
        for n in range(2):
            await actions.started(f"gate {n}")
            actions.let_go(f"gate {n}")
        streams = await asyncio.gather(*reading)
    for n, (id, sent) in enumerate(zip(ids, streams, strict=True)):
        assert {event.data["id"] for event in sent} == {id}
        assert [standing(event) for event in sent][-2:] == [("running", 0.25 + n / 2), ("completed", None)]


async def test_a_resumed_stream_tells_first_what_was_missed_then_what_comes_in_order_without_doubles(
    system: System,
) -> None:
    async with system.worker():
        id = await system.submit("report", {"name": "gate", "fractions": [0.5]})
        await actions.started("gate")

        async def told_progress() -> bool:
            return bool((await system.task(id))["progress"])

        await eventually(told_progress)
        before = await events_of(system, id)
        for _ in range(3):
            await cancelled(system)  # of no interest to this stream
        async with listening(system, f"/tasks/{id}/events", before[0]) as response:
            stream = told(response)
            missed = [int((await anext(stream)).id) for _ in before[1:]]
            assert missed == before[1:]
            await cancelled(system)
            actions.let_go("gate")
            rest = [int(event.id) async for event in stream]
    assert missed + rest == (await events_of(system, id))[1:]


async def test_each_place_of_a_tasks_life_can_be_resumed_from(system: System) -> None:
    async with system.worker():
        id = await system.submit("fail", {"until_attempt": 3})
        await system.until(id)
    life = await events_of(system, id)
    assert len(life) >= 6
    for place, seq in enumerate(life[:-1]):
        sent = await whole(system, f"/tasks/{id}/events", seq)
        assert [int(event.id) for event in sent] == life[place + 1 :]


async def test_what_the_watcher_has_read_already_is_not_told_twice_to_who_resumes(system: System) -> None:
    """With others listening, the events are in memory, too."""
    async with listening(system, "/events") as everything:
        id = await system.submit("x", delay=1000)
        first = await anext(told(everything))
        async with listening(system, f"/tasks/{id}/events", int(first.id) - 1) as response:
            stream = told(response)
            assert (await anext(stream)).id == first.id
            await system.post(f"/tasks/{id}/cancel")
            rest = [event async for event in stream]
    assert [event.data["status"] for event in rest] == ["cancelled"]


@pytest.mark.parametrize("seen", [0, 1, 2])
async def test_what_the_watcher_is_still_to_read_is_told_once(system: System, seen: int) -> None:
    """Of three events of a task it has read one; a follower has seen so many of them, through another process."""
    slow = Watcher(system.store)
    id = await system.submit("x", delay=1000)
    task = await task_of(system.store, id)
    async with slow.listening():
        await system.post(f"/tasks/{id}/cancel")
        await system.post(f"/tasks/{id}/retry")
        life = await events_of(system, id)
        got: list[int] = []
        async with contextlib.aclosing(slow.follow_task(task.seq, life[0] - 1 + seen, 60)) as batches:
            got += [event.seq for event in await anext(batches)]
            running = asyncio.create_task(slow.run())
            await system.post(f"/tasks/{id}/cancel")
            life = await events_of(system, id)
            while life[-1] not in got:
                got += [event.seq for event in await anext(batches)]
            running.cancel()
    assert got == life[seen:]


async def test_deleted_tasks_events_are_not_told_and_hold_nothing_up(system: System) -> None:
    deleted = [await cancelled(system) for _ in range(3)]
    for id in deleted:
        await system.store.write(verbs.delete, id)
    async with listening(system, "/events", 0) as response:
        id = await cancelled(system)
        stream = told(response)
        sent = [await anext(stream) for _ in range(2)]
    assert [(event.data["id"], event.data["status"]) for event in sent] == [(id, "pending"), (id, "cancelled")]
    # Only events of deleted tasks follow: the stream goes on after them.
    async with listening(system, "/events", sent[-1].id) as response:
        gone = await cancelled(system)
        await system.store.write(verbs.delete, gone)
        last = await cancelled(system)
        async for event in told(response):
            if (event.data["id"], event.data["status"]) == (last, "cancelled"):
                break


async def test_many_events_of_deleted_tasks_do_not_stop_the_cursor(system: System) -> None:
    """More than are read at a time."""
    await system.post("/tasks/batch", json={"tasks": [{"action": "gone", "delay": 1000}] * 700})
    for verb in ("cancel", "delete"):
        assert (await system.post(f"/tasks/{verb}", json={"action": "gone"})).body["count"] == 700
    id = await cancelled(system)
    async with listening(system, "/events", 0) as response:
        assert (await anext(told(response))).data["id"] == id


async def test_the_stream_of_a_task_that_is_deleted_before_its_end_could_be_told_ends(system: System) -> None:
    id = await system.submit("x", delay=1000)
    async with listening(system, f"/tasks/{id}/events") as response:
        stream = told(response)
        assert (await anext(stream)).data["status"] == "pending"
        await eventually(lambda: watcher(system).listeners == 1)
        # In one transaction, so that no look comes in between.
        await system.store.write(lambda tx: (verbs.cancel(tx, id), verbs.delete(tx, id)))
        async with asyncio.timeout(5):
            assert [event async for event in stream] == []
    async with listening(system, f"/tasks/{id}/events") as response:
        assert response.status == 404
