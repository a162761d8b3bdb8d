"""What clients of the API should be told, in plain Python: tasks, their events, and the answers that keys keep."""

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

JSON = dict[str, Any]

STATUSES = ("pending", "queued", "running", "completed", "failed", "cancelled")
FINAL = ("completed", "failed", "cancelled")

#: The statuses that a client may act on, by verb.
APPLIES_TO = {
    "cancel": ("pending", "queued", "running"),
    "retry": ("failed", "cancelled"),
    "delete": FINAL,
}
#: A setting.
MAX_ATTEMPTS = 3
ERROR: JSON = {"type": "Mistake", "message": "it went wrong", "traceback": None}


@dataclass(frozen=True)
class Submission:
    """A request that submits tasks, as it is sent."""

    path: str
    content_type: str
    body: bytes
    #: The members of each task.
    tasks: tuple[JSON, ...]

    @classmethod
    def single(cls, members: JSON) -> "Submission":
        return cls("/tasks", "application/json", json.dumps(members).encode(), (members,))

    @classmethod
    def batch(cls, tasks: Iterable[JSON], *, lines: bool) -> "Submission":
        tasks = tuple(tasks)
        if lines:
            body = "\n".join(json.dumps(members) for members in tasks)
            return cls("/tasks/batch", "application/x-ndjson", body.encode(), tasks)
        return cls("/tasks/batch", "application/json", json.dumps({"tasks": tasks}).encode(), tasks)


@dataclass(frozen=True)
class FirstAnswer:
    """What an `Idempotency-Key` remembers."""

    request: Submission
    body: JSON


@dataclass(frozen=True)
class Event:
    id: str
    action: str
    tags: list[str]
    status: str
    attempt: int
    progress: JSON | None


@dataclass
class Attempt:
    worker: str
    request_id: str
    outcome: str | None = None
    error: JSON | None = None


@dataclass
class Task:
    """What should be known of a task."""

    id: str
    created_at: float
    #: None once only the store's clock knows it.
    run_at: float | None
    #: Whether that time has come.
    due: bool
    #: The request that submitted it, or retried it last.
    request_id: str
    action: str
    data: JSON
    tags: list[str]
    priority: str
    max_attempts: int
    timeout: float | None
    status: str = "pending"
    result: JSON | None = None
    error: JSON | None = None
    progress: JSON | None = None
    failures: int = 0
    cancel_requested: bool = False
    attempts: list[Attempt] = field(default_factory=list)

    @property
    def claimable(self) -> bool:
        return self.status == "queued" or (self.status == "pending" and self.due)

    def told(self) -> JSON:
        """The members of an answer about it, but for the times that only the store's clock knows."""
        return {
            "id": self.id,
            "action": self.action,
            "payload": {
                "id": self.id,
                "action": self.action,
                "data": self.data,
                "created_at": self.created_at,
            },
            "status": self.status,
            "result": self.result,
            "error": self.error,
            "progress": self.progress,
            "tags": self.tags,
            "created_at": self.created_at,
            "priority": self.priority,
            "attempt": len(self.attempts),
            "failures": self.failures,
            "max_attempts": self.max_attempts,
            "timeout": self.timeout,
            "cancel_requested": self.cancel_requested,
            "request_id": self.request_id,
        } | ({} if self.run_at is None else {"run_at": self.run_at})

    def told_attempts(self) -> list[JSON]:
        return [{"number": number} | vars(attempt) for number, attempt in enumerate(self.attempts, 1)]

    def told_whole(self) -> JSON:
        return self.told() | {"attempts": self.told_attempts()}

    def event(self, progress: JSON | None = None) -> Event:
        return Event(self.id, self.action, self.tags, self.status, len(self.attempts), progress)


@dataclass(frozen=True)
class Filter:
    """Which tasks: those that fit all that is given."""

    status: tuple[str, ...] = ()
    action: str | None = None
    tag: str | None = None
    created_after: float | None = None
    created_before: float | None = None

    def fits(self, task: Task | Event) -> bool:
        return (
            (not self.status or task.status in self.status)
            and self.action in (None, task.action)
            and (self.tag is None or self.tag in task.tags)
        )

    def fits_task(self, task: Task) -> bool:
        return (
            self.fits(task)
            and (self.created_after is None or task.created_at >= self.created_after)
            and (self.created_before is None or task.created_at < self.created_before)
        )

    def members(self) -> JSON:
        given = {name: value for name, value in vars(self).items() if value is not None}
        return given | {"status": list(self.status)}

    def parameters(self, *, commas: bool = True) -> list[tuple[str, str]]:
        """For a query string; several statuses as one parameter, or one each."""
        given = [(name, str(value)) for name, value in self.members().items() if name != "status"]
        if commas:
            return given + ([("status", ",".join(self.status))] if self.status else [])
        return given + [("status", status) for status in self.status]


class Model:
    """The tasks and all that is told about them; each method is what a client or a worker can do."""

    def __init__(self) -> None:
        #: In the order of their acceptance.
        self.tasks: dict[str, Task] = {}
        self.gone: list[str] = []
        self.first_answers: dict[str, FirstAnswer] = {}
        self.events: list[Event] = []
        #: What `/stats` counts: (action, "accepted" or a final status).
        self.counts: Counter[tuple[str, str]] = Counter()
        #: Messages that the broker has been given.
        self.published = 0

    def found(self, wanted: Filter, *statuses: str) -> list[Task]:
        """Those that fit, newest first."""
        return [
            task
            for task in reversed(self.tasks.values())
            if wanted.fits_task(task) and (not statuses or task.status in statuses)
        ]

    # Clients

    def accept(self, id: str, members: JSON, created_at: float, request_id: str) -> Task:
        run_at = members.get("run_at")
        if run_at is None:
            run_at = created_at + (members.get("delay") or 0)
        task = self.tasks[id] = Task(
            id=id,
            created_at=created_at,
            run_at=round(run_at, 3),
            due=run_at <= created_at,
            request_id=request_id,
            action=members["action"],
            data=members.get("data", {}),
            tags=members.get("tags", []),
            priority=members.get("priority", "normal"),
            max_attempts=members.get("max_attempts") or MAX_ATTEMPTS,
            timeout=members.get("timeout"),
        )
        self.events.append(task.event())
        self.counts[task.action, "accepted"] += 1
        if task.due:  # published, and marked at once
            self.published += 1
            self._move(task, "queued")
        return task

    def cancel(self, task: Task) -> None:
        task.cancel_requested = True
        if task.status != "running":
            self._move(task, "cancelled")

    def retry(self, task: Task, request_id: str) -> None:
        task.failures, task.error, task.cancel_requested = 0, None, False
        task.request_id = request_id
        self._wait(task, due=True)

    def delete(self, task: Task) -> None:
        del self.tasks[task.id]
        self.gone.append(task.id)

    def act(self, verb: str, task: Task, request_id: str) -> None:
        match verb:
            case "cancel":
                self.cancel(task)
            case "retry":
                self.retry(task, request_id)
            case "delete":
                self.delete(task)

    # Workers

    def claim(self, task: Task, worker: str) -> None:
        task.attempts.append(Attempt(worker, task.request_id))
        task.progress = None
        self._move(task, "running")

    def tell_progress(self, task: Task, progress: JSON) -> None:
        task.progress = progress
        self.events.append(task.event(progress))

    def complete(self, task: Task, result: JSON) -> None:
        task.attempts[-1].outcome = "ok"
        task.result, task.error = result, None
        self._move(task, "completed")

    def end(self, task: Task, outcome: str, status: str, *, due: bool = True) -> None:
        """An end without a result: a cancel that was asked wins."""
        error = None if outcome == "shutdown" else ERROR
        cancelled = task.cancel_requested
        task.attempts[-1].outcome = "cancelled" if cancelled else outcome
        task.attempts[-1].error = error
        if error or cancelled:
            task.error = error
        if cancelled:
            self._move(task, "cancelled")
            return
        task.failures += error is not None
        if status == "pending":
            self._wait(task, due=due)
        else:
            self._move(task, status)

    def _wait(self, task: Task, *, due: bool) -> None:
        task.run_at, task.due = None, due
        self._move(task, "pending")

    def _move(self, task: Task, status: str) -> None:
        task.status = status
        self.events.append(task.event())
        if status in FINAL:
            self.counts[task.action, status] += 1
