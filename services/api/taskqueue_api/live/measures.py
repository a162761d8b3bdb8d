"""What Prometheus is told of the store and the broker: from counters, as `GET /stats`. No task is looked at."""

import asyncio
import contextlib
import shutil
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric

from taskqueue.broker import Broker, BrokerError, BrokerState
from taskqueue.metrics import OTHER
from taskqueue.settings import Settings
from taskqueue.store import Store, StoreError
from taskqueue.store.reads import Measures
from taskqueue_api.live.totals import Totals

#: Actions that have names of their own among the labels; those that no worker has told, and more, are `other`.
ACTIONS_TOLD = 200
#: Upper bounds of the buckets, in seconds.
BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0)

#: (action, 'accepted' or a final status)
_Counted = tuple[str, str]
#: (action, 'wait' or 'run', upper bound in milliseconds)
_Timed = tuple[str, str, int]


class StoreMeasures:
    """What is told of the store; it keeps what has to grow although the store forgets."""

    def __init__(self, settings: Settings, store: Store, broker: Broker) -> None:
        self._settings = settings
        self._store = store
        self._broker = broker
        self._counts: Totals[_Counted] = Totals()
        self._times: Totals[_Timed] = Totals()
        self._reading = asyncio.Lock()

    async def read(self) -> list[Metric]:
        """All metrics of store and broker; where one is away, its own say so and the others are left out."""
        found = list(_of_settings(self._settings))
        try:
            async with self._reading:
                found += await self._of_store()
            up = 1
        except StoreError:
            up = 0
        found.append(_gauge("taskqueue_store_up", "Whether the store can be read.", up))
        found += await _of_broker(self._broker)
        return found

    async def _of_store(self) -> list[Metric]:
        store, queue = self._store, self._settings.queue
        now = store.clock()
        minute = now // 60_000
        read = await store.reads.measures(
            now=now, counts_since=self._counts.since(minute), times_since=self._times.since(minute)
        )
        names = {action.name for action in (await store.reads.actions())[:ACTIONS_TOLD]}
        counts = self._counts.add(
            ((at, (_known(action, names), what), count) for at, action, what, count in read.counts), minute
        )
        times = self._times.add(
            ((at, (_known(action, names), what, bound), count) for at, action, what, bound, count in read.times),
            minute,
        )
        return [*_of_tasks(read, queue, now), *_totals(counts, queue), *_histograms(times, queue)]


def _known(action: str, names: set[str]) -> str:
    return action if action in names else OTHER


def _of_tasks(read: Measures, queue: str, now: int) -> Iterator[Metric]:
    tasks = GaugeMetricFamily("taskqueue_tasks", "Tasks that there are.", labels=["queue", "status"])
    for status, count in read.by_status.items():
        tasks.add_metric([queue, status], count)
    yield tasks
    oldest = 0 if read.oldest_waiting is None else max(0, now - read.oldest_waiting) / 1000
    yield _gauge("taskqueue_oldest_waiting_seconds", "How long the longest waiting task has been due.", oldest)
    yield _gauge(
        "taskqueue_tasks_waiting_for_worker",
        "Tasks that wait for a worker that knows their action.",
        read.waiting_for_workers,
    )
    yield _gauge("taskqueue_workers", "Workers that are known.", read.workers)
    yield _gauge("taskqueue_worker_slots", "Tasks that the known workers run at a time, at most.", read.slots)
    yield CounterMetricFamily("taskqueue_events", "Events that there have ever been.", value=read.last_event)
    kept = read.last_event - read.first_event + 1
    yield _gauge("taskqueue_events_kept", "Events from which a stream can be resumed.", kept)


def _totals(counts: Counter[_Counted], queue: str) -> Iterator[Metric]:
    accepted = CounterMetricFamily("taskqueue_tasks_accepted", "Tasks accepted.", labels=["queue", "action"])
    finished = CounterMetricFamily(
        "taskqueue_tasks_finished", "Tasks that became final.", labels=["queue", "action", "status"]
    )
    for (action, what), count in sorted(counts.items()):
        if what == "accepted":
            accepted.add_metric([queue, action], count)
        else:
            finished.add_metric([queue, action, what], count)
    yield from (accepted, finished)


def _histograms(times: Counter[_Timed], queue: str) -> Iterator[Metric]:
    families = {
        "wait": HistogramMetricFamily(
            "taskqueue_wait_seconds", "From when a task was due to an attempt's start.", labels=["queue", "action"]
        ),
        "run": HistogramMetricFamily(
            "taskqueue_run_seconds", "How long attempts that gave a result took.", labels=["queue", "action"]
        ),
    }
    for action, what in sorted({(action, what) for action, what, _ in times}):
        mine = {
            bound / 1000: count for (name, kind, bound), count in times.items() if (name, kind) == (action, what)
        }
        families[what].add_metric([queue, action], _cumulative(mine), sum(b * count for b, count in mine.items()))
    yield from families.values()


def _cumulative(times: dict[float, int]) -> list[tuple[str, float]]:
    counts = [0] * (len(BUCKETS) + 1)
    for bound, count in times.items():
        counts[bisect_left(BUCKETS, bound)] += count
    total, told = 0, []
    for le, count in zip([*map(str, BUCKETS), "+Inf"], counts, strict=True):
        total += count
        told.append((le, float(total)))
    return told


def _of_settings(settings: Settings) -> Iterator[Metric]:
    yield _gauge(
        "taskqueue_backlog_limit",
        "Waiting tasks from which on new ones are refused; 0 is none.",
        settings.max_backlog,
    )
    size = GaugeMetricFamily("taskqueue_store_bytes", "Size of the database's files.", labels=["file"])
    for name, suffix in (("database", ""), ("wal", "-wal")):
        with contextlib.suppress(OSError):
            size.add_metric([name], Path(f"{settings.database}{suffix}").stat().st_size)
    yield size
    with contextlib.suppress(OSError):
        disk = shutil.disk_usage(settings.data_dir)
        yield _gauge("taskqueue_disk_free_bytes", "Room on the disk of the data folder.", disk.free)
        yield _gauge("taskqueue_disk_size_bytes", "Size of the disk of the data folder.", disk.total)


async def _of_broker(broker: Broker) -> list[Metric]:
    up = _gauge(
        "taskqueue_broker_up", "Whether the broker is connected.", broker.state is not BrokerState.DISCONNECTED
    )
    blocked = _gauge(
        "taskqueue_broker_blocked",
        "Whether the broker takes no messages for now.",
        broker.state is BrokerState.BLOCKED,
    )
    try:
        ready, dead = await broker.ready_count(), await broker.dead_count()
    except BrokerError:
        return [up, blocked]
    return [
        up,
        blocked,
        _gauge("taskqueue_queue_ready_messages", "Messages in the queue that no worker has yet.", ready),
        _gauge("taskqueue_dead_letters", "Messages that can't be tasks.", dead),
    ]


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(name, text, value=value)
