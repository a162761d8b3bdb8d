"""What a handler gets, and what it may raise."""

import json
import threading
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ParamSpec, Self, Unpack, overload
from uuid import uuid4

from taskqueue.contract.options import TaskOptions
from taskqueue.retry import LONGEST_PAUSE

if TYPE_CHECKING:
    from taskqueue.actions.submitting import Submittable

P = ParamSpec("P")


class Retry(Exception):  # noqa: N818  # raised to ask for something, like StopIteration
    """Raised by a handler: this attempt failed, try again.

    Args:
        after: seconds until then, at most a year; without it, the usual backoff.

    Raises:
        ValueError: `after` is negative, too long or not a number.
    """

    def __init__(self, reason: str = "the handler asked for a retry", *, after: float | None = None) -> None:
        super().__init__(reason)
        self.after = None if after is None else _checked("after", after)


class Snooze(Exception):  # noqa: N818  # raised to ask for something, like StopIteration
    """Raised by a handler: not now, call me again later. It is no failure, however often it happens.

    Args:
        seconds: until then, at most a year.

    Raises:
        ValueError: `seconds` is negative, too long or not a number.
    """

    def __init__(self, seconds: float) -> None:
        super().__init__(f"snoozed for {seconds} s")
        self.seconds = _checked("seconds", seconds)


class Reject(Exception):  # noqa: N818  # raised to ask for something, like StopIteration
    """Raised by a handler: fail the task now, whatever attempts it has left."""


def _checked(name: str, seconds: float) -> float:
    if not 0 <= seconds <= LONGEST_PAUSE:
        raise ValueError(f"{name}: {seconds} is not between 0 and {LONGEST_PAUSE} seconds")
    return seconds


class Cancelled(Exception):  # noqa: N818  # not an error
    """Raised by `TaskContext.raise_if_cancelled`; a handler lets it pass."""


@dataclass(frozen=True, slots=True)
class Submitted:
    """A task that will be stored with the completion of the one that submits it. To await it changes nothing."""

    id: str

    def __await__(self) -> Generator[None, None, Self]:
        return self
        yield  # which makes it a generator: it waits for nothing


@dataclass(frozen=True, slots=True)
class TaskContext:
    """The task that a handler runs for; passed to a parameter annotated with this class."""

    #: The same on each attempt: use it as an idempotency key.
    id: str
    action: str
    #: 1 for the first attempt.
    attempt: int
    #: How many attempts may fail until the task has failed.
    max_attempts: int = 1
    #: How many have.
    failures: int = 0
    tags: tuple[str, ...] = ()
    #: When this attempt is out of time, in Unix seconds; None where it has no limit.
    deadline: float | None = None
    #: Which request submitted the task, or retried it last.
    request_id: str | None = None
    #: Seconds from when the task was due to the start of this attempt.
    queued_for: float = 0
    _cancelled: threading.Event = field(default_factory=threading.Event)
    _tell_progress: Callable[[str], None] = lambda progress: None
    _submit: Callable[[Any, tuple[Any, ...], dict[str, Any]], str] = lambda action, args, kwargs: str(uuid4())

    @property
    def cancelled(self) -> bool:
        """Whether a plain `def` handler should stop: a client asked to cancel, it is out of time, or the
        worker is stopping. An `async def` handler is cancelled instead."""
        return self._cancelled.is_set()

    def raise_if_cancelled(self) -> None:
        """Leave a plain `def` handler, where it should stop.

        Raises:
            Cancelled: it should.
        """
        if self.cancelled:
            raise Cancelled(f"the task {self.id} is to stop")

    def progress(self, fraction: float, message: str | None = None) -> None:
        """Tell how far the task has come: it stands in the task and in the event stream.

        It returns at once, on the loop and in a thread; of many calls in a moment the last one counts.

        Args:
            fraction: between 0 and 1.
            message: a few words, 500 characters at most.

        Raises:
            ValueError: `fraction` or `message` is out of its range.
        """
        if not 0 <= fraction <= 1:
            raise ValueError("progress is a fraction between 0 and 1")
        if message is not None and len(message) > 500:
            raise ValueError("a progress message has 500 characters at most")
        self._tell_progress(json.dumps({"fraction": fraction, "message": message}, separators=(",", ":")))

    @overload
    def submit(
        self, action: str, /, data: Mapping[str, Any] | None = None, **options: Unpack[TaskOptions]
    ) -> Submitted: ...
    @overload
    def submit(self, action: "Submittable[P, Any]", /, *args: P.args, **kwargs: P.kwargs) -> Submitted: ...
    def submit(self, action: Any, /, *args: Any, **kwargs: Any) -> Submitted:
        """Submit another task with the completion of this one: it is stored in the same moment, or not at all
        where this attempt doesn't complete.

        By name, with its data and options, or with types, by its function and the arguments of this:

            task.submit("resize", {"path": "a.png", "width": 200}, delay=60)
            task.submit(resize.options(delay=60), path="a.png", width=200)

        It returns at once, on the loop and in a thread; `await` in front of it changes nothing.

        Raises:
            ValueError: it would be refused as it is (pydantic.ValidationError tells where), or there are too many.
            TypeError: the action's function has no such parameters.
            RuntimeError: the attempt is over.
        """
        return Submitted(self._submit(action, args, kwargs))
