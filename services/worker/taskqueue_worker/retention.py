"""Deletes what has been kept long enough, in small slices."""

import logging

from taskqueue.settings import Settings
from taskqueue.store import TaskStore, now_ms
from taskqueue.store.clock import to_ms
from taskqueue.store.many import Kept
from taskqueue.task import Status

log = logging.getLogger("taskqueue.worker")

#: Seconds between two sweeps. Every worker does them: one that comes second finds nothing.
PRUNE_INTERVAL = 60

#: Seconds that the counters of a minute are kept: as far back as `GET /stats` tells, and a little more.
_KEEP_MINUTES = 25 * 3600


class Retention:
    """Prunes final tasks, events, idempotency keys and counters."""

    def __init__(self, settings: Settings, store: TaskStore) -> None:
        self._settings = settings
        self._store = store

    async def prune(self) -> None:
        """Delete all that is due."""
        settings, now = self._settings, now_ms()
        for status, keep in (
            (Status.COMPLETED, settings.keep_completed),
            (Status.FAILED, settings.keep_failed),
            (Status.CANCELLED, settings.keep_cancelled),
        ):
            if keep and (count := await self._store.prune("tasks", before=now - to_ms(keep), status=status)):
                log.info("pruned %d %s tasks", count, status)
        others: tuple[tuple[Kept, float], ...] = (
            ("events", settings.keep_events),
            ("idempotency_keys", settings.idempotency_keep),
            ("minute_counts", _KEEP_MINUTES),
            ("minute_times", _KEEP_MINUTES),
        )
        for what, keep in others:
            await self._store.prune(what, before=now - to_ms(keep))
