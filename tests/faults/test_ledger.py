"""What a transaction owes is written with it: events and counters are neither lost nor doubled, and the events of
tasks that are deleted stop nobody."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.faults.local import Local, new_task

from taskqueue.store import verbs
from taskqueue.store.workers import rescue
from taskqueue.task import Event, Outcome
from taskqueue_api.live.watcher import Watcher

ERROR = '{"type":"Test","message":"on purpose"}'


@pytest.fixture
async def local(tmp_path: Path) -> AsyncIterator[Local]:
    async with Local.open(tmp_path) as local:
        await local.add_worker()
        yield local


async def completed(local: Local) -> str:
    task = new_task()
    await local.store.write(verbs.submit, task)
    await local.store.write(verbs.complete, await local.claimed(task.id), "{}")
    return task.id


async def test_every_edge_is_told_by_one_event_and_counted_once(local: Local) -> None:
    tasks = [new_task(max_attempts=2) for _ in range(6)]
    seqs = [
        await local.store.write(verbs.submit, task, "d" if n else None, lease=1000) for n, task in enumerate(tasks)
    ]
    due = await local.store.write(verbs.lease_due, [4], 10, 1000, "relay")
    await local.store.write(verbs.mark_queued, [(dispatch.seq, dispatch.dispatch_id) for dispatch in due])
    await local.store.write(verbs.demote, [(seqs[1], "d")])
    claims = [await local.claimed(task.id) for task in tasks[:5]]
    await local.store.write(verbs.complete, claims[0], "{}")
    await local.store.write(verbs.back_off, claims[1], Outcome.ERROR, ERROR, 0)
    await local.store.write(verbs.fail, claims[2], Outcome.ERROR, ERROR)
    await local.store.write(verbs.release, claims[3])
    await local.store.write(verbs.cancel, tasks[5].id)
    [(worker, beat)] = (await local.store.reads.worker_beats()).items()
    await local.store.write(rescue, worker, beat, ERROR, lambda _: 0)
    await local.store.write(verbs.retry, tasks[2].id)
    rows = local.rows("SELECT task_seq, status FROM events ORDER BY seq")
    told = {seq: [row["status"] for row in rows if row["task_seq"] == seq] for seq in seqs}
    assert told == {
        seqs[0]: ["pending", "queued", "running", "completed"],
        seqs[1]: ["queued", "pending", "running", "pending"],
        seqs[2]: ["queued", "running", "failed", "pending"],
        seqs[3]: ["queued", "running", "pending"],
        seqs[4]: ["queued", "running", "pending"],
        seqs[5]: ["queued", "cancelled"],
    }
    counts = {row["status"]: row["tasks"] for row in local.rows("SELECT * FROM status_counts WHERE tasks <> 0")}
    assert counts == {"pending": 4, "completed": 1, "cancelled": 1}
    assert not await local.store.reads.wrong_counts()
    await local.store.write(verbs.delete, tasks[0].id)
    assert not await local.store.reads.wrong_counts()


async def test_a_write_that_raises_owes_nothing(local: Local) -> None:
    def submit_and_raise(tx: verbs.Transaction) -> None:
        verbs.submit(tx, new_task())
        raise ValueError("on purpose")

    with pytest.raises(ValueError, match="on purpose"):
        await local.store.write(submit_and_raise)
    assert not local.rows("SELECT * FROM events")
    assert not local.rows("SELECT * FROM status_counts WHERE tasks <> 0")
    assert not local.rows("SELECT * FROM minute_counts")


async def test_a_counter_that_went_wrong_is_counted_anew(local: Local) -> None:
    await completed(local)
    await local.store.write(lambda tx: tx.change("add_status_counts", counts='[["completed", 5], ["failed", -2]]'))
    assert sorted(await local.store.bulk.recount()) == ["completed", "failed"]
    assert not await local.store.reads.wrong_counts()
    local.check()


async def test_a_stream_reads_on_over_the_events_of_deleted_tasks(local: Local) -> None:
    """More of them than are read at a time, before, between and behind those of others."""
    watcher = Watcher(local.store)
    running = asyncio.create_task(watcher.run())
    gone = [new_task() for _ in range(1200)]

    async def come_and_go(tasks: list[verbs.NewTask]) -> None:
        await asyncio.gather(*(local.store.write(verbs.submit, task) for task in tasks))
        await asyncio.gather(*(local.store.write(verbs.cancel, task.id) for task in tasks))
        await asyncio.gather(*(local.store.write(verbs.delete, task.id) for task in tasks))

    await come_and_go(gone[:600])
    first = await completed(local)
    await come_and_go(gone[600:])
    second = await completed(local)
    events: list[Event] = []
    try:
        async with asyncio.timeout(20):
            async for told in watcher.follow(0, heartbeat=10):
                events += told
                if [event.task_id for event in events[-1:]] == [second] and events[-1].status == "completed":
                    break
    finally:
        running.cancel()
    assert [event.seq for event in events] == list(range(1, 2400 + 6 + 1))
    ids = [event.task_id for event in events if event.task_id]
    assert ids == [first] * 3 + [second] * 3


async def test_no_new_task_inherits_the_events_of_a_deleted_one(local: Local) -> None:
    first = await completed(local)
    [row] = local.rows("SELECT seq FROM task")
    await local.store.write(verbs.delete, first)
    second = new_task()
    seq = await local.store.write(verbs.submit, second)
    assert seq > row["seq"]
    _, last = await local.store.reads.event_range()
    events = await local.store.reads.events_of(seq, after=0, until=last)
    assert [event.status for event in events] == ["pending"]
