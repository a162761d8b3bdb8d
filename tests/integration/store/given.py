"""What the store's tests begin with: a migrated database, tasks, a clock that is set by hand."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from taskqueue.store.sqlite import Connection, connect

from taskqueue.store import WorkerInfo, transitions
from taskqueue.store.store import TaskStore
from taskqueue.task import Claim, NewTask

#: Seconds after which a test gives up waiting for something that should happen.
PATIENCE = 20
#: What the clock shows at first, in Unix milliseconds.
NOON = 1_700_000_000_000


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


def worker_info(id: str) -> WorkerInfo:
    return WorkerInfo(id, "host", 1, consumers=2, prefetch=5, started_at=NOON)


async def beat(store: TaskStore, worker: str) -> list[tuple[str, int]]:
    """A heartbeat, as the worker's own thread does it."""
    return await store._write(lambda db: transitions.beat(db, worker_info(worker), store._now()))


async def claimed(store: TaskStore, id: str = "t", worker: str = "w") -> Claim:
    """A claim that must succeed."""
    claim = await store.claim(id, worker)
    assert isinstance(claim, Claim)
    return claim


async def until(condition: Callable[[], bool]) -> None:
    """Wait for what has no event to wait for."""
    async with asyncio.timeout(PATIENCE):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.002)


def looking(database: Path) -> Connection:
    """A connection of the test's own."""
    return connect(database, busy_timeout=5)


def stored(database: Path, query: str = "SELECT * FROM tasks ORDER BY seq") -> list[dict[str, Any]]:
    """The rows, as any other process sees them."""
    connection = looking(database)
    try:
        return [dict(row) for row in connection.execute(query)]
    finally:
        connection.close()
