"""What is done to many tasks: in slices, so that other writers are never held up for long."""

import asyncio
import json
from collections.abc import Callable, Sequence
from functools import partial
from typing import Literal

from taskqueue.store import verbs
from taskqueue.store.audit import Deed, add_to_note, note
from taskqueue.store.catalogue import Repertoire, take_up
from taskqueue.store.engine.protocol import Engine, Transaction
from taskqueue.store.ledger import Forgotten
from taskqueue.store.pages import Cursor, Filter, narrow
from taskqueue.store.reads import Reads
from taskqueue.task import FINAL, Status

#: Rows changed in one transaction: about 50 ms of work at most.
_SLICE = 500
#: Seconds between two slices: room for the other writers.
_PAUSE = 0.005

#: A bulk verb, and the statuses that it applies to.
Verb = Literal["cancel", "retry", "delete"]
APPLIES_TO: dict[Verb, frozenset[Status]] = {
    "cancel": frozenset(Status) - FINAL,
    "retry": frozenset({Status.FAILED, Status.CANCELLED}),
    "delete": FINAL,
}

#: What is pruned by its age, beside tasks.
Kept = Literal["events", "idempotency_keys", "minute_counts", "minute_times", "actions", "audit"]


class Bulk:
    """Verbs over many tasks. They raise as `Engine.write` does; slices committed before that stay."""

    def __init__(self, engine: Engine, reads: Reads) -> None:
        self._engine = engine
        self._reads = reads

    async def demote_all(self) -> int:
        """`queued` → `pending` for all: the queue is gone. Returns how many there were."""
        count, after = 0, 0
        while moved := await self._engine.write(partial(verbs.demote_all, after=after, limit=_SLICE)):
            count += len(moved)
            after = max(moved)
            await asyncio.sleep(_PAUSE)
        return count

    async def demote_expired(self, lease: int) -> int:
        """`queued` → `pending` for all whose dispatch lease, in milliseconds, has run out; returns how many."""
        return await self._all(partial(verbs.demote_expired, lease=lease, limit=_SLICE))

    async def demote_lost(self, priority: int, queued_before: int, *, also_later: bool) -> int:
        """`queued` → `pending` for all of a priority that have been queued for too long; returns how many."""
        return await self._all(
            partial(
                verbs.demote_lost,
                priority=priority,
                queued_before=queued_before,
                limit=_SLICE,
                also_later=also_later,
            )
        )

    async def take_up(self, repertoire: Repertoire, limit: int | None = None) -> int:
        """Make due what was set aside and a worker of this repertoire takes, all or a few; returns how many."""
        waiting = await self._reads.set_aside_counts()
        # What is not named is looked into only where a catch-all may take it.
        actions = [name for name in waiting if repertoire.catch_all or name in repertoire.actions]
        if not actions:
            return 0
        slice_of = partial(take_up, repertoire=repertoire, actions=actions)
        if limit is not None:
            return len(await self._engine.write(partial(slice_of, limit=limit)))
        return await self._all(partial(slice_of, limit=_SLICE))

    async def apply_to_all(
        self,
        verb: Verb,
        filter: Filter,
        cursor: Cursor,
        *,
        request_id: str | None = None,
        deed: Deed | None = None,
    ) -> int:
        """Cancel, retry or delete the tasks that fit a filter and that the verb applies to.

        Args:
            cursor: the first page's: tasks accepted later are left alone.
            request_id: which request asks for it.
            deed: is noted with the first tasks that are changed, and their count grows with each slice.

        Returns:
            how many were changed; of running ones, how many were asked to cancel.
        """
        narrowed = narrow(filter, APPLIES_TO[verb])
        count, noted = 0, None
        # They are found outside of the transaction: where few of many fit, that takes long.
        while narrowed and (found := await self._reads.find_ids(narrowed, cursor, limit=_SLICE)):
            ids = [id for _, id in found]
            slice_of = partial(_apply_slice, verb, ids, narrowed.statuses, request_id, deed, noted)
            changed, noted = await self._engine.write(slice_of)
            count += changed
            cursor = Cursor(found[-1][0], cursor.floor)
            await asyncio.sleep(_PAUSE)
        return count

    async def prune(self, what: Kept, *, before: int) -> int:
        """Delete what is older than `before` (Unix milliseconds), and return how much that was."""
        return await self._all(lambda tx: range(_prune_slice(tx, what, before)))

    async def prune_tasks(self, status: Status, *, before: int) -> int:
        """Delete the tasks that got this final status before (Unix milliseconds); returns how many."""
        return await self._all(lambda tx: range(_prune_tasks_slice(tx, status, before)))

    async def prune_ranges(self) -> None:
        """Delete the time ranges of which no task is left."""
        # They are found outside of the transaction: of many tasks there are thousands.
        while found := await self._engine.survey("empty_ranges", limit=_SLICE):
            ranges = json.dumps([row["range"] for row in found])
            await self._engine.write(partial(_prune_ranges_slice, ranges=ranges))
            if len(found) < _SLICE:
                return
            await asyncio.sleep(_PAUSE)

    async def recount(self) -> list[str]:
        """Hold the counters of statuses against the tasks, and mend what is wrong; which statuses' were."""
        wrong = await self._reads.wrong_counts()
        if wrong:
            await self._engine.write(
                lambda tx: tx.change("add_status_counts", counts=json.dumps(sorted(wrong.items())))
            )
        return sorted(wrong)

    async def _all(self, slice_of: Callable[[Transaction], "set[int] | range"]) -> int:
        """Repeat a slice until one is not full."""
        count = 0
        while True:
            done = len(await self._engine.write(slice_of))
            count += done
            if done < _SLICE:
                return count
            await asyncio.sleep(_PAUSE)


def _prune_slice(tx: Transaction, what: Kept, before: int) -> int:
    return tx.change(f"prune_{what}", before=before, now=tx.now, limit=_SLICE)


def _prune_ranges_slice(tx: Transaction, ranges: str) -> int:
    return tx.change("prune_ranges", ranges=ranges)


def _prune_tasks_slice(tx: Transaction, status: Status, before: int) -> int:
    deleted = tx.change("prune_tasks", status=status, before=before, limit=_SLICE)
    tx.owed.append(Forgotten(status, deleted))
    return deleted


def _apply_slice(
    verb: Verb,
    ids: Sequence[str],
    statuses: frozenset[Status],
    request_id: str | None,
    deed: Deed | None,
    noted: int | None,
    tx: Transaction,
) -> tuple[int, int | None]:
    """The number of tasks changed; of those that were found, all that still have one of the statuses; and the
    `seq` of the deed's note, once there is one."""
    count = sum(_apply(tx, verb, id, request_id) for id in ids if verbs.status_of(tx, id) in statuses)
    if count and noted is not None:
        add_to_note(tx, noted, count)
    elif count and deed is not None:
        noted = note(tx, deed, tasks=count)
    return count, noted


def _apply(tx: Transaction, verb: Verb, id: str, request_id: str | None) -> bool:
    match verb:
        case "cancel":
            return verbs.cancel(tx, id) is not None
        case "retry":
            return verbs.retry(tx, id, request_id)
        case "delete":
            return verbs.delete(tx, id)
