"""Several processes' stores on one file at once: whoever commits first wins, and there is one winner."""

import asyncio
import contextlib
import random
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests.integration.store.given import (
    ERROR,
    LEASE,
    NOON,
    attempts_of,
    beat,
    claimed,
    claiming,
    looking,
    stored,
    submitted,
)

from taskqueue.store import Refusal, Store, open_store, verbs, workers
from taskqueue.task import FINAL, Claim, Outcome, Status

RACES = 100


@pytest.fixture
async def stores(database: Path) -> AsyncIterator[list[Store]]:
    """Three, each with the writer of a process of its own, on a database that records each final status."""
    connection = looking(database)
    connection.execute("CREATE TABLE recordings (task TEXT, status TEXT)")
    connection.execute(
        "CREATE TRIGGER record AFTER UPDATE OF status ON task "
        "WHEN NEW.status IN ('completed', 'failed', 'cancelled') "
        "BEGIN INSERT INTO recordings VALUES (NEW.id, NEW.status); END"
    )
    connection.close()
    async with contextlib.AsyncExitStack() as stack:
        stores = [
            await stack.enter_async_context(open_store(database, write_timeout=20, clock=lambda: NOON))
            for _ in range(3)
        ]
        for worker in ("w", "v"):
            await beat(stores[0], worker)
        yield stores


def recordings(database: Path) -> dict[str, str]:
    rows = stored(database, "SELECT task, status FROM recordings")
    assert max(Counter(row["task"] for row in rows).values(), default=0) <= 1
    return {row["task"]: row["status"] for row in rows}


async def test_a_task_is_claimed_by_one_worker(stores: list[Store]) -> None:
    first, second, third = stores
    for n in range(RACES):
        await submitted(third, str(n))
    claims = await asyncio.gather(
        *(
            store.write(claiming, str(n), worker)
            for n in range(RACES)
            for store, worker in ((first, "w"), (second, "v"))
        )
    )
    for one, other in zip(claims[::2], claims[1::2], strict=True):
        assert {type(one), type(other)} == {Claim, Refusal}


async def test_a_due_task_is_leased_to_one_relay(stores: list[Store]) -> None:
    for n in range(RACES):
        await submitted(stores[0], str(n))
    leases = await asyncio.gather(
        *(
            store.write(verbs.lease_due, [4], 7, LEASE, f"{m}.{n}")
            for n in range(10)
            for m, store in enumerate(stores)
        )
    )
    leased = Counter(dispatch.id for batch in leases for dispatch in batch)
    assert len(leased) == RACES
    assert set(leased.values()) == {1}


async def test_a_cancel_that_races_a_completion_ends_in_one_of_them(stores: list[Store], database: Path) -> None:
    client, worker, _ = stores
    for n in range(RACES):
        id = str(n)
        await submitted(client, id)
        claim = await claimed(worker, id)
        order = [client.write(verbs.cancel, id), worker.write(verbs.complete, claim, "{}")]
        if n % 2:
            order.reverse()
        answers = await asyncio.gather(*order)
        asked, completed = reversed(answers) if n % 2 else answers
        assert completed is Status.COMPLETED
        assert asked in (Status.RUNNING, Status.COMPLETED)
    assert set(recordings(database).values()) == {"completed"}
    assert len(recordings(database)) == RACES


async def test_a_cancel_that_races_a_failure_ends_in_one_of_them(stores: list[Store], database: Path) -> None:
    client, worker, _ = stores
    for n in range(RACES):
        id = str(n)
        await submitted(client, id)
        claim = await claimed(worker, id)
        asked, failed = await asyncio.gather(
            client.write(verbs.cancel, id), worker.write(verbs.fail, claim, Outcome.ERROR, ERROR)
        )
        # Asked first, it ends cancelled; failed first, the client is told so.
        assert (asked, failed) in {(Status.RUNNING, Status.CANCELLED), (Status.FAILED, Status.FAILED)}
        assert recordings(database)[id] == failed


async def test_a_rescue_that_races_a_completion_ends_in_one_of_them(stores: list[Store], database: Path) -> None:
    rescuer, worker, _ = stores
    winners: Counter[Status | None] = Counter()
    for n in range(RACES):
        id = str(n)
        await submitted(rescuer, id, max_attempts=1)
        claim = await claimed(worker, id)
        counter = (await rescuer.reads.worker_beats())["w"]
        both = [
            worker.write(verbs.complete, claim, "{}"),
            rescuer.write(workers.rescue, "w", counter, ERROR, lambda _: 0),
        ]
        if n % 2:
            both.reverse()
        answers = await asyncio.gather(*both)
        completed, rescued = reversed(answers) if n % 2 else answers
        assert (completed, rescued) in (
            (Status.COMPLETED, []),
            (None, [(replace(claim, payload=""), Status.FAILED)]),
        )
        assert recordings(database)[id] == ("completed" if completed else "failed")
        winners[completed] += 1
        await beat(worker, "w")
    assert sum(winners.values()) == RACES


async def test_any_mixture_of_verbs_gives_each_task_one_outcome(stores: list[Store], database: Path) -> None:
    dice = random.Random(20_240_229)
    ids = [str(n) for n in range(60)]
    for id in ids:
        await submitted(stores[0], id, max_attempts=2)

    async def work(store: Store, worker: str) -> None:
        while True:
            claim = await store.write(claiming, dice.choice(ids), worker)
            if isinstance(claim, Refusal):
                if all(task.status in FINAL for task in (await store.reads.find(limit=100)).tasks):
                    return
                continue
            match dice.randrange(6):
                case 0:
                    await store.write(verbs.release, claim)
                case 1:
                    await store.write(verbs.back_off, claim, Outcome.ERROR, ERROR, 0)
                case 2:
                    await asyncio.gather(
                        store.write(verbs.fail, claim, Outcome.ERROR, ERROR),
                        store.write(verbs.complete, claim, "{}"),
                    )
                case 3:
                    await asyncio.gather(store.write(verbs.cancel, claim.id), store.write(verbs.release, claim))
                case 4:
                    await asyncio.gather(
                        store.write(verbs.complete, claim, "{}"), store.write(verbs.complete, claim, '{"again":1}')
                    )
                case 5:
                    await store.write(verbs.complete, claim, "{}")

    await asyncio.gather(*(work(store, worker) for store in stores for worker in "wv"))
    tasks = (await stores[0].reads.find(limit=100)).tasks
    assert recordings(database) == {task.id: task.status for task in tasks}
    for task in tasks:
        attempts = await attempts_of(stores[0], task.id)
        assert [attempt.number for attempt in attempts] == list(range(1, task.attempt + 1))
        assert all(attempt.outcome for attempt in attempts)
        assert [attempt.outcome for attempt in attempts].count(Outcome.OK) == (task.status is Status.COMPLETED)
