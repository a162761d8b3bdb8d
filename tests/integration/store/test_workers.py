"""What workers do with each other: beat, rescue, say goodbye."""

from collections.abc import Callable
from pathlib import Path

import pytest
from tests.integration.store.given import (
    ERROR,
    NOON,
    Clock,
    attempts_of,
    beat,
    claimed,
    running,
    status_of,
    stored,
    task_of,
)

from taskqueue.store import Store, verbs, workers
from taskqueue.task import Attempt, Outcome, Status

Unchanged = Callable[[], object]


async def test_each_beat_raises_the_workers_counter(store: Store, database: Path, clock: Clock) -> None:
    assert await store.reads.worker_beats() == {"w": 0, "v": 0}
    clock.move(5)
    await beat(store, "w")
    assert await store.reads.worker_beats() == {"w": 1, "v": 0}
    [row] = stored(database, "SELECT * FROM workers WHERE id = 'w'")
    assert row == {
        "id": "w",
        "host": "host",
        "pid": 1,
        "consumers": 2,
        "prefetch": 5,
        "started_at": NOON,
        "last_seen": NOON + 5,
        "beat": 1,
        "actions": "[]",
        "queue": "",
        "versions": "{}",
        "memory": None,
    }


async def test_a_lost_workers_tasks_are_rescued_and_it_is_forgotten(store: Store, clock: Clock) -> None:
    await running(store)
    await running(store, "last", max_attempts=1)
    await running(store, "others", "v")
    clock.move(7)
    failures: list[int] = []
    rescued = await store.write(workers.rescue, "w", 0, ERROR, lambda n: failures.append(n) or 2_500)
    assert sorted((claim.id, status) for claim, status in rescued or []) == [
        ("last", Status.FAILED),
        ("t", Status.PENDING),
    ]
    assert failures == [1]
    task, last = await task_of(store), await task_of(store, "last")
    assert (task.status, task.run_at, task.failures, task.error) == (Status.PENDING, NOON + 2507, 1, ERROR)
    assert (last.status, last.processed_at, last.failures) == (Status.FAILED, NOON + 7, 1)
    for id in ("t", "last"):
        assert await attempts_of(store, id) == [Attempt(1, "w", NOON, NOON + 7, Outcome.WORKER_LOST, ERROR)]
    assert await status_of(store, "others") is Status.RUNNING
    assert await store.reads.worker_beats() == {"v": 0}


async def test_a_rescue_counts_all_failures_so_far(store: Store) -> None:
    await store.write(verbs.back_off, await running(store, max_attempts=2), Outcome.ERROR, ERROR, 0)
    await claimed(store)
    [(claim, status)] = await store.write(workers.rescue, "w", 0, ERROR, lambda _: 0) or []
    assert (claim.id, status) == ("t", Status.FAILED)


async def test_a_lost_workers_task_is_cancelled_where_that_was_asked(store: Store) -> None:
    await running(store)
    await store.write(verbs.cancel, "t")
    [(claim, status)] = await store.write(workers.rescue, "w", 0, ERROR, lambda _: 0) or []
    assert (claim.id, status) == ("t", Status.CANCELLED)
    assert (await attempts_of(store))[0].outcome is Outcome.CANCELLED


@pytest.mark.parametrize("counter", [-1, 0, 2])
async def test_a_worker_that_has_beaten_since_is_not_rescued(
    store: Store, unchanged: Unchanged, counter: int
) -> None:
    await running(store)
    await beat(store, "w")
    before = unchanged()
    assert await store.write(workers.rescue, "w", counter, ERROR, lambda _: 0) is None
    assert unchanged() == before
    assert "w" in await store.reads.worker_beats()


async def test_a_worker_is_rescued_once(store: Store) -> None:
    await running(store)
    [(claim, status)] = await store.write(workers.rescue, "w", 0, ERROR, lambda _: 0) or []
    assert (claim.id, status) == ("t", Status.PENDING)
    assert await store.write(workers.rescue, "w", 0, ERROR, lambda _: 0) is None


async def test_an_idle_lost_worker_is_forgotten(store: Store) -> None:
    assert await store.write(workers.rescue, "w", 0, ERROR, lambda _: 0) == []
    assert await store.reads.worker_beats() == {"v": 0}


async def test_a_retired_workers_tasks_are_released_and_it_is_forgotten(store: Store) -> None:
    await running(store)
    await running(store, "asked")
    await store.write(verbs.cancel, "asked")
    await running(store, "others", "v")
    assert await store.write(workers.retire, "w") == 2
    assert (await task_of(store)).failures == 0
    assert await status_of(store) is Status.PENDING
    assert await status_of(store, "asked") is Status.CANCELLED
    assert await status_of(store, "others") is Status.RUNNING
    assert await store.reads.worker_beats() == {"v": 0}
    assert await store.write(workers.retire, "w") == 0
