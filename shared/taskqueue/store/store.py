"""TaskStore: what the other processes do with tasks, one verb a transition. SQLite holds the truth."""

import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Self

import aiosqlite

from taskqueue.message import Priority
from taskqueue.store import transitions
from taskqueue.store.clock import now_ms, to_ms
from taskqueue.store.many import ManyTasks
from taskqueue.store.schema import check_schema
from taskqueue.store.sqlite import (
    SQLITE_VERSION,
    Connection,
    IntegrityError,
    StoreUnavailableError,
    connect,
    journal_mode,
)
from taskqueue.store.transitions import IdempotentRequest, Refusal, Replay
from taskqueue.store.writer import Writer
from taskqueue.task import Claim, Dispatch, NewTask, Outcome, Status

log = logging.getLogger("taskqueue.store")

_PRIORITIES = tuple(sorted(Priority, reverse=True))


class TaskStore(ManyTasks):
    """The tasks, in one SQLite file shared by all processes: the verbs of one task, of many, and what can be read.

    Verbs raise StoreUnavailableError when the file can't be read or written now; nothing is then stored.
    A verb that finds its guard unmet changes nothing and says so in what it returns.
    """

    @classmethod
    @contextlib.asynccontextmanager
    async def open(
        cls, path: Path, *, write_timeout: float, clock: Callable[[], int] = now_ms
    ) -> AsyncIterator[Self]:
        """Open the database, with one connection that writes and two that read.

        Args:
            path: the database file; it must exist.
            write_timeout: seconds that a write may wait for other processes.
            clock: the time in Unix milliseconds.

        Raises:
            SchemaMismatchError: `taskqueue-migrate` has not brought the file to this version's schema.
            StoreError: the file is missing, unreadable or not a database.
        """

        def reading() -> aiosqlite.Connection:
            return aiosqlite.Connection(
                lambda: connect(path, busy_timeout=write_timeout, read_only=True), iter_chunk_size=64
            )

        async with Writer.open(path, timeout=write_timeout) as writer, reading() as reader, reading() as searches:
            store = cls(path, writer, reader, searches, clock)
            await store._write(partial(check_schema, path))
            if journal_mode() != "wal":
                log.warning(
                    "SQLite %s can't use a write-ahead log safely here: a rollback journal serves, slower",
                    SQLITE_VERSION,
                )
            yield store

    # Into the queue

    async def submit(self, task: NewTask, *, dispatch_id: str | None = None, lease: float = 0) -> None:
        """Store a new task as `pending`.

        Args:
            dispatch_id: where the caller publishes it itself, the id of that publish.
            lease: seconds during which no relay publishes it then.
        """
        until = None if dispatch_id is None else self._now() + to_ms(lease)
        await self._write(lambda db: transitions.submit(db, task, dispatch_id, until))

    async def submit_all(
        self,
        tasks: Sequence[tuple[NewTask, str | None]],
        *,
        lease: float,
        request: IdempotentRequest | None = None,
        answer: str = "",
    ) -> Replay | None:
        """Store new tasks as `pending`, all or none, each with the id of the publish that the caller will do.

        Args:
            lease: seconds during which no relay publishes those that have one.
            request: stores nothing where its key was used before, and tells that; else keeps `answer` for it.
        """

        def write(db: Connection) -> Replay | None:
            now = self._now()
            if request:
                if replay := transitions.find_answer(db, request):
                    return replay
                transitions.keep_answer(db, request, answer, now)
            for task, dispatch_id in tasks:
                transitions.submit(db, task, dispatch_id, None if dispatch_id is None else now + to_ms(lease))
            return None

        return await self._write(write)

    async def amend_answer(self, request: IdempotentRequest, answer: str) -> None:
        """Keep another answer for a request: what its client was really told."""
        await self._write(lambda db: transitions.amend_answer(db, request, answer))

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
            lambda db: transitions.lease_due(db, _PRIORITIES, limit, to_ms(lease), token, self._now())
        )

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
            return transitions.retry(db, claim, outcome, error, now + to_ms(delay), now)

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

    async def rerun(self, id: str, request_id: str | None = None) -> bool:
        """`failed` or `cancelled` → `pending`: a new run, with all its attempts. False: it is neither.

        Args:
            request_id: which request asks for it.
        """
        return await self._write(lambda db: transitions.rerun(db, id, request_id, self._now()))

    async def delete(self, id: str) -> bool:
        """Delete a final task, with its attempts. False: it isn't final, or there is none."""
        return await self._write(lambda db: transitions.delete(db, id))

    async def tell_progress(self, claim: Claim, progress: str) -> bool:
        """Store how far a running task has come, as JSON text. False: the claim is no longer its worker's."""
        return await self._write(lambda db: transitions.tell_progress(db, claim, progress))
