"""What the core tells as it happens. Nothing here knows who listens: log lines, metrics and traces do.

A verb tells nothing: what it changed is true once it is committed, and told by who asked for it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from taskqueue.task import Claim, Outcome, Status


@dataclass(frozen=True, slots=True)
class TaskAccepted:
    """A task is durable; `status` is what its client is told."""

    id: str
    action: str
    status: Status


@dataclass(frozen=True, slots=True)
class TaskRefused:
    """A submission could not be made durable."""

    error: Exception


@dataclass(frozen=True, slots=True)
class Published:
    """The broker confirmed a task's message."""

    id: str


@dataclass(frozen=True, slots=True)
class NotConfirmed:
    """A task's message was not confirmed: the relay will publish it. Expected errors are the broker's own."""

    id: str
    action: str
    error: Exception
    expected: bool


@dataclass(frozen=True, slots=True)
class LeasesKept:
    """What the broker said of so many publishes could not be written yet: they may come twice, harmlessly."""

    tasks: int
    error: Exception


@dataclass(frozen=True, slots=True)
class Demoted:
    """Queued tasks will be published again."""

    tasks: int
    why: str


@dataclass(frozen=True, slots=True)
class TaskClaimed:
    """A worker begins an attempt."""

    claim: Claim


@dataclass(frozen=True, slots=True)
class TaskEnded:
    """An attempt's outcome is recorded; `status` is None where the task had been taken from its worker."""

    claim: Claim
    outcome: Outcome
    status: Status | None
    #: JSON text.
    error: str | None


@dataclass(frozen=True, slots=True)
class TaskSetAside:
    """A task waits for a worker that knows its action, which this one doesn't."""

    id: str
    action: str
    #: Whether no other task has waited for this action.
    first: bool


@dataclass(frozen=True, slots=True)
class TaskGivenUp:
    """A task has failed, since no worker has come that knows its action."""

    id: str
    action: str


@dataclass(frozen=True, slots=True)
class TasksTakenUp:
    """Tasks that had been set aside are due: this worker knows their actions."""

    tasks: int


@dataclass(frozen=True, slots=True)
class TasksWaiting:
    """So many tasks wait for workers that know their actions; this one doesn't."""

    tasks: int


@dataclass(frozen=True, slots=True)
class DuplicateDropped:
    """A message found its task claimed, or final."""

    id: str


@dataclass(frozen=True, slots=True)
class MessageBuried:
    """A message that is about no task went to the dead letters."""

    reason: str
    id: str | None = None


@dataclass(frozen=True, slots=True)
class StoreAwaited:
    """A worker holds what it has until the store is back."""

    what: str
    error: Exception
    id: str | None = None


@dataclass(frozen=True, slots=True)
class SlotHeld:
    """A handler goes on after it was told to stop: its slot waits for it."""

    claim: Claim


@dataclass(frozen=True, slots=True)
class StrayReleased:
    """A task ran in this worker's name, but in none of its slots: it was released."""

    claim: Claim
    status: Status | None


@dataclass(frozen=True, slots=True)
class WorkerStarted:
    """A worker takes tasks."""

    worker: str
    actions: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class WorkerStopping:
    """A worker takes no more; so many tasks still run."""

    running: int


@dataclass(frozen=True, slots=True)
class ResourceNotClosed:
    """At a worker's end, a resource of its handlers could not be closed."""

    name: str
    error: Exception


@dataclass(frozen=True, slots=True)
class WorkerLost:
    """Another worker's beats have stood still: what it ran was rescued."""

    worker: str
    rescued: tuple[tuple[Claim, Status], ...]


@dataclass(frozen=True, slots=True)
class BeatMissed:
    """A heartbeat could not be written; the process ends where no other one can follow."""

    error: Exception
    ends: bool


@dataclass(frozen=True, slots=True)
class LoopBlocked:
    """A handler blocks the event loop beyond its timeout: the process ends."""

    claim: Claim


@dataclass(frozen=True, slots=True)
class SweepPutOff:
    """A sweep could not be done, and will be tried again."""

    sweep: str
    error: Exception


@dataclass(frozen=True, slots=True)
class Pruned:
    """Tasks that had been kept long enough were deleted."""

    status: Status
    tasks: int


@dataclass(frozen=True, slots=True)
class Recounted:
    """Counters of these statuses were wrong, and are right again."""

    statuses: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Committed:
    """So many writes were committed in one transaction, in so many seconds, after as many of waiting for the write
    lock of the database."""

    writes: int
    seconds: float
    waited: float


Listener = Callable[[Any], None]


class Telemetry:
    """Tells what happens to all who listen, at once and in the order that they came. Listeners don't raise."""

    def __init__(self, *listeners: Listener) -> None:
        self._listeners = list(listeners)

    def listen(self, listener: Listener) -> None:
        """Tell it from now on, too."""
        self._listeners.append(listener)

    def tell(self, happening: object) -> None:
        """Tell one of this module's happenings."""
        for listener in self._listeners:
            listener(happening)
