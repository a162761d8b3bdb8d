"""The life of a task: its statuses, the edges between them, and the task itself. Standard library only.

`docs/lifecycle.md` tells the same in prose.
"""

from dataclasses import dataclass
from enum import StrEnum
from random import Random
from typing import NamedTuple
from uuid import UUID


class Status(StrEnum):
    """Where a task stands."""

    #: Durable, and not with the broker: it waits for its time, for a retry, or for a broker that is away.
    PENDING = "pending"
    #: Handed to the broker: its message is confirmed, or its publisher still holds the dispatch lease.
    QUEUED = "queued"
    #: Claimed by one worker.
    RUNNING = "running"
    #: Final: the handler returned a result.
    COMPLETED = "completed"
    #: Final: an error, and no attempts left.
    FAILED = "failed"
    #: Final: a client asked for it.
    CANCELLED = "cancelled"


FINAL = frozenset({Status.COMPLETED, Status.FAILED, Status.CANCELLED})


def new_id(now: int, random: Random) -> str:
    """A task's id, a UUIDv7 (RFC 9562, 5.7): ids made one after another stand close together in an index.

    Args:
        now: Unix milliseconds.
    """
    bits = random.getrandbits(74)
    return str(UUID(int=now << 80 | 7 << 76 | bits >> 62 << 64 | 2 << 62 | bits & ((1 << 62) - 1)))


class Outcome(StrEnum):
    """How an attempt ended."""

    OK = "ok"
    #: The handler raised, or its arguments or its result were no good.
    ERROR = "error"
    #: It ran longer than the task's timeout.
    TIMEOUT = "timeout"
    #: Its worker stopped beating.
    WORKER_LOST = "worker_lost"
    #: Its worker was stopped cleanly before it could finish; doesn't count as a failure.
    SHUTDOWN = "shutdown"
    #: The handler asked to be called again later; doesn't count as a failure.
    SNOOZED = "snoozed"
    #: A client asked to cancel the task while it ran.
    CANCELLED = "cancelled"


class Edge(NamedTuple):
    """One way from a status to another, and the verb (`store/verbs.py`) that takes it."""

    #: None: there is no such task before (or, as the target, after).
    source: Status | None
    target: Status | None
    verb: str


#: Every edge there is. Each is one guarded UPDATE (or INSERT) in `store/queries.sql`.
TRANSITIONS = (
    Edge(None, Status.QUEUED, "submit"),
    Edge(None, Status.PENDING, "submit"),
    Edge(Status.PENDING, Status.QUEUED, "mark_queued"),
    Edge(Status.QUEUED, Status.PENDING, "demote"),
    Edge(Status.PENDING, Status.RUNNING, "claim"),
    Edge(Status.QUEUED, Status.RUNNING, "claim"),
    Edge(Status.PENDING, Status.PENDING, "set_aside"),
    Edge(Status.QUEUED, Status.PENDING, "set_aside"),
    Edge(Status.PENDING, Status.FAILED, "give_up"),
    Edge(Status.QUEUED, Status.FAILED, "give_up"),
    Edge(Status.RUNNING, Status.COMPLETED, "complete"),
    Edge(Status.RUNNING, Status.PENDING, "back_off"),
    Edge(Status.RUNNING, Status.FAILED, "fail"),
    Edge(Status.RUNNING, Status.PENDING, "release"),
    Edge(Status.RUNNING, Status.PENDING, "snooze"),
    Edge(Status.RUNNING, Status.PENDING, "rescue"),
    Edge(Status.RUNNING, Status.FAILED, "rescue"),
    Edge(Status.PENDING, Status.CANCELLED, "cancel"),
    Edge(Status.QUEUED, Status.CANCELLED, "cancel"),
    Edge(Status.RUNNING, Status.CANCELLED, "back_off"),
    Edge(Status.RUNNING, Status.CANCELLED, "fail"),
    Edge(Status.RUNNING, Status.CANCELLED, "release"),
    Edge(Status.RUNNING, Status.CANCELLED, "snooze"),
    Edge(Status.RUNNING, Status.CANCELLED, "rescue"),
    Edge(Status.FAILED, Status.PENDING, "retry"),
    Edge(Status.CANCELLED, Status.PENDING, "retry"),
    Edge(Status.COMPLETED, None, "delete"),
    Edge(Status.FAILED, None, "delete"),
    Edge(Status.CANCELLED, None, "delete"),
)


@dataclass(frozen=True, slots=True)
class NewTask:
    """A validated task on its way into the store.

    Times are Unix milliseconds, `timeout` is in milliseconds.
    """

    id: str
    action: str
    #: The JSON text that will travel through the queue.
    payload: str
    created_at: int
    run_at: int
    priority: int
    #: None: as many as its action says, at the first claim.
    max_attempts: int | None
    #: None: as long as its action says, or its worker's settings.
    timeout: int | None
    tags: tuple[str, ...] = ()
    #: Which request submitted it.
    request_id: str | None = None
    #: Which task submitted it, with its completion.
    parent: str | None = None
    #: The span that it was submitted in, see `taskqueue.trace_context`.
    traceparent: str | None = None


@dataclass(frozen=True, slots=True)
class Attempt:
    """One run of a task by one worker. Times are Unix milliseconds; `error` is JSON text."""

    number: int
    worker: str
    started_at: int
    ended_at: int | None
    outcome: Outcome | None
    error: str | None
    #: Which request led to it: the one that submitted the task, or that retried it.
    request_id: str | None = None


@dataclass(frozen=True, slots=True)
class Task:
    """A task as the store tells it. Times are Unix milliseconds; `payload`, `result`, `error` JSON text."""

    #: Its place in the order of acceptance.
    seq: int
    id: str
    action: str
    payload: str
    status: Status
    result: str | None
    error: str | None
    created_at: int
    run_at: int
    processed_at: int | None
    priority: int
    attempt: int
    failures: int
    #: None: it has not been claimed yet, and its action says.
    max_attempts: int | None
    timeout: int | None
    cancel_requested: bool
    tags: tuple[str, ...]
    #: JSON text, `{"fraction", "message"}`.
    progress: str | None
    #: Which request submitted it, or retried it last.
    request_id: str | None = None
    #: Since when it waits for a worker that knows its action, where one got it that doesn't.
    unknown_since: int | None = None
    #: Which task submitted it, where one did.
    parent: str | None = None
    #: Oldest first; a page tells none.
    attempts: tuple[Attempt, ...] = ()
    #: The tasks that it submitted, as far as they are kept, in their order; a page tells none.
    children: tuple[str, ...] = ()

    @property
    def waits_for_worker(self) -> bool:
        """Whether it waits for a worker that knows its action."""
        return self.unknown_since is not None and self.status in {Status.PENDING, Status.QUEUED}


@dataclass(frozen=True, slots=True)
class Event:
    """A change of a task that a client can watch. `at` is in Unix milliseconds; `progress` is JSON text."""

    #: Rises in the order of the changes, over all tasks.
    seq: int
    at: int
    task_seq: int
    #: None, like the action: the task has been deleted since.
    task_id: str | None
    action: str | None
    tags: tuple[str, ...]
    status: Status
    attempt: int
    #: Set where the handler told its progress; else the status has changed.
    progress: str | None

    def __hash__(self) -> int:
        # Looked up for each stream that tells it: by all fields, that would cost more than the telling.
        return self.seq


@dataclass(frozen=True, slots=True)
class Claim:
    """A running task in its worker's hands: `(seq, attempt, worker)` is the fence of every later write.

    `timeout` is in milliseconds, times are Unix milliseconds.
    """

    seq: int
    id: str
    attempt: int
    worker: str
    action: str
    payload: str
    failures: int
    max_attempts: int
    timeout: int | None
    started_at: int
    request_id: str | None = None
    priority: int = 0
    #: Beats don't tell these of what they find running.
    tags: tuple[str, ...] = ()
    #: Milliseconds from when it was due to the claim.
    waited: int = 0
    #: The span that the task was submitted in; where spans are written of attempts, this one's.
    traceparent: str | None = None


@dataclass(frozen=True, slots=True)
class Dispatch:
    """A task that this process alone may publish for the length of a dispatch lease."""

    seq: int
    id: str
    #: New for each publish, `<task id>.<token>`; what follows the confirm is guarded by it. The token begins with
    #: the time of the lease, see `taskqueue.dispatch.leased_at`.
    dispatch_id: str
    action: str
    payload: str
    priority: int
