"""What a worker does beside its tasks: relay pending ones, rescue those of lost workers, find lost messages."""

import asyncio
import logging
import time
import uuid
from collections.abc import Awaitable, Callable

from taskqueue.broker import Broker, BrokerError, BrokerState
from taskqueue.dispatch import mark, publish
from taskqueue.logs import claim_fields
from taskqueue.retry import backoff
from taskqueue.settings import Settings
from taskqueue.store import StoreUnavailableError, TaskStore
from taskqueue.task import Dispatch
from taskqueue_worker.execute import error_json
from taskqueue_worker.heartbeat import BEATS_PER_LEASE, Heartbeat

log = logging.getLogger("taskqueue.worker")

#: Tasks leased and published at a time: well within the dispatch lease on a slow broker.
_RELAY_BATCH = 200


async def repeat(interval: float, sweep: Callable[[], Awaitable[None]]) -> None:
    """Run a sweep for ever, `interval` seconds apart; one that the store or the broker hinders comes again."""
    while True:
        try:
            await sweep()
        except (StoreUnavailableError, BrokerError) as error:
            log.warning("%s put off: %s", sweep.__name__, error)
        await asyncio.sleep(interval)


class Relay:
    """Publishes pending tasks that are due: those scheduled, retried, or accepted while the broker was away."""

    def __init__(self, settings: Settings, store: TaskStore, broker: Broker) -> None:
        self._settings = settings
        self._store = store
        self._broker = broker

    async def relay(self) -> None:
        """Publish all that is due now."""
        while self._broker.state is BrokerState.CONNECTED:
            due = await self._store.lease_due(
                limit=_RELAY_BATCH, lease=self._settings.dispatch_lease, token=uuid.uuid4().hex
            )
            confirmed = await asyncio.gather(*(self._publish(dispatch) for dispatch in due))
            if len(due) < _RELAY_BATCH or not all(confirmed):
                return

    async def _publish(self, dispatch: Dispatch) -> bool:
        confirmed = await publish(self._broker, dispatch, self._settings.publish_timeout)
        if confirmed:
            await mark(self._store, dispatch)
        return confirmed


class LostWorkers:
    """Which workers' beat counters have stood still for a lease, on this observer's own monotonic clock.

    An observer that didn't look for a while (it was stopped itself, or the store was away) starts anew: it
    can't tell a still counter from its own absence.
    """

    def __init__(self, lease: float) -> None:
        self._lease = lease
        self._last_look = 0.0
        #: For each worker its beat, and when we first saw that.
        self._seen: dict[str, tuple[int, float]] = {}

    def look(self, beats: dict[str, int], now: float) -> list[tuple[str, int]]:
        """Take note of the beats, and tell the lost workers with the beat they stopped at.

        Args:
            beats: each worker's counter.
            now: monotonic time, in seconds.
        """
        if now - self._last_look > self._lease / 2:
            self._seen.clear()
        self._last_look = now
        before = self._seen
        self._seen = {
            worker: before[worker] if worker in before and before[worker][0] == beat else (beat, now)
            for worker, beat in beats.items()
        }
        return [(worker, beat) for worker, (beat, since) in self._seen.items() if now - since >= self._lease]


class Rescuer:
    """Takes the tasks of lost workers back."""

    def __init__(self, settings: Settings, store: TaskStore, heartbeat: Heartbeat) -> None:
        self._settings = settings
        self._store = store
        self._heartbeat = heartbeat
        self._lost = LostWorkers(settings.lease)

    async def rescue(self) -> None:
        """Look at all workers' beats, and rescue the tasks of those that stand still."""
        now = time.monotonic()
        if now - self._heartbeat.last_beat > self._settings.lease / 2:
            # Our own writes fail: then the others' may too, and what was seen of them tells nothing.
            self._lost = LostWorkers(self._settings.lease)
            return
        for worker, beat in self._lost.look(await self._store.worker_beats(), now):
            await rescue_worker(self._settings, self._store, worker, beat)


async def rescue_worker(settings: Settings, store: TaskStore, worker: str, beat: int) -> None:
    """Rescue the tasks of a worker that stopped at this beat; one that has beaten since is left alone."""
    rescued = await store.rescue(
        worker,
        beat,
        error=error_json("WorkerLost", f"worker lost: {worker} stopped beating"),
        backoff=lambda failures: backoff(failures, base=settings.retry_base, cap=settings.retry_cap),
    )
    if rescued is None:
        return
    log.warning("worker lost", extra={"worker": worker, "tasks": len(rescued)})
    for claim, status in rescued:
        log.warning("task rescued", extra=claim_fields(claim, status=status, worker=worker))


class Reconciler:
    """Finds tasks whose message got lost: queued for long, and nothing waits in the queue."""

    def __init__(self, settings: Settings, store: TaskStore, broker: Broker) -> None:
        self._settings = settings
        self._store = store
        self._broker = broker

    async def reconcile(self) -> None:
        """Make such tasks pending. One that waits in a consumer's buffer gets a second message: harmless."""
        if self._broker.state is not BrokerState.CONNECTED or await self._broker.ready_count():
            return
        count = await self._store.requeue(queued_for=self._settings.reconcile_after)
        if count:
            log.warning("%d queued tasks had no message left: they will be published again", count)


def beat_interval(settings: Settings) -> float:
    """Seconds between two heartbeats, and between two looks at the others'."""
    return settings.lease / BEATS_PER_LEASE
