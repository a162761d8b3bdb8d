"""TaskStore: what the other processes do with tasks, one verb a transition. SQLite holds the truth."""

import contextlib
import time
from collections.abc import AsyncIterator, Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any, Self

import aiosqlite

from taskqueue.message import Priority
from taskqueue.store import transitions
from taskqueue.store.queries import QUERIES
from taskqueue.store.schema import check_schema
from taskqueue.store.sqlite import (
    Connection,
    IntegrityError,
    Row,
    StoreUnavailableError,
    connect,
    translated_errors,
)
from taskqueue.store.transitions import Refusal
from taskqueue.store.writer import Writer
from taskqueue.task import Attempt, Claim, Dispatch, NewTask, Outcome, Status, Task

#: Rows changed in one transaction by verbs over many: short enough that other writers don't notice.
_SLICE = 500
_PRIORITIES = tuple(sorted(Priority, reverse=True))


def now_ms() -> int:
    """Unix time in milliseconds."""
    return time.time_ns() // 1_000_000


class TaskStore:
    """The tasks, in one SQLite file shared by all processes.

    Verbs raise StoreUnavailableError when the file can't be read or written now; nothing is then stored.
    A verb that finds its guard unmet changes nothing and says so in what it returns.
    """

    def __init__(self, path: Path, writer: Writer, reader: aiosqlite.Connection, clock: Callable[[], int]) -> None:
        self._path = path
        self._write = writer.write
        self._reader = reader
        self._now = clock

    @classmethod
    @contextlib.asynccontextmanager
    async def open(
        cls, path: Path, *, write_timeout: float, clock: Callable[[], int] = now_ms
    ) -> AsyncIterator[Self]:
        """Open the database, with one connection that writes and one that reads.

        Args:
            path: the database file; it must exist.
            write_timeout: seconds that a write may wait for other processes.
            clock: the time in Unix milliseconds.

        Raises:
            SchemaMismatchError: `taskqueue-migrate` has not brought the file to this version's schema.
            StoreError: the file is missing, unreadable or not a database.
        """
        async with (
            Writer.open(path, timeout=write_timeout) as writer,
            aiosqlite.Connection(
                lambda: connect(path, busy_timeout=write_timeout, read_only=True), iter_chunk_size=64
            ) as reader,
        ):
            store = cls(path, writer, reader, clock)
            await store._write(partial(check_schema, path))
            yield store

    # Into the queue

    async def submit(self, task: NewTask, *, dispatch_id: str | None = None, lease: float = 0) -> None:
        """Store a new task as `pending`.

        Args:
            dispatch_id: where the caller publishes it itself, the id of that publish.
            lease: seconds during which no relay publishes it then.
        """
        until = None if dispatch_id is None else self._now() + _ms(lease)
        await self._write(lambda db: transitions.submit(db, task, dispatch_id, until))

    async def mark_queued(self, id: str, dispatch_id: str) -> bool:
        """`pending` → `queued`: the broker has confirmed the publish `dispatch_id`."""
        return await self._write(lambda db: transitions.mark_queued(db, id, dispatch_id, self._now()))

    async def lease_due(self, *, limit: int, lease: float, token: str) -> list[Dispatch]:
        """Take pending tasks that are due, by priority, then by time, for the caller alone to publish.

        Args:
            limit: the number of tasks at most.
            lease: seconds that the caller has for it.
            token: new for each call; it becomes part of the dispatch ids.
        """
        return await self._write(
            lambda db: transitions.lease_due(db, _PRIORITIES, limit, _ms(lease), token, self._now())
        )

    async def requeue(self, *, queued_for: float = 0) -> int:
        """`queued` → `pending`, for tasks that have been queued for at least `queued_for` seconds.

        Returns:
            how many there were.
        """
        now = self._now()
        before = now - _ms(queued_for)
        count, after = 0, 0
        while True:
            changed = await self._write(partial(_requeue_slice, after, before, now))
            count += len(changed)
            if len(changed) < _SLICE:
                return count
            after = max(changed)

    # One attempt

    async def claim(self, id: str, worker: str) -> Claim | Refusal:
        """`queued`, or `pending` and due → `running`, as this worker's next attempt.

        Raises:
            StoreUnavailableError: also where the worker was taken for lost; its next beat mends that.
        """
        try:
            return await self._write(lambda db: transitions.claim(db, id, worker, self._now()))
        except IntegrityError as error:
            raise StoreUnavailableError("this worker was taken for lost, and has not beaten since") from error

    async def complete(self, claim: Claim, result: str) -> bool:
        """`running` → `completed`. False: the claim is no longer its worker's."""
        return await self._write(lambda db: transitions.complete(db, claim, result, self._now()))

    async def retry(self, claim: Claim, outcome: Outcome, error: str, *, delay: float) -> Status | None:
        """`running` → `pending`, due in `delay` seconds, with one failure more; or `cancelled`, if asked.

        None: the claim is no longer its worker's.
        """

        def write(db: Connection) -> Status | None:
            now = self._now()
            return transitions.retry(db, claim, outcome, error, now + _ms(delay), now)

        return await self._write(write)

    async def fail(self, claim: Claim, outcome: Outcome, error: str) -> Status | None:
        """`running` → `failed`; or `cancelled`, if asked. None: the claim is no longer its worker's."""
        return await self._write(lambda db: transitions.fail(db, claim, outcome, error, self._now()))

    async def release(self, claim: Claim) -> Status | None:
        """`running` → `pending` at no cost, for a clean shutdown; or `cancelled`, if asked."""
        return await self._write(lambda db: transitions.release(db, claim, self._now()))

    async def cancel(self, id: str) -> Status | None:
        """`pending` or `queued` → `cancelled`; a running task's worker is asked to.

        Returns:
            the status after that: `running` where the worker has been asked, another final one where the
            task was final already, None for an unknown id.
        """
        return await self._write(lambda db: transitions.cancel(db, id, self._now()))

    # Workers

    async def rescue(
        self, worker: str, beat: int, *, error: str, backoff: Callable[[int], float]
    ) -> list[tuple[str, Status]] | None:
        """`running` → `pending` or `failed` for the tasks of a lost worker, and forget it.

        Args:
            beat: the counter that stood still; a worker that has beaten since is left alone (None).
            error: JSON text for the attempts.
            backoff: seconds to wait after that many failures.
        """

        def write(db: Connection) -> list[tuple[str, Status]] | None:
            now = self._now()
            return transitions.rescue(db, worker, beat, error, lambda n: now + _ms(backoff(n)), now)

        return await self._write(write)

    async def retire_worker(self, worker: str) -> int:
        """Release what a worker that stops still has running, and forget it."""
        return await self._write(lambda db: transitions.retire_worker(db, worker, self._now()))

    async def worker_beats(self) -> dict[str, int]:
        """Each known worker's beat counter."""
        return {row["id"]: row["beat"] for row in await self._read("worker_beats")}

    # Reading

    async def get(self, id: str) -> Task | None:
        """The task, if there is one."""
        rows = await self._read("get", id=id)
        return _task(rows[0]) if rows else None

    async def attempts_of(self, id: str) -> list[Attempt]:
        """The task's attempts, oldest first."""
        return [_attempt(row) for row in await self._read("attempts_of", id=id)]

    async def newest(self, *, limit: int, status: Status | None = None) -> list[Task]:
        """The tasks accepted last, newest first."""
        if status is None:
            rows = await self._read("newest", limit=limit)
        else:
            rows = await self._read("newest_with_status", limit=limit, status=status)
        return [_task(row) for row in rows]

    async def schema_version(self) -> int:
        """The schema's version; shows that the store can be read."""
        [row] = await self._read("schema_version")
        return int(row["version"] or 0)

    async def _read(self, query: str, **values: Any) -> list[Row]:
        with translated_errors(self._path):
            # One call on the connection's thread: nothing of it outlives a caller that is cancelled.
            rows: Iterable[Row] = await self._reader.execute_fetchall(QUERIES[query], values)
            return list(rows)


def _requeue_slice(after: int, before: int, now: int, db: Connection) -> list[int]:
    return transitions.requeue(db, after, before, _SLICE, now)


def _task(row: Row) -> Task:
    columns = dict(row)
    columns["status"] = Status(columns["status"])
    columns["cancel_requested"] = bool(columns["cancel_requested"])
    return Task(**columns)


def _attempt(row: Row) -> Attempt:
    columns = dict(row)
    columns["outcome"] = columns["outcome"] and Outcome(columns["outcome"])
    return Attempt(**columns)


def _ms(seconds: float) -> int:
    return round(seconds * 1000)
