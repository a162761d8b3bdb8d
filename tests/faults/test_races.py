"""Two who want the same task at the same time: real stores on one file, as so many processes have.

Each race is run 1,000 times, and ends each time in exactly one outcome, recorded once.
"""

import asyncio
import contextlib
import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal
from uuid import uuid4

import pytest
from tests.faults.cluster import RECORDER, WRONG_COUNTS
from tests.integration.store.given import claiming

from taskqueue.store import Refusal, Store, WorkerInfo, open_store, verbs
from taskqueue.store.engine.sqlite.connection import connect
from taskqueue.store.workers import beat, rescue
from taskqueue.task import FINAL, Claim, Dispatch, NewTask, Outcome, Status
from taskqueue_migrate.runner import migrate

ROUNDS = 1_000
#: Rounds at a time: few enough that the racers' transactions take turns.
BATCH = 25
ERROR = '{"type":"Test","message":"on purpose"}'


@dataclass
class Arena:
    """A database, and a store of its own for each racer."""

    path: Path
    stores: list[Store]

    async def new_task(self, *, max_attempts: int = 1) -> str:
        id = uuid4().hex
        await self.stores[0].write(verbs.submit, NewTask(id, "race", "{}", 0, 0, 4, max_attempts, None))
        return id

    async def new_tasks(self, **options: Any) -> list[str]:
        return await asyncio.gather(*(self.new_task(**options) for _ in range(BATCH)))

    async def add_worker(self) -> str:
        """A worker that has beaten once, and so stands at beat 0."""
        worker = WorkerInfo(uuid4().hex, "host", 1, 1, 1, 0)
        await self.stores[0].write(beat, worker)
        return worker.id

    async def claimed(self, worker: str, **options: Any) -> list[Claim]:
        """New tasks that this worker runs."""
        claims = await asyncio.gather(
            *(self.stores[0].write(claiming, id, worker) for id in await self.new_tasks(**options))
        )
        assert all(isinstance(claim, Claim) for claim in claims)
        return [claim for claim in claims if isinstance(claim, Claim)]

    async def rescue(self, store: Store, worker: str) -> list[tuple[Claim, Status]] | None:
        return await store.write(rescue, worker, 0, ERROR, lambda _: 0)

    def rows(self, query: str) -> list[dict[str, Any]]:
        with contextlib.closing(connect(self.path, busy_timeout=10)) as db:
            return [dict(row) for row in db.execute(query)]

    def check(self) -> Counter[str]:
        """Hold all tasks against the promise, and count their statuses."""
        tasks = {row["id"]: row["status"] for row in self.rows("SELECT id, status FROM task")}
        recorded = [(row["id"], row["status"]) for row in self.rows("SELECT id, status FROM recordings")]
        assert len(tasks) == ROUNDS
        assert set(tasks.values()) <= FINAL
        assert sorted(recorded) == sorted(tasks.items())
        assert not self.rows("SELECT id FROM task WHERE attempt_started IS NOT NULL AND attempt_outcome IS NULL")
        assert not self.rows(WRONG_COUNTS)
        assert self.rows("PRAGMA integrity_check") == [{"integrity_check": "ok"}]
        return Counter(tasks.values())


@pytest.fixture
async def arena(tmp_path: Path) -> AsyncIterator[Arena]:
    path = tmp_path / "tasks.db"
    migrate(path)
    with contextlib.closing(connect(path, busy_timeout=10)) as db:
        db.executescript(RECORDER)
    async with contextlib.AsyncExitStack() as stack:
        stores = [await stack.enter_async_context(open_store(path, write_timeout=30)) for _ in range(4)]
        yield Arena(path, stores)


def batches() -> Iterator[int]:
    yield from range(ROUNDS // BATCH)


async def race(*racers: Callable[[], Awaitable[Any]]) -> list[Any]:
    """Start the racers in a random order, and return their answers in the order given."""
    running: dict[int, asyncio.Future[Any]] = {}
    for number in random.sample(range(len(racers)), len(racers)):
        running[number] = asyncio.ensure_future(racers[number]())
        if random.random() < 0.5:
            await asyncio.sleep(0)
    return [await running[number] for number in range(len(racers))]


async def test_a_cancel_that_races_a_completion_ends_in_exactly_one_of_the_two(arena: Arena) -> None:
    """What the worker writes after a cancel that came first is the attempt's cancelled end, not its result."""
    worker = await arena.add_worker()
    client, runner = arena.stores[:2]

    async def finish(claim: Claim) -> Status | None:
        """The worker's end of a run: whether it was asked to cancel decides what it has to write."""
        task = await runner.reads.get(claim.id)
        assert task is not None
        if task.cancel_requested:
            return await runner.write(verbs.back_off, claim, Outcome.CANCELLED, ERROR, 0)
        return await runner.write(verbs.complete, claim, '{"output":1}')

    async def round_of(claim: Claim) -> None:
        answer, end = await race(lambda: client.write(verbs.cancel, claim.id), lambda: finish(claim))
        task = await client.reads.get(claim.id)
        assert task is not None
        assert task.status is end, "the worker was told something else than what stands there"
        if answer is Status.RUNNING:
            assert task.cancel_requested
        else:
            assert (answer, end) == (Status.COMPLETED, Status.COMPLETED)
        assert (task.result is not None) == (end is Status.COMPLETED)
        assert await client.write(verbs.cancel, claim.id) is task.status

    for _ in batches():
        await asyncio.gather(*map(round_of, await arena.claimed(worker, max_attempts=3)))
    statuses = arena.check()
    assert statuses.keys() == {"completed", "cancelled"}, "one side always won: that was no race"


async def test_a_rescue_that_races_a_completion_ends_in_exactly_one_of_the_two(arena: Arena) -> None:
    async def round_of(claim: Claim, rescuer: Store, runner: Store) -> None:
        rescued, completed = await race(
            lambda: arena.rescue(rescuer, claim.worker),
            lambda: runner.write(verbs.complete, claim, '{"output":1}'),
        )
        assert rescued == ([] if completed else [(replace(claim, payload="", waited=0), Status.FAILED)])
        assert not await runner.write(verbs.complete, claim, '{"output":2}'), "a second result was taken"
        assert await runner.write(verbs.fail, claim, Outcome.ERROR, ERROR) is None

    for _ in batches():
        workers = [await arena.add_worker() for _ in range(BATCH)]
        ids = await arena.new_tasks()
        claims = await asyncio.gather(
            *(arena.stores[0].write(claiming, *pair) for pair in zip(ids, workers, strict=True))
        )
        rounds = [round_of(claim, *random.sample(arena.stores, 2)) for claim in claims if isinstance(claim, Claim)]
        assert len(rounds) == BATCH
        await asyncio.gather(*rounds)
    statuses = arena.check()
    assert statuses.keys() == {"completed", "failed"}, "one side always won: that was no race"


async def test_a_result_that_comes_after_the_rescue_and_the_next_claim_is_refused(arena: Arena) -> None:
    """The old attempt's and the new attempt's end race: the fence lets only the new one through."""
    zombie, heir = arena.stores[:2]
    successor = await arena.add_worker()

    async def round_of(old: Claim) -> None:
        new = await heir.write(claiming, old.id, successor)
        assert isinstance(new, Claim)
        assert new.attempt == 2
        late, good = await race(
            lambda: zombie.write(verbs.complete, old, '{"output":"old"}'),
            lambda: heir.write(verbs.complete, new, '{"output":"new"}'),
        )
        assert (late, good) == (None, Status.COMPLETED)
        task = await heir.reads.get(old.id)
        assert task is not None
        assert task.result == '{"output":"new"}'

    for _ in batches():
        worker = await arena.add_worker()
        claims = await arena.claimed(worker, max_attempts=2)
        assert len(await arena.rescue(heir, worker) or ()) == BATCH
        await asyncio.gather(*map(round_of, claims))
    assert arena.check() == {"completed": ROUNDS}


async def test_of_four_workers_that_claim_a_task_exactly_one_gets_it(arena: Arena) -> None:
    workers = [await arena.add_worker() for _ in arena.stores]
    winners: Counter[str] = Counter()

    async def round_of(id: str) -> None:
        answers = await race(
            *(
                lambda store=store, worker=worker: store.write(claiming, id, worker)
                for store, worker in zip(arena.stores, workers, strict=True)
            )
        )
        [claim] = [answer for answer in answers if isinstance(answer, Claim)]
        assert answers.count(Refusal.NOT_CLAIMABLE) == len(workers) - 1
        assert claim.attempt == 1
        winners[claim.worker] += 1
        assert await arena.stores[workers.index(claim.worker)].write(verbs.complete, claim, '{"output":1}')

    for _ in batches():
        await asyncio.gather(*map(round_of, await arena.new_tasks()))
    assert arena.check() == {"completed": ROUNDS}
    assert arena.rows("SELECT DISTINCT attempt FROM task") == [{"attempt": 1}]
    assert len(winners) > 1, "one side always won: that was no race"


async def test_a_cancel_that_races_a_claim_ends_in_exactly_one_of_the_two(arena: Arena) -> None:
    worker = await arena.add_worker()
    client, runner = arena.stores[:2]
    started = 0

    async def round_of(id: str) -> None:
        nonlocal started
        answer, claim = await race(
            lambda: client.write(verbs.cancel, id), lambda: runner.write(claiming, id, worker)
        )
        if claim is Refusal.NOT_CLAIMABLE:
            assert answer is Status.CANCELLED, "neither of the two got the task"
        else:
            assert answer is Status.RUNNING, "a task was cancelled and started"
            started += 1
            assert await runner.write(verbs.back_off, claim, Outcome.ERROR, ERROR, 0) is Status.CANCELLED

    for _ in batches():
        await asyncio.gather(*map(round_of, await arena.new_tasks(max_attempts=3)))
    assert arena.check() == {"cancelled": ROUNDS}
    assert 0 < started < ROUNDS, "one side always won: that was no race"
    assert len(arena.rows("SELECT id FROM task WHERE attempt = 1")) == started


@pytest.mark.parametrize("ending", ["settle", "demote"])
async def test_the_end_of_a_lease_that_races_a_claim_never_takes_a_running_task(
    arena: Arena, ending: Literal["settle", "demote"]
) -> None:
    worker = await arena.add_worker()
    api, runner = arena.stores[:2]
    demoted = 0

    async def round_of() -> None:
        nonlocal demoted
        id = uuid4().hex
        task = NewTask(id, "race", "{}", 0, 0, 4, 1, None)
        seq = await api.write(verbs.submit, task, "first publish", 60_000)
        ended, claim = await race(
            lambda: api.write(getattr(verbs, ending), [(seq, "first publish")]),
            lambda: runner.write(claiming, id, worker),
        )
        assert isinstance(claim, Claim), "the end of a lease took the task from its worker"
        demoted += bool(ended)
        assert await runner.write(verbs.complete, claim, '{"output":1}')

    for _ in batches():
        await asyncio.gather(*(round_of() for _ in range(BATCH)))
    assert arena.check() == {"completed": ROUNDS}
    # Who won tells only a demotion.
    assert ending == "settle" or 0 < demoted < ROUNDS, "one side always won: that was no race"


async def test_a_mark_that_races_a_claim_never_takes_a_running_task(arena: Arena) -> None:
    worker = await arena.add_worker()
    relay, runner = arena.stores[:2]
    marked = 0

    async def round_of(dispatch: Dispatch) -> None:
        nonlocal marked
        mark, claim = await race(
            lambda: relay.write(verbs.mark_queued, [(dispatch.seq, dispatch.dispatch_id)]),
            lambda: runner.write(claiming, dispatch.id, worker),
        )
        marked += len(mark)
        assert isinstance(claim, Claim), "a mark took the task from its worker"
        assert await runner.write(verbs.complete, claim, '{"output":1}')

    for _ in batches():
        await arena.new_tasks()
        due = await relay.write(verbs.lease_due, [4], BATCH, 60_000, "relay")
        assert len(due) == BATCH
        await asyncio.gather(*map(round_of, due))
    assert arena.check() == {"completed": ROUNDS}
    assert 0 < marked < ROUNDS, "one side always won: that was no race"
