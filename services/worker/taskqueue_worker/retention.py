"""Deletes what has been kept long enough, in small slices; what minutes add up to is kept for longer."""

from taskqueue.settings import Settings
from taskqueue.store import Store
from taskqueue.store.bulk import Kept
from taskqueue.store.clock import to_ms
from taskqueue.task import Status
from taskqueue.telemetry import Pruned, Recounted, Telemetry

#: Seconds between two sweeps. Every worker does them: one that comes second finds nothing.
PRUNE_INTERVAL = 60

#: Seconds between two looks whether the counters are right: each counts all tasks.
RECOUNT_INTERVAL = 3600

#: Seconds that the counters of a minute are kept: as far back as `GET /stats` tells, and a little more.
_KEEP_MINUTES = 25 * 3600

#: Seconds that an action is known for which no worker has known.
_KEEP_ACTIONS = 30 * 86400

#: Seconds that it is told who changed what.
_KEEP_AUDIT = 90 * 86400


class Retention:
    """Prunes final tasks, events, idempotency keys, counters and notes of changes."""

    def __init__(self, settings: Settings, store: Store, telemetry: Telemetry) -> None:
        self._settings = settings
        self._store = store
        self._telemetry = telemetry

    async def prune(self) -> None:
        """Delete all that is due."""
        settings, now = self._settings, self._store.clock()
        for status, keep in (
            (Status.COMPLETED, settings.keep_completed),
            (Status.FAILED, settings.keep_failed),
            (Status.CANCELLED, settings.keep_cancelled),
        ):
            if keep and (count := await self._store.bulk.prune_tasks(status, before=now - to_ms(keep))):
                self._telemetry.tell(Pruned(status, count))
        await self._store.spans.add_up(now)
        await self._store.spans.forget(now)
        others: tuple[tuple[Kept, float], ...] = (
            ("events", settings.keep_events),
            ("idempotency_keys", settings.idempotency_keep),
            ("minute_counts", _KEEP_MINUTES),
            ("minute_times", _KEEP_MINUTES),
            ("actions", _KEEP_ACTIONS),
            ("audit", _KEEP_AUDIT),
        )
        for what, keep in others:
            await self._store.bulk.prune(what, before=now - to_ms(keep))
        await self._store.bulk.prune_ranges()

    async def recount(self) -> None:
        """Counters are raised, not counted: should one ever be wrong, it does not stay so."""
        if wrong := await self._store.bulk.recount():
            self._telemetry.tell(Recounted(tuple(wrong)))
