"""A worker's life: start, work until told to stop, drain."""

import asyncio
import contextlib
import functools
import importlib.util
import json
import os
import socket
from collections.abc import AsyncIterator, Awaitable
from random import Random
from typing import Any, TypeVar

from taskqueue.actions import (
    FALLBACK,
    HandlersError,
    describe_actions,
    known_actions,
    load_handlers,
    package_versions,
)
from taskqueue.broker import Broker, BrokerState
from taskqueue.dispatch import demote_when_the_queue_was_lost
from taskqueue.process import FatalError
from taskqueue.settings import Settings
from taskqueue.store import CatchAll, Repertoire, Store, WorkerInfo
from taskqueue.store.workers import Held, retire
from taskqueue.task import Outcome
from taskqueue.telemetry import Telemetry, WorkerStarted, WorkerStopping
from taskqueue.version import VERSION
from taskqueue_worker.beside import Beside
from taskqueue_worker.children.pool import Children
from taskqueue_worker.consume import Duty, Slot
from taskqueue_worker.execute import GRACE, RunInChild, Runs
from taskqueue_worker.heartbeat import BEATS_PER_LEASE, Heartbeat, beat_interval
from taskqueue_worker.resources import Resources
from taskqueue_worker.retention import PRUNE_INTERVAL, RECOUNT_INTERVAL, Retention
from taskqueue_worker.storing import until_stored
from taskqueue_worker.strays import Strays
from taskqueue_worker.sweeps import Reconciler, Relay, Rescuer, repeat
from taskqueue_worker.taking_up import Taker

T = TypeVar("T")

#: Leases (a minute at the default) that a consumer may be missing while the broker is there.
LEASES_DETACHED = 4


async def work(
    settings: Settings,
    store: Store,
    broker: Broker,
    telemetry: Telemetry,
    stop: asyncio.Event,
    random: Random | None = None,
    beside: Beside | None = None,
) -> None:
    """Run tasks until `stop`, then drain: finish what runs, give the rest back.

    Args:
        random: draws pauses and names; None takes a new one.
        beside: what runs beside the loop; None takes threads.

    Raises:
        FatalError: the handlers can't be loaded, a resource of theirs can't be opened, or every slot is held by a
            handler that ignores its timeout.
        StoreError: the store can't be written at the start.
    """
    settings = _with_handlers(settings)
    try:
        actions = load_handlers(settings.handlers or "")
    except HandlersError as error:
        raise FatalError(str(error)) from error
    described = describe_actions()
    random, beside = random or Random(), beside or Beside()
    me = _myself(settings, f"{random.getrandbits(128):032x}", store.clock(), described)
    repertoire = _repertoire(described)
    runs: Runs = {}
    slots: list[Slot] = []
    strays = Strays(store, lambda id: any(slot.holds(id) for slot in slots), telemetry)

    def beaten(held: list[Held]) -> None:
        for task in held:
            run = runs.get((task.claim.id, task.claim.attempt))
            if run and task.cancel_requested:
                run.interrupt(Outcome.CANCELLED)
        strays.look(held)
        if settings.health_file and _healthy(broker, slots):
            settings.health_file.touch()

    async with contextlib.AsyncExitStack() as stack:
        # Before anything is taken, and until all that was is over.
        opened = await _unless_stopped(stop, stack.enter_async_context(_opened(settings, telemetry)))
        if opened is None:
            return
        duty = Duty(me.id, repertoire, settings, store, telemetry, random, beside, *opened, runs)
        heartbeat = await stack.enter_async_context(
            Heartbeat.beating(settings, me, store, runs, beaten, telemetry, beside)
        )
        consumers = [
            await stack.enter_async_context(broker.consume(settings.prefetch)) for _ in range(settings.consumers)
        ]
        slots += [Slot(duty, consumer) for consumer in consumers]
        working = [asyncio.create_task(slot.work()) for slot in slots]
        relay = Relay(settings, store, broker, telemetry, random)
        rescuer = Rescuer(settings, store, heartbeat, telemetry, random)
        reconciler = Reconciler(settings, store, broker, duty.newest, telemetry)
        retention = Retention(settings, store, telemetry)
        taker = Taker(settings, repertoire, store, lambda: any(slot.run is None for slot in slots), telemetry)
        sweeping = [
            asyncio.create_task(repeat(interval, sweep, telemetry, due=due))
            for interval, sweep, due in (
                (settings.relay_interval, relay.relay, duty.due),
                (beat_interval(settings), rescuer.rescue, None),
                (settings.reconcile_after / 4, reconciler.reconcile, None),
                (PRUNE_INTERVAL, retention.prune, None),
                (settings.relay_interval, taker.take_up, None),
            )
        ]
        # It counts all tasks: not as long as a start is busy, nor in the same moment as the other workers.
        pause = random.uniform(0, RECOUNT_INTERVAL)
        sweeping += [
            asyncio.create_task(repeat(RECOUNT_INTERVAL, retention.recount, telemetry, after=pause)),
            asyncio.create_task(demote_when_the_queue_was_lost(store, broker, telemetry)),
        ]
        telemetry.tell(WorkerStarted(me.id, tuple(actions)))
        stopping = asyncio.create_task(stop.wait())
        watching = asyncio.create_task(_watch_slots(slots))
        attending = asyncio.create_task(_watch_consumers(settings, slots, broker))
        ended, _ = await asyncio.wait(
            {stopping, watching, attending, *working, *sweeping}, return_when=asyncio.FIRST_COMPLETED
        )
        telemetry.tell(WorkerStopping(len(runs)))
        await _drain(settings, slots, working, runs)
        for task in (stopping, watching, attending, *sweeping):
            task.cancel()
        await asyncio.wait({stopping, watching, attending, *sweeping})
        await heartbeat.stop()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(settings.write_timeout):
                await until_stored(lambda: store.write(retire, me.id), "the worker's goodbye", telemetry, random)
    for task in ended - {stopping}:
        task.result()  # raises what ended this worker


async def _unless_stopped(stop: asyncio.Event, opening: Awaitable[T]) -> T | None:
    """What is opened, which may take long; None where the stop came first, and it was cancelled."""
    stopping = asyncio.create_task(stop.wait())
    try:
        # In this same task: what a resource enters there, it has to leave there.
        async with asyncio.timeout(None) as patience:
            end = functools.partial(_expire, patience)
            stopping.add_done_callback(end)
            try:
                return await opening
            finally:
                stopping.remove_done_callback(end)
    except TimeoutError:
        if not patience.expired():
            raise
        return None
    finally:
        stopping.cancel()


def _expire(patience: asyncio.Timeout, _stopping: asyncio.Task[Any]) -> None:
    patience.reschedule(0)


@contextlib.asynccontextmanager
async def _opened(settings: Settings, telemetry: Telemetry) -> AsyncIterator[tuple[Resources, RunInChild | None]]:
    """What handlers need beside their tasks: the resources of those that run here, and child processes.

    Raises:
        FatalError: a resource can't be opened, or a child can't load the handlers.
    """
    # Where no module is named, as in a test of a user's, a child would have nothing to load.
    elsewhere = "process" if settings.handlers else None
    here = [action for action in known_actions() if action.executor != elsewhere]
    async with Resources.opened(here, telemetry) as resources:
        if len(here) == len(known_actions()):
            yield resources, None
        else:
            async with Children(settings) as children:
                yield resources, children.run


def _with_handlers(settings: Settings) -> Settings:
    """Where none are named: the package that this repository, its image or a user has; else, in a bare
    installation, the examples. Child processes load the same."""
    if settings.handlers is not None:
        return settings
    handlers = "handlers" if importlib.util.find_spec("handlers") else "taskqueue_worker.examples"
    return settings.model_copy(update={"handlers": handlers})


def _myself(settings: Settings, id: str, now: int, actions: list[dict[str, Any]]) -> WorkerInfo:
    return WorkerInfo(
        id=id,
        host=socket.gethostname(),
        pid=os.getpid(),
        consumers=settings.consumers,
        prefetch=settings.prefetch,
        started_at=now,
        queue=settings.queue,
        actions=json.dumps(actions),
        versions=json.dumps({"taskqueue": VERSION} | package_versions()),
    )


def _repertoire(actions: list[dict[str, Any]]) -> Repertoire:
    own = {action["name"]: action["own"] for action in actions}
    catch_all = None
    if FALLBACK in own:
        catch_all = CatchAll.OWN if own.pop(FALLBACK) else CatchAll.SHIPPED
    return Repertoire(frozenset(own), catch_all)


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
