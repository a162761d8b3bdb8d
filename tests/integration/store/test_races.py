"""Several processes' stores on one file at once: whoever commits first wins, and there is one winner."""

import asyncio
import contextlib
import random
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.integration.store.given import NOON, beat, claimed, looking, new_task, stored

from taskqueue.store import Refusal, TaskStore
from taskqueue.task import FINAL, Claim, Outcome, Status

ERROR = '{"type":"Error"}'
RACES = 100


@pytest.fixture
async def stores(database: Path) -> AsyncIterator[list[TaskStore]]:
    """Three, each with the writer of a process of its own, on a database that records each final status."""
    connection = looking(database)
    connection.execute("CREATE TABLE recordings (task TEXT, status TEXT)")
    connection.execute(
        "CREATE TRIGGER record AFTER UPDATE OF status ON tasks "
        "WHEN NEW.status IN ('completed', 'failed', 'cancelled') "
        "BEGIN INSERT INTO recordings VALUES (NEW.id, NEW.status); END"
    )
    connection.close()
    async with contextlib.AsyncExitStack() as stack:
        stores = [
            await stack.enter_async_context(TaskStore.open(database, write_timeout=20, clock=lambda: NOON))
            for _ in range(3)
        ]
        for worker in ("w", "v"):
            await beat(stores[0], worker)
        yield stores


def recordings(database: Path) -> dict[str, str]:
    rows = stored(database, "SELECT task, status FROM recordings")
    assert max(Counter(row["task"] for row in rows).values(), default=0) <= 1
    return {row["task"]: row["status"] for row in rows}


async def test_a_task_is_claimed_by_one_worker(stores: list[TaskStore]) -> None:
    first, second, third = stores
    for n in range(RACES):
        await third.submit(new_task(str(n)))
    claims = await asyncio.gather(
        *(store.claim(str(n), worker) for n in range(RACES) for store, worker in ((first, "w"), (second, "v")))
    )
    for one, other in zip(claims[::2], claims[1::2], strict=True):
        assert {type(one), type(other)} == {Claim, Refusal}


async def test_a_due_task_is_leased_to_one_relay(stores: list[TaskStore]) -> None:
    for n in range(RACES):
        await stores[0].submit(new_task(str(n)))
    leases = await asyncio.gather(
        *(
            store.lease_due(limit=7, lease=10, token=f"{m}.{n}")
            for n in range(10)
            for m, store in enumerate(stores)
        )
    )
    leased = Counter(dispatch.id for batch in leases for dispatch in batch)
    assert len(leased) == RACES
    assert set(leased.values()) == {1}


async def test_a_cancel_that_races_a_completion_ends_in_one_of_them(
    stores: list[TaskStore], database: Path
) -> None:
    client, worker, _ = stores
    for n in range(RACES):
        id = str(n)
        await client.submit(new_task(id))
        claim = await claimed(worker, id)
        order = [client.cancel(id), worker.complete(claim, "{}")]
        if n % 2:
            order.reverse()
        answers = await asyncio.gather(*order)
        asked, completed = reversed(answers) if n % 2 else answers
        assert completed is True
        assert asked in (Status.RUNNING, Status.COMPLETED)
    assert set(recordings(database).values()) == {"completed"}
    assert len(recordings(database)) == RACES


async def test_a_cancel_that_races_a_failure_ends_in_one_of_them(stores: list[TaskStore], database: Path) -> None:
    client, worker, _ = stores
    for n in range(RACES):
        id = str(n)
        await client.submit(new_task(id))
        claim = await claimed(worker, id)
        asked, failed = await asyncio.gather(client.cancel(id), worker.fail(claim, Outcome.ERROR, ERROR))
        # Asked first, it ends cancelled; failed first, the client is told so.
        assert (asked, failed) in {(Status.RUNNING, Status.CANCELLED), (Status.FAILED, Status.FAILED)}
        assert recordings(database)[id] == failed


async def test_a_rescue_that_races_a_completion_ends_in_one_of_them(
    stores: list[TaskStore], database: Path
) -> None:
    rescuer, worker, _ = stores
    winners: Counter[bool] = Counter()
    for n in range(RACES):
        id = str(n)
        await rescuer.submit(new_task(id, max_attempts=1))
        claim = await claimed(worker, id)
        counter = (await rescuer.worker_beats())["w"]
        both = [worker.complete(claim, "{}"), rescuer.rescue("w", counter, error=ERROR, backoff=lambda _: 0)]
        if n % 2:
            both.reverse()
        answers = await asyncio.gather(*both)
        completed, rescued = reversed(answers) if n % 2 else answers
        assert (completed, rescued) in ((True, []), (False, [(claim, Status.FAILED)]))
        assert recordings(database)[id] == ("completed" if completed else "failed")
        winners[completed] += 1
        await beat(worker, "w")
    assert sum(winners.values()) == RACES


async def test_any_mixture_of_verbs_gives_each_task_one_outcome(stores: list[TaskStore], database: Path) -> None:
    dice = random.Random(20_240_229)
    ids = [str(n) for n in range(60)]
    for id in ids:
        await stores[0].submit(new_task(id, max_attempts=2))

    async def work(store: TaskStore, worker: str) -> None:
        while True:
            claim = await store.claim(dice.choice(ids), worker)
            if isinstance(claim, Refusal):
                if all(task.status in FINAL for task in (await store.find(limit=100)).tasks):
                    return
                continue
            match dice.randrange(6):
                case 0:
                    await store.release(claim)
                case 1:
                    await store.retry(claim, Outcome.ERROR, ERROR, delay=0)
                case 2:
                    await asyncio.gather(store.fail(claim, Outcome.ERROR, ERROR), store.complete(claim, "{}"))
                case 3:
                    await asyncio.gather(store.cancel(claim.id), store.release(claim))
                case 4:
                    await asyncio.gather(store.complete(claim, "{}"), store.complete(claim, '{"again":1}'))
                case 5:
                    await store.complete(claim, "{}")

    await asyncio.gather(*(work(store, worker) for store in stores for worker in "wv"))
    tasks = (await stores[0].find(limit=100)).tasks
    assert recordings(database) == {task.id: task.status for task in tasks}
    for task in tasks:
        attempts = await stores[0].attempts_of(task.id)
        assert [attempt.number for attempt in attempts] == list(range(1, task.attempt + 1))
        assert all(attempt.outcome for attempt in attempts)
        assert [attempt.outcome for attempt in attempts].count(Outcome.OK) == (task.status is Status.COMPLETED)
