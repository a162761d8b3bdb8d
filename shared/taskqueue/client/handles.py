"""A task in the hands of who submitted it."""

from collections.abc import AsyncGenerator, Callable, Iterator
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from taskqueue.client.errors import TaskCancelledError, TaskFailedError
from taskqueue.client.events import Event
from taskqueue.client.wires import iterate, run
from taskqueue.contract.answers import AcceptedAnswer, CancelAnswer
from taskqueue.contract.tasks import WholeTaskAnswer
from taskqueue.task import FINAL, Status

if TYPE_CHECKING:
    from taskqueue.client.verbs import Verbs

R = TypeVar("R")


class AsyncHandle(Generic[R]):
    """A task that was submitted; R is what its result is read as."""

    def __init__(
        self,
        verbs: "Verbs",
        last: AcceptedAnswer | WholeTaskAnswer,
        read: Callable[[Any], R] = lambda result: result,
    ) -> None:
        self._verbs = verbs
        self._read = read
        self._task = last if isinstance(last, WholeTaskAnswer) else None
        self.id = last.id
        #: Where the task stood when it was last asked for.
        self.status: Status = last.status

    async def get(self) -> WholeTaskAnswer:
        """The task as it stands now."""
        return self._seen(await self._verbs.get(self.id))

    async def wait(self, timeout: float | None = None) -> WholeTaskAnswer:
        """The task once it is final.

        Args:
            timeout: seconds; None waits for as long as it takes.

        Raises:
            WaitTimeoutError: it is not final by then.
        """
        if self._task is None or self._task.status not in FINAL:
            self._seen(await self._verbs.wait(self.id, timeout))
        assert self._task is not None
        return self._task

    async def result(self, timeout: float | None = None) -> R:
        """What the action returned, once it has.

        Args:
            timeout: seconds; None waits for as long as it takes.

        Raises:
            TaskFailedError: the task failed, or was cancelled (TaskCancelledError).
            WaitTimeoutError: it is not final by then.
        """
        task = await self.wait(timeout)
        if task.status is Status.COMPLETED:
            return self._read(task.result)
        raise (TaskCancelledError if task.status is Status.CANCELLED else TaskFailedError)(task)

    async def cancel(self) -> CancelAnswer:
        """Cancel the task; one that runs is asked to stop.

        Raises:
            ConflictError: it is final.
        """
        answer = await self._verbs.cancel(self.id)
        self.status = answer.status
        return answer

    def watch(self) -> AsyncGenerator[Event, None]:
        """Where the task stands, and each change until it is final."""
        return self._verbs.watch(self.id)

    def _seen(self, task: WholeTaskAnswer) -> WholeTaskAnswer:
        self._task, self.status = task, task.status
        return task

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.id} {self.status}>"


class Handle(Generic[R]):
    """An AsyncHandle for a program without an event loop: its methods block."""

    def __init__(self, handle: AsyncHandle[R]) -> None:
        self._handle = handle

    @property
    def id(self) -> str:
        return self._handle.id

    @property
    def status(self) -> Status:
        """Where the task stood when it was last asked for."""
        return self._handle.status

    def get(self) -> WholeTaskAnswer:
        """As AsyncHandle.get."""
        return run(self._handle.get())

    def wait(self, timeout: float | None = None) -> WholeTaskAnswer:
        """As AsyncHandle.wait."""
        return run(self._handle.wait(timeout))

    def result(self, timeout: float | None = None) -> R:
        """As AsyncHandle.result."""
        return run(self._handle.result(timeout))

    def cancel(self) -> CancelAnswer:
        """As AsyncHandle.cancel."""
        return run(self._handle.cancel())

    def watch(self) -> Iterator[Event]:
        """As AsyncHandle.watch."""
        return iterate(self._handle.watch())

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.id} {self.status}>"
