"""The lifecycle in plain Python: tasks, the edges between their statuses, and what is told of each change.

The store and the API are held to it. Guards are properties of a task; an edge is taken without a look at them.
Times are Unix milliseconds; results, errors and progress are whatever the caller tells them as.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

STATUSES = ("pending", "queued", "running", "completed", "failed", "cancelled")
FINAL = ("completed", "failed", "cancelled")


@dataclass
class Attempt:
    worker: str
    started_at: int
    request_id: str | None
    ended_at: int | None = None
    outcome: str | None = None
    error: Any = None


@dataclass(frozen=True)
class Event:
    at: int
    id: str
    action: str
    tags: tuple[str, ...]
    status: str
    attempt: int
    progress: Any = None


@dataclass
class Task:
    """What should be known of a task."""

    id: str
    action: str
    created_at: int
    run_at: int
    priority: int
    #: None: it has not been claimed yet, and doesn't say.
    max_attempts: int | None
    tags: tuple[str, ...] = ()
    #: The request that submitted it, or retried it last.
    request_id: str | None = None
    #: The task that submitted it.
    parent: str | None = None
    #: Its place; the store gives it.
    seq: int = 0
    status: str = "pending"
    queued_at: int | None = None
    #: Who publishes it may, and nobody else, until then.
    dispatch_id: str | None = None
    dispatch_until: int | None = None
    worker: str | None = None
    cancel_requested: bool = False
    #: Since when it waits for a worker that knows its action.
    unknown_since: int | None = None
    failures: int = 0
    result: Any = None
    error: Any = None
    progress: Any = None
    processed_at: int | None = None
    attempts: list[Attempt] = field(default_factory=list)
    #: How each run of it ended: the last one is the present one's, if that has ended.
    outcomes: list[str] = field(default_factory=list)
    runs: int = 1

    @property
    def attempt(self) -> int:
        return len(self.attempts)

    def is_published_by(self, dispatch_id: str, status: str) -> bool:
        """Whether this publish may still settle, demote or mark it."""
        return self.status == status and self.dispatch_id == dispatch_id

    def is_held_by(self, worker: str, attempt: int) -> bool:
        return self.status == "running" and (self.worker, self.attempt) == (worker, attempt)

    def event(self, at: int, progress: Any = None) -> Event:
        return Event(at, self.id, self.action, self.tags, self.status, self.attempt, progress)


class Lifecycle:
    """The tasks, and what was told of them."""

    def __init__(self, now: int, lease: int, patience: int = 86_400_000) -> None:
        self.now = now
        #: How long a task waits for a worker that knows its action.
        self.patience = patience
        #: How long dispatch leases last.
        self.lease = lease
        #: In the order of their acceptance.
        self.tasks: dict[str, Task] = {}
        #: Those that were deleted, as they were.
        self.gone: dict[str, Task] = {}
        #: Each known worker's beats.
        self.workers: dict[str, int] = {}
        self.events: list[Event] = []
        #: (minute, action, 'accepted' or a final status)
        self.counts: Counter[tuple[int, str, str]] = Counter()
        #: (minute, action, 'wait' or 'run', milliseconds)
        self.times: Counter[tuple[int, str, str, int]] = Counter()

    def known(self, id: str) -> Task:
        """A task that there is, or was: what is about it may come late."""
        return self.tasks.get(id) or self.gone[id]

    def open_tasks(self) -> list[Task]:
        return [task for task in self.tasks.values() if task.status not in FINAL]

    def run_by(self, worker: str) -> list[Task]:
        return [task for task in self.tasks.values() if task.worker == worker]

    # Guards that the time decides

    def is_claimable(self, task: Task) -> bool:
        """What was published was due then, whatever the clock says now."""
        due = task.run_at <= self.now or task.dispatch_id is not None
        return task.status == "queued" or (task.status == "pending" and due)

    def is_leasable(self, task: Task) -> bool:
        free = task.dispatch_until is None or self._is_over(task.dispatch_until)
        return task.status == "pending" and task.run_at <= self.now and free

    def is_abandoned(self, task: Task) -> bool:
        """Its publisher is gone: its lease has run out, or reaches further than leases last."""
        return task.status == "queued" and task.dispatch_until is not None and self._is_over(task.dispatch_until)

    def _is_over(self, until: int) -> bool:
        return until <= self.now or until > self.now + self.lease

    def waited(self, task: Task) -> int:
        """For how long a task has waited for a worker that knows its action."""
        return 0 if task.unknown_since is None else max(0, self.now - task.unknown_since)

    def may_be_taken_up(self, task: Task) -> bool:
        return task.unknown_since is not None and task.status == "pending" and task.run_at > self.now

    # Into the queue

    def submit(self, task: Task, dispatch_id: str | None = None) -> None:
        self.tasks[task.id] = task
        if dispatch_id is not None:
            task.status, task.queued_at = "queued", self.now
            self.take_lease(task, dispatch_id)
        self.events.append(task.event(task.created_at))
        self.counts[task.created_at // 60_000, task.action, "accepted"] += 1

    def take_lease(self, task: Task, dispatch_id: str) -> None:
        task.dispatch_id, task.dispatch_until = dispatch_id, self.now + self.lease

    def settle(self, task: Task) -> None:
        task.dispatch_id = task.dispatch_until = None

    def demote(self, task: Task) -> None:
        task.run_at = min(task.run_at, self.now)
        self._move(task, "pending")

    def mark_queued(self, task: Task) -> None:
        self._move(task, "queued")
        task.queued_at = self.now

    # One attempt

    def claim(self, task: Task, worker: str, attempts: int = 1) -> None:
        """With so many attempts, if it doesn't say."""
        task.max_attempts = task.max_attempts or attempts
        self._took(task, "wait", self.now - task.run_at)
        task.attempts.append(Attempt(worker, self.now, task.request_id))
        self._move(task, "running")
        task.worker, task.progress = worker, None

    def set_aside(self, task: Task) -> None:
        """Who got it doesn't know its action: it waits for as long as it has waited so far, within bounds."""
        waited = self.waited(task)
        since, pause = self.now - waited, min(max(waited, 1_000), 60_000, self.patience - waited)
        self._move(task, "pending")
        task.unknown_since, task.run_at = since, self.now + pause

    def give_up(self, task: Task) -> None:
        self._move(task, "failed")

    def take_up(self, task: Task) -> None:
        """Who knows its action has come."""
        assert task.unknown_since is not None
        task.run_at = min(task.unknown_since, self.now)

    def tell_progress(self, task: Task, progress: Any) -> None:
        task.progress = progress
        self.events.append(task.event(self.now, progress))

    def complete(self, task: Task, result: Any, submitted: Sequence[Task] = ()) -> None:
        """With the tasks that it submits."""
        self._took(task, "run", self.now - task.attempts[-1].started_at)
        task.result, task.error = result, None
        self._end(task, "ok", None, "completed")
        for child in submitted:
            self.submit(child)

    def children_of(self, task: Task) -> list[str]:
        """Those that are there, in their order."""
        return [child.id for child in self.tasks.values() if child.parent == task.id]

    def back_off(self, task: Task, outcome: str, error: Any, run_at: int) -> None:
        if not self._cancelled(task, error):
            task.failures, task.error, task.run_at = task.failures + 1, error, run_at
            self._end(task, outcome, error, "pending")

    def fail(self, task: Task, outcome: str, error: Any) -> None:
        if not self._cancelled(task, error):
            task.failures, task.error = task.failures + 1, error
            self._end(task, outcome, error, "failed")

    def release(self, task: Task) -> None:
        if not self._cancelled(task, None):
            task.run_at = self.now
            self._end(task, "shutdown", None, "pending")

    def snooze(self, task: Task, run_at: int) -> None:
        if not self._cancelled(task, None):
            task.run_at = run_at
            self._end(task, "snoozed", None, "pending")

    def _cancelled(self, task: Task, error: Any) -> bool:
        """A cancel that was asked wins over all but a result."""
        if task.cancel_requested:
            task.error = error
            self._end(task, "cancelled", error, "cancelled")
        return task.cancel_requested

    def _end(self, task: Task, outcome: str, error: Any, status: str) -> None:
        attempt = task.attempts[-1]
        attempt.ended_at, attempt.outcome, attempt.error = self.now, outcome, error
        self._move(task, status)

    # What workers do with each other

    def beat(self, worker: str) -> None:
        self.workers[worker] = self.workers.get(worker, -1) + 1

    def rescue(self, worker: str, error: Any, pause: int) -> None:
        """The pause is for each failure so far."""
        for task in self.run_by(worker):
            assert task.max_attempts is not None
            if task.failures + 1 < task.max_attempts:
                self.back_off(task, "worker_lost", error, self.now + pause * (task.failures + 1))
            else:
                self.fail(task, "worker_lost", error)
        del self.workers[worker]

    def retire(self, worker: str) -> None:
        for task in self.run_by(worker):
            self.release(task)
        self.workers.pop(worker, None)

    # What clients ask for

    def cancel(self, task: Task) -> None:
        if task.status not in FINAL:
            task.cancel_requested = True
        if task.status in {"pending", "queued"}:
            self._move(task, "cancelled")

    def retry(self, task: Task, request_id: str | None) -> None:
        task.run_at, task.failures, task.cancel_requested, task.error = self.now, 0, False, None
        task.processed_at, task.request_id = None, request_id
        task.runs += 1
        self._move(task, "pending")

    def delete(self, task: Task) -> None:
        self.gone[task.id] = self.tasks.pop(task.id)

    # What is told

    def _move(self, task: Task, status: str) -> None:
        task.status = status
        task.worker = task.queued_at = task.dispatch_id = task.dispatch_until = None
        if status in FINAL or status == "running":
            task.unknown_since = None
        self.events.append(task.event(self.now))
        if status in FINAL:
            task.processed_at = self.now
            task.outcomes.append(status)
            self.counts[self.now // 60_000, task.action, status] += 1

    def _took(self, task: Task, what: str, milliseconds: int) -> None:
        self.times[self.now // 60_000, task.action, what, milliseconds] += 1

    def all_tasks(self) -> Iterator[Task]:
        """Also those that are gone."""
        yield from self.tasks.values()
        yield from self.gone.values()
