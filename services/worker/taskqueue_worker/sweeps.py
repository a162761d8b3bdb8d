"""What a worker does beside its tasks: publish pending ones, rescue those of lost workers, find lost messages."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping
from random import Random

from taskqueue.broker import Broker, BrokerError, BrokerState
from taskqueue.dispatch import publish, token
from taskqueue.message import Priority
from taskqueue.settings import Settings
from taskqueue.store import Store, StoreUnavailableError, verbs
from taskqueue.store.clock import to_ms
from taskqueue.store.workers import rescue
from taskqueue.telemetry import Demoted, SweepPutOff, Telemetry, WorkerLost
from taskqueue_worker.execute import error_json
from taskqueue_worker.heartbeat import Heartbeat

#: Tasks leased and published at a time: well within the dispatch lease on a slow broker.
_RELAY_BATCH = 200

_PRIORITIES = tuple(sorted(Priority, reverse=True))


async def repeat(
    interval: float,
    sweep: Callable[[], Awaitable[None]],
    telemetry: Telemetry,
    *,
    after: float = 0,
    due: asyncio.Event | None = None,
) -> None:
    """Run a sweep for ever, `interval` seconds apart and `after` so many, and at once where it is `due`; one that
    the store or the broker hinders comes again."""
    await asyncio.sleep(after)
    due = due or asyncio.Event()
    while True:
        due.clear()
        try:
            await sweep()
        except (StoreUnavailableError, BrokerError) as error:
            telemetry.tell(SweepPutOff(sweep.__name__, error))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(interval):
                await due.wait()


class Relay:
    """Publishes pending tasks that are due: those scheduled, retried, or that the broker did not confirm."""

    def __init__(
        self, settings: Settings, store: Store, broker: Broker, telemetry: Telemetry, random: Random
    ) -> None:
        self._lease = to_ms(settings.dispatch_lease)
        self._publish_timeout = settings.publish_timeout
        self._store = store
        self._broker = broker
        self._telemetry = telemetry
        self._random = random

    async def relay(self) -> None:
        """Demote those whose publisher is gone, whatever the broker's state; then publish all that is due now."""
        if expired := await self._store.bulk.demote_expired(self._lease):
            self._telemetry.tell(Demoted(expired, "their publisher did not come back"))
        while self._broker.state is BrokerState.CONNECTED:
            fresh = token(self._store.clock(), self._random)
            due = await self._store.write(verbs.lease_due, _PRIORITIES, _RELAY_BATCH, self._lease, fresh)
            confirmed = await asyncio.gather(
                *(publish(self._broker, dispatch, self._publish_timeout, self._telemetry) for dispatch in due)
            )
            marks = [
                (dispatch.seq, dispatch.dispatch_id) for dispatch, ok in zip(due, confirmed, strict=True) if ok
            ]
            if marks:
                await self._store.write(verbs.mark_queued, marks)
            if not due or not all(confirmed):
                return


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

    def __init__(
        self, settings: Settings, store: Store, heartbeat: Heartbeat, telemetry: Telemetry, random: Random
    ) -> None:
        self._settings = settings
        self._store = store
        self._heartbeat = heartbeat
        self._telemetry = telemetry
        self._random = random
        self._lost = LostWorkers(settings.lease)

    async def rescue(self) -> None:
        """Look at all workers' beats, and rescue the tasks of those that stand still."""
        now = asyncio.get_running_loop().time()
        if now - self._heartbeat.last_beat > self._settings.lease / 2:
            # Our own writes fail: then the others' may too, and what was seen of them tells nothing.
            self._lost = LostWorkers(self._settings.lease)
            return
        for worker, beat in self._lost.look(await self._store.reads.worker_beats(), now):
            await rescue_worker(self._settings, self._store, worker, beat, self._telemetry, self._random)


async def rescue_worker(
    settings: Settings, store: Store, worker: str, beat: int, telemetry: Telemetry, random: Random
) -> None:
    """Rescue the tasks of a worker that stopped at this beat; one that has beaten since is left alone."""

    def pause(failures: int) -> int:
        # Of any action, known to this worker or not.
        return to_ms(settings.backoff.pause(failures, random.uniform))

    error = error_json("WorkerLost", f"worker lost: {worker} stopped beating")
    rescued = await store.write(rescue, worker, beat, error, pause)
    if rescued is not None:
        telemetry.tell(WorkerLost(worker, tuple(rescued)))


class Reconciler:
    """Finds tasks whose message got lost: queued for long, though the queue has nothing left for them."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        broker: Broker,
        newest: Mapping[int, int],
        telemetry: Telemetry,
    ) -> None:
        """
        Args:
            newest: by priority, when the message was made that brought a task last, from its first delivery.
        """
        self._patience = to_ms(settings.reconcile_after)
        self._store = store
        self._broker = broker
        self._newest = newest
        self._telemetry = telemetry

    async def reconcile(self) -> None:
        """Demote tasks that have been queued for long where no message waits, or where a message of their priority
        that was made so much later has brought its task already: the queue is in order.

        One whose message waits in a consumer's buffer gets a second one: harmless, and not before it has been
        published again for as long. A message from the future was made before the clock was set back, and tells
        nothing.
        """
        if self._broker.state is not BrokerState.CONNECTED:
            return
        empty = not await self._broker.ready_count()
        count, now = 0, self._store.clock()
        for priority in _PRIORITIES:
            newest = now if empty else self._newest.get(priority)
            if newest is not None and newest <= now:
                before = newest - self._patience
                count += await self._store.bulk.demote_lost(priority, before, also_later=empty)
        if count:
            self._telemetry.tell(Demoted(count, "they had no message left"))
