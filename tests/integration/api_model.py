"""What the API should tell of the lifecycle (`tests/lifecycle.py`), and the answers that keys keep."""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from tests import lifecycle
from tests.lifecycle import FINAL, Event, Lifecycle

JSON = dict[str, Any]

#: The statuses that a client may act on, by verb.
APPLIES_TO = {
    "cancel": ("pending", "queued", "running"),
    "retry": ("failed", "cancelled"),
    "delete": FINAL,
}
PRIORITIES = {"high": 8, "normal": 4, "low": 0}
#: Settings; a lease is in milliseconds.
MAX_ATTEMPTS, LEASE = 3, 30_000
RESULT: JSON = {"output": "done"}
ERROR: JSON = {"type": "Mistake", "message": "it went wrong", "traceback": None}
#: Milliseconds of a long backoff.
LONG = 3_600_000


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


@dataclass
class Task(lifecycle.Task):
    """What should be known of a task."""

    data: JSON = field(default_factory=dict)
    #: Seconds.
    timeout: float | None = None

    def told(self) -> JSON:
        """The members of an answer about it."""
        payload = {"id": self.id, "action": self.action, "data": self.data, "created_at": seconds(self.created_at)}
        return {
            "id": self.id,
            "action": self.action,
            "data": self.data,
            "payload": payload,
            "status": self.status,
            "result": self.result,
            "error": self.error,
            "progress": self.progress,
            "tags": list(self.tags),
            "created_at": seconds(self.created_at),
            "run_at": seconds(self.run_at),
            "processed_at": seconds(self.processed_at),
            "priority": next(name for name, priority in PRIORITIES.items() if priority == self.priority),
            "attempt": self.attempt,
            "failures": self.failures,
            "max_attempts": self.max_attempts,
            "timeout": self.timeout,
            "cancel_requested": self.cancel_requested,
            "waiting_for": None,
            "request_id": self.request_id,
            "parent": None,
        }

    def told_whole(self) -> JSON:
        return self.told() | {
            "attempts": [
                {
                    "number": number,
                    "worker": attempt.worker,
                    "started_at": seconds(attempt.started_at),
                    "ended_at": seconds(attempt.ended_at),
                    "outcome": attempt.outcome,
                    "error": attempt.error,
                    "request_id": attempt.request_id,
                }
                for number, attempt in enumerate(self.attempts, 1)
            ],
            "children": [],
        }


def seconds(milliseconds: int | None) -> float | None:
    return None if milliseconds is None else milliseconds / 1000


def told_event(event: Event) -> JSON:
    """What a stream tells of it."""
    return vars(event) | {"at": seconds(event.at), "tags": list(event.tags)}


@dataclass(frozen=True)
class Filter:
    """Which tasks: those that fit all that is given. Times are Unix seconds."""

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
            and (self.created_after is None or task.created_at >= round(self.created_after * 1000))
            and (self.created_before is None or task.created_at < round(self.created_before * 1000))
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
    """The tasks, by what clients and workers do."""

    def __init__(self, now: int) -> None:
        self.life = Lifecycle(now, LEASE)
        self.first_answers: dict[str, FirstAnswer] = {}
        #: Messages that the broker has been given.
        self.published = 0

    @property
    def tasks(self) -> dict[str, Task]:
        """In the order of their acceptance."""
        return self.life.tasks  # type: ignore[return-value]

    def found(self, wanted: Filter, *statuses: str) -> list[Task]:
        """Those that fit, newest first."""
        return [
            task
            for task in reversed(self.tasks.values())
            if wanted.fits_task(task) and (not statuses or task.status in statuses)
        ]

    def accept(self, id: str, members: JSON, request_id: str) -> Task:
        now, run_at = self.life.now, members.get("run_at")
        task = Task(
            id=id,
            action=members["action"],
            created_at=now,
            run_at=now + round((members.get("delay") or 0) * 1000) if run_at is None else round(run_at * 1000),
            priority=PRIORITIES[members.get("priority", "normal")],
            max_attempts=members.get("max_attempts"),
            tags=tuple(members.get("tags", [])),
            request_id=request_id,
            data=members.get("data", {}),
            timeout=members.get("timeout"),
        )
        due = task.run_at <= now
        self.published += due
        self.life.submit(task, f"{id}.0" if due else None)
        return task

    def act(self, verb: str, task: Task, request_id: str) -> None:
        match verb:
            case "cancel":
                self.life.cancel(task)
            case "retry":
                self.life.retry(task, request_id)
            case "delete":
                self.life.delete(task)

    def end(self, task: Task, ending: str) -> None:
        """How a worker ends an attempt."""
        match ending:
            case "complete":
                self.life.complete(task, RESULT)
            case "back off":
                self.life.back_off(task, "error", ERROR, self.life.now)
            case "back off for long":
                self.life.back_off(task, "error", ERROR, self.life.now + LONG)
            case "fail":
                self.life.fail(task, "timeout", ERROR)
            case "release":
                self.life.release(task)
            case "snooze":
                self.life.snooze(task, self.life.now + LONG)

    def oldest_waiting(self) -> float | None:
        """For how many seconds the longest waiting task has been due: of what is queued, the first ones count."""
        waiting = [task.run_at for task in self.tasks.values() if task.status == "pending"]
        for priority in PRIORITIES.values():
            queued = [it for it in self.tasks.values() if (it.status, it.priority) == ("queued", priority)]
            waiting += [task.run_at for task in sorted(queued, key=lambda task: task.queued_at or 0)[:1]]
        due = [run_at for run_at in waiting if run_at <= self.life.now]
        return seconds(self.life.now - min(due)) if due else None
