"""What the store's tests begin with: a migrated database, tasks, a clock that is set by hand."""

import asyncio
import contextlib
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from taskqueue.store import CatchAll, Repertoire, Store, WorkerInfo, verbs, workers
from taskqueue.store.engine.protocol import Transaction
from taskqueue.store.engine.sqlite.connection import Connection, connect
from taskqueue.store.queries import QUERIES
from taskqueue.store.workers import Held
from taskqueue.task import Attempt, Claim, NewTask, Status, Task

#: Seconds after which a test gives up waiting for something that should happen.
PATIENCE = 20
#: What the clock shows at first, in Unix milliseconds.
NOON = 1_700_000_000_000
#: How long dispatch leases last here, in milliseconds.
LEASE = 10_000
#: What the workers of these tests can run, and for how long a task waits for one that can.
REPERTOIRE, DAY = Repertoire(frozenset({"act", "echo"}), CatchAll.OWN), 86_400_000
#: An attempt's error, as JSON text.
ERROR = '{"type":"ValueError"}'


class Clock:
    """Unix milliseconds, moved by hand."""

    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> int:
        return self.now

    def move(self, milliseconds: int) -> None:
        self.now += milliseconds


def new_task(id: str = "t", **changes: Any) -> NewTask:
    """A task that is due at noon."""
    task = NewTask(
        id=id,
        action="act",
        payload=f'{{"id":"{id}"}}',
        created_at=NOON,
        run_at=NOON,
        priority=4,
        max_attempts=3,
        timeout=None,
    )
    return replace(task, **changes)


def claiming(tx: Transaction, id: str, worker: str, attempts: int = 1) -> Any:
    """A claim by a worker that knows all actions, some of them by their names.

    Args:
        attempts: how many a task has that doesn't say.
    """
    return verbs.claim(tx, id, worker, REPERTOIRE, DAY, lambda action: attempts)


def worker_info(id: str) -> WorkerInfo:
    return WorkerInfo(id, "host", 1, consumers=2, prefetch=5, started_at=NOON)


async def beat(store: Store, worker: str) -> list[Held]:
    """A heartbeat; what runs in the worker's name."""
    return await store.write(workers.beat, worker_info(worker))


async def submitted(store: Store, id: str = "t", **changes: Any) -> int:
    """A task that waits for the relay."""
    return await store.write(verbs.submit, new_task(id, **changes))


async def published(store: Store, id: str = "t", **changes: Any) -> tuple[int, str]:
    """A task that is queued under its publisher's lease, and that publish."""
    publish = f"{id}.0"
    return await store.write(verbs.submit, new_task(id, **changes), publish, LEASE), publish


async def queued(store: Store, id: str = "t", **changes: Any) -> None:
    """A task that is with the broker."""
    await store.write(verbs.settle, [await published(store, id, **changes)])


async def running(store: Store, id: str = "t", worker: str = "w", **changes: Any) -> Claim:
    """A task in its first attempt."""
    await queued(store, id, **changes)
    return await claimed(store, id, worker)


async def task_of(store: Store, id: str = "t") -> Task:
    """A task that there must be."""
    task = await store.reads.get(id)
    assert task is not None
    return task


async def status_of(store: Store, id: str = "t") -> Status:
    return (await task_of(store, id)).status


async def attempts_of(store: Store, id: str = "t") -> list[Attempt]:
    return list((await task_of(store, id)).attempts)


async def claimed(store: Store, id: str = "t", worker: str = "w") -> Claim:
    """A claim that must succeed."""
    answer = await store.write(claiming, id, worker)
    assert isinstance(answer, Claim)
    return answer


async def until(condition: Callable[[], bool]) -> None:
    """Wait for what has no event to wait for."""
    async with asyncio.timeout(PATIENCE):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.002)


def looking(database: Path) -> Connection:
    """A connection of the test's own."""
    return connect(database, busy_timeout=5)


def stored(database: Path, query: str = "SELECT * FROM task ORDER BY seq") -> list[dict[str, Any]]:
    """The rows, as any other process sees them."""
    connection = looking(database)
    try:
        return [dict(row) for row in connection.execute(query)]
    finally:
        connection.close()


def machine_steps(database: Path, queries: Iterable[str], values: dict[str, Any]) -> int:
    """How many steps of SQLite's machine these named queries take together."""
    count = 0

    def step() -> int:
        nonlocal count
        count += 1
        return 0

    with contextlib.closing(looking(database)) as connection:
        connection.set_progress_handler(step, 1)
        for query in queries:
            connection.execute(QUERIES[query], values).fetchall()
    return count
