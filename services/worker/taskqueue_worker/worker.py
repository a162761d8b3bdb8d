"""A worker's life: start, work until told to stop, drain."""

import asyncio
import contextlib
import json
import logging
import os
import socket
import uuid

from taskqueue.actions import HandlersError, describe_actions, load_handlers
from taskqueue.broker import Broker, BrokerState
from taskqueue.dispatch import requeue_when_the_queue_was_lost
from taskqueue.process import FatalError
from taskqueue.settings import Settings
from taskqueue.store import TaskStore, WorkerInfo, now_ms
from taskqueue.task import Outcome
from taskqueue_worker.consume import Slot, until_stored
from taskqueue_worker.execute import GRACE, Runs
from taskqueue_worker.heartbeat import BEATS_PER_LEASE, Heartbeat
from taskqueue_worker.retention import PRUNE_INTERVAL, Retention
from taskqueue_worker.sweeps import Reconciler, Relay, Rescuer, beat_interval, repeat

log = logging.getLogger("taskqueue.worker")

#: Leases (a minute at the default) that a consumer may be missing while the broker is there.
LEASES_DETACHED = 4


async def work(settings: Settings, store: TaskStore, broker: Broker, stop: asyncio.Event) -> None:
    """Run tasks until `stop`, then drain: finish what runs, give the rest back.

    Raises:
        FatalError: the handlers can't be loaded, or every slot is held by a handler that ignores its timeout.
        StoreError: the store can't be written at the start.
    """
    try:
        actions = load_handlers(settings.handlers)
    except HandlersError as error:
        raise FatalError(str(error)) from error
    me = WorkerInfo(
        id=uuid.uuid4().hex,
        host=socket.gethostname(),
        pid=os.getpid(),
        consumers=settings.consumers,
        prefetch=settings.prefetch,
        started_at=now_ms(),
        actions=json.dumps(describe_actions()),
    )
    runs: Runs = {}
    slots: list[Slot] = []
    async with contextlib.AsyncExitStack() as stack:
        heartbeat = await stack.enter_async_context(
            Heartbeat.beating(settings, me, runs, lambda: _healthy(broker, slots))
        )
        consumers = [
            await stack.enter_async_context(broker.consume(settings.prefetch)) for _ in range(settings.consumers)
        ]
        slots += [Slot(me.id, consumer, store, settings, runs) for consumer in consumers]
        working = [asyncio.create_task(slot.work()) for slot in slots]
        sweeping = [
            asyncio.create_task(repeat(settings.relay_interval, Relay(settings, store, broker).relay)),
            asyncio.create_task(repeat(beat_interval(settings), Rescuer(settings, store, heartbeat).rescue)),
            asyncio.create_task(
                repeat(settings.reconcile_after / 4, Reconciler(settings, store, broker).reconcile)
            ),
            asyncio.create_task(requeue_when_the_queue_was_lost(store, broker)),
            asyncio.create_task(repeat(PRUNE_INTERVAL, Retention(settings, store).prune)),
        ]
        log.info("worker started", extra={"worker": me.id, "actions": ",".join(actions)})
        stopping = asyncio.create_task(stop.wait())
        watching = asyncio.create_task(_watch_slots(slots))
        attending = asyncio.create_task(_watch_consumers(settings, slots, broker))
        ended, _ = await asyncio.wait(
            {stopping, watching, attending, *working, *sweeping}, return_when=asyncio.FIRST_COMPLETED
        )
        log.info("stopping: no new tasks, finishing %d", len(runs))
        await _drain(settings, slots, working, runs)
        for task in (stopping, watching, attending, *sweeping):
            task.cancel()
        await asyncio.wait({stopping, watching, attending, *sweeping})
        await heartbeat.stop()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(settings.write_timeout):
                await until_stored(lambda: store.retire_worker(me.id), "the worker's goodbye")
    for task in ended - {stopping}:
        task.result()  # raises what ended this worker


async def _drain(settings: Settings, slots: list[Slot], working: list[asyncio.Task[None]], runs: Runs) -> None:
    await asyncio.gather(*(slot.stop(task) for slot, task in zip(slots, working, strict=True)))
    _, unfinished = await asyncio.wait(working, timeout=settings.drain_timeout)
    if not unfinished:
        return
    for run in list(runs.values()):
        run.interrupt(Outcome.SHUTDOWN)
    _, unfinished = await asyncio.wait(unfinished, timeout=GRACE + 1)
    for task in unfinished:
        task.cancel()
    if unfinished:
        await asyncio.wait(unfinished)


def _healthy(broker: Broker, slots: list[Slot]) -> bool:
    return broker.state is not BrokerState.DISCONNECTED and not any(slot.detached for slot in slots)


async def _watch_slots(slots: list[Slot]) -> None:
    while not all(slot.stuck.is_set() for slot in slots):
        for slot in slots:
            await slot.stuck.wait()
    raise FatalError("every consumer is held by a handler that ignores its timeout: this worker must restart")


async def _watch_consumers(settings: Settings, slots: list[Slot], broker: Broker) -> None:
    """A worker that looks well and takes no tasks is worse than one that is started anew."""
    interval = beat_interval(settings)
    looks = 0
    while looks < LEASES_DETACHED * BEATS_PER_LEASE:
        await asyncio.sleep(interval)
        detached = broker.state is BrokerState.CONNECTED and any(slot.detached for slot in slots)
        looks = looks + 1 if detached else 0
    raise FatalError("the broker is there, but a consumer could not be restored: this worker must restart")
