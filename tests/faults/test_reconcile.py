"""Messages are lost, late or doubled behind a backlog: each task gets its message, and no flood comes of it."""

import asyncio
import itertools
import time
from collections import defaultdict
from collections.abc import AsyncIterator
from pathlib import Path
from random import Random

import pytest
from tests.faults.cluster import PATIENCE, until
from tests.faults.local import Local, new_task
from tests.integration import actions

from taskqueue.broker.memory import MemoryBroker
from taskqueue.dispatch import token
from taskqueue.message import Priority
from taskqueue.store import verbs
from taskqueue.task import Dispatch, NewTask
from taskqueue.telemetry import Demoted

#: Seconds after which a message counts as lost.
RECONCILE_AFTER = 1.0


class LosingBroker(MemoryBroker):
    """Confirms the messages of some tasks, and loses them."""

    def __init__(self) -> None:
        super().__init__()
        #: By task, how many of its messages are to be lost.
        self.to_lose: defaultdict[str, int] = defaultdict(int)
        #: By task, when its messages were published.
        self.published: defaultdict[str, list[float]] = defaultdict(list)
        #: How many were ready whenever somebody asked.
        self.counts: list[int] = []

    async def publish(self, body: bytes, *, message_id: str, priority: int, timeout: float) -> None:
        id = message_id.partition(".")[0]
        self.published[id].append(time.monotonic())
        if self.to_lose[id] > 0:
            self.to_lose[id] -= 1
        else:
            await super().publish(body, message_id=message_id, priority=priority, timeout=timeout)

    @property
    def queues_created(self) -> int:
        return 0  # or a worker that starts would take all messages for lost

    async def ready_count(self) -> int:
        self.counts.append(await super().ready_count())
        return self.counts[-1]


@pytest.fixture
def broker() -> LosingBroker:
    return LosingBroker()


@pytest.fixture
async def local(tmp_path: Path, broker: LosingBroker) -> AsyncIterator[Local]:
    values = {"reconcile_after": RECONCILE_AFTER, "simulated_work": 0.03, "consumers": 1}
    async with Local.open(tmp_path, broker, **values) as local, local.intake.running():
        yield local


async def backlog(local: Local, count: int) -> list[str]:
    """Tasks that are queued, their leases settled: the clock may move."""
    ids = [(await local.submit(data={"value": number})).id for number in range(count)]
    await until(lambda: not local.rows("SELECT 1 FROM task WHERE dispatch_id IS NOT NULL"), "all to be settled")
    return ids


async def all_final(local: Local) -> None:
    query = "SELECT 1 FROM task WHERE processed_at IS NULL"
    await until(lambda: not local.rows(query), "all to end")
    local.check()


def demoted(local: Local) -> int:
    return sum(told.tasks for told in local.all_told(Demoted))


async def test_a_lost_message_is_found_behind_a_backlog_that_never_ends(
    local: Local, broker: LosingBroker
) -> None:
    lost = new_task(data={"value": 7})
    broker.to_lose[lost.id] = 2
    await backlog(local, 20)
    await local.intake.accept([lost])
    async with local.worker():
        async with asyncio.timeout(PATIENCE):
            while local.row(lost.id)["status"] != "completed":
                while await broker.ready_count() < 20:
                    await local.submit(data={"value": 1})
                await until(lambda: len(broker._ready) < 20, "one of the backlog to be taken")
        assert min(broker.counts) > 0, "the backlog has ended"
        await all_final(local)
    times = broker.published[lost.id]
    assert len(times) == 3
    assert all(after - before >= RECONCILE_AFTER for before, after in itertools.pairwise(times))
    assert max(len(times) for id, times in broker.published.items() if id != lost.id) == 1, "others were, too"


async def test_a_backlog_that_lasts_many_periods_is_published_once(local: Local, broker: LosingBroker) -> None:
    ids = await backlog(local, 150)
    async with local.worker():
        await all_final(local)
    assert len(broker.counts) > 10, "nobody looked"
    assert [len(broker.published[id]) for id in ids] == [1] * len(ids)


async def put(local: Local, task: NewTask, *, priority: int = Priority.NORMAL) -> Dispatch:
    """Queue a task, and tell what its publish was; its message may have another priority than itself."""
    await local.store.write(verbs.submit, task)
    return await publish_again(local, priority=priority)


async def publish_again(local: Local, *, priority: int = Priority.NORMAL) -> Dispatch:
    """Publish the one task that is due, as a relay does, by the store's clock."""
    fresh = token(local.clock(), Random())
    [dispatch] = await local.store.write(verbs.lease_due, [4], 10, 60_000, fresh)
    await local.broker.publish(
        dispatch.payload.encode(), message_id=dispatch.dispatch_id, priority=priority, timeout=1
    )
    assert await local.store.write(verbs.mark_queued, [(dispatch.seq, dispatch.dispatch_id)])
    return dispatch


async def looked_during_the_long_one(broker: LosingBroker) -> None:
    """Let it end when somebody has looked for lost messages some times while it ran."""
    await actions.started("long")
    looks = len(broker.counts)
    await until(lambda: len(broker.counts) > looks + 3, "somebody to look")
    actions.let_go("long")


async def test_a_redelivered_message_tells_nothing_about_those_queued_before_it(
    local: Local, broker: LosingBroker
) -> None:
    """It comes out of its order."""
    await backlog(local, 30)
    local.clock.offset += 20_000
    await put(local, new_task("hold", {"name": "long"}), priority=Priority.HIGH)
    async with local.broker.consume(1) as consumer:
        delivery = consumer.take()
        assert delivery is not None
        await delivery.requeue()
    async with local.worker():
        await looked_during_the_long_one(broker)
        await all_final(local)
    assert demoted(local) <= 1, "the backlog was published again"


async def test_the_first_message_of_a_task_that_was_published_again_brings_no_flood(
    local: Local, broker: LosingBroker
) -> None:
    """It has waited in a buffer; the task's second message is far behind."""
    early = new_task("hold", {"name": "long"})
    first = await put(local, early)
    local.clock.offset += 10  # so that the others are younger
    await backlog(local, 30)
    local.clock.offset += 20_000
    assert await local.store.bulk.demote_lost(Priority.NORMAL, first_is_older(local), also_later=False) == 1
    await publish_again(local)
    assert first.id == early.id
    async with local.worker():
        await looked_during_the_long_one(broker)
        await all_final(local)
    assert demoted(local) <= 1, "the backlog was published again"


def first_is_older(local: Local) -> int:
    """A time between the queueing of the first task, and that of the others."""
    [row] = local.rows("SELECT queued_at FROM task ORDER BY queued_at LIMIT 1")
    return int(row["queued_at"])


async def test_a_clock_that_is_set_back_behind_a_backlog_brings_no_flood(local: Local) -> None:
    async with local.worker():
        await backlog(local, 5)
        await all_final(local)
        local.clock.offset -= 3_600_000
        await backlog(local, 60)
        await all_final(local)
    assert demoted(local) <= 1, "the backlog was published again"
