"""The verbs that change many tasks: in slices, so that other writers are never held up for long."""

import asyncio
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Literal

import aiosqlite

from taskqueue.store import transitions
from taskqueue.store.clock import to_ms
from taskqueue.store.find import Cursor, Filter, narrow
from taskqueue.store.reader import Reader
from taskqueue.store.sqlite import Connection
from taskqueue.store.writer import Writer
from taskqueue.task import FINAL, Claim, Status

#: Rows changed in one transaction: about 50 ms of work at most.
_SLICE = 500
#: Seconds between two slices: other processes look for the write lock every half millisecond.
_PAUSE = 0.005

#: A bulk verb, and the statuses that it applies to.
Verb = Literal["cancel", "retry", "delete"]
APPLIES_TO: dict[Verb, frozenset[Status]] = {
    "cancel": frozenset(Status) - FINAL,
    "retry": frozenset({Status.FAILED, Status.CANCELLED}),
    "delete": FINAL,
}


#: What is pruned by its age.
Kept = Literal["tasks", "events", "idempotency_keys", "minute_counts", "minute_times"]


class ManyTasks(Reader):
    """Verbs over many tasks. They raise as those of `TaskStore` do; slices committed before that stay."""

    def __init__(
        self,
        path: Path,
        writer: Writer,
        connection: aiosqlite.Connection,
        searches: aiosqlite.Connection,
        clock: Callable[[], int],
    ) -> None:
        super().__init__(path, connection, searches)
        self._write = writer.write
        self._now = clock

    async def requeue(self, *, queued_for: float = 0) -> int:
        """`queued` → `pending`, for tasks that have been queued for at least `queued_for` seconds.

        Returns:
            how many there were.
        """
        count, after = 0, 0
        while True:
            changed = await self._write(partial(_requeue_slice, after, to_ms(queued_for), self._now))
            count += len(changed)
            if len(changed) < _SLICE:
                return count
            after = max(changed)
            await asyncio.sleep(_PAUSE)

    async def apply_to_all(
        self, verb: Verb, filter: Filter, cursor: Cursor, *, request_id: str | None = None
    ) -> int:
        """Cancel, rerun or delete the tasks that fit a filter and that the verb applies to.

        Args:
            cursor: the first page's: tasks accepted later are left alone.
            request_id: which request asks for it.

        Returns:
            how many were changed; of running ones, how many were asked to cancel.
        """
        narrowed = narrow(filter, APPLIES_TO[verb])
        count = 0
        # They are found outside of the transaction: where few of many fit, that takes long.
        while narrowed and (found := await self.find_ids(narrowed, cursor, limit=_SLICE)):
            ids = [id for _, id in found]
            count += await self._write(partial(_apply_slice, verb, ids, narrowed.statuses, request_id, self._now))
            cursor = Cursor(found[-1][0], cursor.floor)
            await asyncio.sleep(_PAUSE)
        return count

    async def prune(self, what: Kept, *, before: int, status: Status | None = None) -> int:
        """Delete what is older than `before` (Unix milliseconds), and return how much that was.

        Args:
            status: of the tasks, a final one.
        """
        count = 0
        while True:
            deleted = await self._write(partial(_prune_slice, what, before, status))
            count += deleted
            if deleted < _SLICE:
                return count
            await asyncio.sleep(_PAUSE)

    async def rescue(
        self, worker: str, beat: int, *, error: str, backoff: Callable[[int], float]
    ) -> list[tuple[Claim, Status]] | None:
        """`running` → `pending` or `failed` for the tasks of a lost worker, and forget it.

        Args:
            beat: the counter that stood still; a worker that has beaten since is left alone (None).
            error: JSON text for the attempts.
            backoff: seconds to wait after that many failures.
        """

        def write(db: Connection) -> list[tuple[Claim, Status]] | None:
            now = self._now()
            return transitions.rescue(db, worker, beat, error, lambda n: now + to_ms(backoff(n)), now)

        return await self._write(write)

    async def retire_worker(self, worker: str) -> int:
        """Release what a worker that stops still has running, and forget it."""
        return await self._write(lambda db: transitions.retire_worker(db, worker, self._now()))


def _requeue_slice(after: int, queued_for: int, clock: Callable[[], int], db: Connection) -> list[int]:
    # Within the transaction: what others have marked since must not look as if it came from the future.
    now = clock()
    return transitions.requeue(db, after, now - queued_for, _SLICE, now)


def _prune_slice(what: Kept, before: int, status: Status | None, db: Connection) -> int:
    return transitions.prune(db, what, before, _SLICE, status)


def _apply_slice(
    verb: Verb,
    ids: list[str],
    statuses: frozenset[Status],
    request_id: str | None,
    clock: Callable[[], int],
    db: Connection,
) -> int:
    """The number of tasks changed; of those that were found, all that still have one of the statuses."""
    return sum(
        _apply(verb, db, id, request_id, clock()) for id in ids if transitions.status_of(db, id) in statuses
    )


def _apply(verb: Verb, db: Connection, id: str, request_id: str | None, now: int) -> bool:
    match verb:
        case "cancel":
            return transitions.cancel(db, id, now) is not None
        case "retry":
            return transitions.rerun(db, id, request_id, now)
        case "delete":
            return transitions.delete(db, id)
