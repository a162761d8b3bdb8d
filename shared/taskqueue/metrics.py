"""What a process counts of what happens in it, for Prometheus: a listener of the telemetry.

What the store knows is not counted here: the API reads it there, and tells it once for all processes.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector

from taskqueue import telemetry
from taskqueue.actions import known_actions
from taskqueue.task import Outcome

#: Stands for the names of actions that this process doesn't know: anybody may choose them.
OTHER = "other"
#: Seconds between two looks at how late the event loop is.
_LOOK = 1
_SHORT = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


class Metrics:
    """The counters of one process; `count` is a listener."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._commit_seconds = Histogram(
            "taskqueue_commit_seconds",
            "How long a transaction took, once it had the database's write lock.",
            buckets=_SHORT,
            registry=self.registry,
        )
        self._lock_wait = Histogram(
            "taskqueue_lock_wait_seconds",
            "How long a transaction waited for the database's write lock.",
            buckets=_SHORT,
            registry=self.registry,
        )
        self._commit_writes = Histogram(
            "taskqueue_commit_writes",
            "How many writes shared a transaction.",
            buckets=(1, 2, 5, 10, 20, 50, 100, 200, 500, 1000),
            registry=self.registry,
        )
        publishes = self._counter(
            "taskqueue_publishes", "Messages handed to the broker, by what became of them.", "outcome"
        )
        refused = self._counter("taskqueue_submissions_refused", "Submissions that could not be made durable.")
        demoted = self._counter("taskqueue_demoted_tasks", "Queued tasks that had to be published again.")
        deliveries = self._counter(
            "taskqueue_deliveries", "Messages that a worker took and settled, by what they were.", "result"
        )
        self._attempts = self._counter(
            "taskqueue_attempts", "Attempts whose outcome was recorded here.", "action", "outcome"
        )
        self._ends: dict[tuple[str, Outcome], Counter] = {}
        self._running = Gauge("taskqueue_attempts_running", "Attempts under way here.", registry=self.registry)
        lost = self._counter("taskqueue_workers_lost", "Workers that this one took for lost, and rescued.")
        missed = self._counter("taskqueue_beats_missed", "Heartbeats that could not be written.")
        put_off = self._counter("taskqueue_sweeps_put_off", "Sweeps that could not be done.", "sweep")
        self._lag = Histogram(
            "taskqueue_loop_lag_seconds",
            "How late the event loop came back to a timer, once a second.",
            buckets=_SHORT,
            registry=self.registry,
        )
        claimed, unknown, duplicate, buried = (
            deliveries.labels(result) for result in ("claimed", "unknown_action", "duplicate", "dead_letter")
        )
        confirmed, unconfirmed = publishes.labels("confirmed"), publishes.labels("unconfirmed")
        self._takes: dict[type, list[Callable[[Any], None]]] = {
            telemetry.Committed: [self._committed],
            telemetry.Published: [lambda _: confirmed.inc()],
            telemetry.NotConfirmed: [lambda _: unconfirmed.inc()],
            telemetry.TaskRefused: [lambda _: refused.inc()],
            telemetry.Demoted: [lambda told: demoted.inc(told.tasks)],
            telemetry.TaskClaimed: [lambda _: claimed.inc(), lambda _: self._running.inc()],
            telemetry.TaskEnded: [self._ended],
            telemetry.TaskSetAside: [lambda _: unknown.inc()],
            telemetry.TaskGivenUp: [lambda _: unknown.inc()],
            telemetry.DuplicateDropped: [lambda _: duplicate.inc()],
            telemetry.MessageBuried: [lambda _: buried.inc()],
            telemetry.WorkerLost: [lambda _: lost.inc()],
            telemetry.BeatMissed: [lambda _: missed.inc()],
            telemetry.SweepPutOff: [lambda told: put_off.labels(told.sweep).inc()],
        }

    def count(self, happening: object) -> None:
        """Count what is told; some of it counts for nothing."""
        for take in self._takes.get(type(happening), ()):
            take(happening)

    def _committed(self, told: telemetry.Committed) -> None:
        self._commit_seconds.observe(told.seconds)
        self._lock_wait.observe(told.waited)
        self._commit_writes.observe(told.writes)

    def _ended(self, told: telemetry.TaskEnded) -> None:
        self._running.dec()
        action, outcome = told.claim.action, told.outcome
        ended = self._ends.get((action, outcome))
        if ended is None:
            name = _name(action)
            ended = self._attempts.labels(name, outcome)
            if name != OTHER:  # of those there may be any number
                self._ends[action, outcome] = ended
        ended.inc()

    @contextlib.asynccontextmanager
    async def watching_the_loop(self) -> AsyncIterator[None]:
        """Measure meanwhile how late the event loop is."""
        watching = asyncio.create_task(self._watch())
        try:
            yield
        finally:
            watching.cancel()

    async def _watch(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + _LOOK
            await asyncio.sleep(_LOOK)
            self._lag.observe(max(0, loop.time() - due))

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(name, text, labels, registry=self.registry)


def _name(action: str) -> str:
    return action if any(action == known.name for known in known_actions()) else OTHER
