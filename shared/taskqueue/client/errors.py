"""What the client raises: all of it is a TaskqueueError."""

from taskqueue.contract.answers import ErrorDetail
from taskqueue.contract.tasks import TaskError, WholeTaskAnswer
from taskqueue.task import Status


class TaskqueueError(Exception):
    """Something that was asked for did not happen. The text says what, and why."""


class ConnectionFailedError(TaskqueueError):
    """Nobody answers at the address; nothing was done."""


class AnswerLostError(ConnectionFailedError):
    """A request was sent, and its answer did not come: whether it was carried out is not known."""

    def __init__(self, text: str, key: str | None) -> None:
        super().__init__(text)
        #: Its Idempotency-Key: a submit that is sent again with it (`key=`) is carried out once.
        self.key = key


class NotTaskqueueError(TaskqueueError):
    """Who answers is no taskqueue, or one of another version."""


class RefusedError(TaskqueueError):
    """The API answered that it did not carry the request out."""

    def __init__(
        self,
        status: int,
        error: str,
        details: list[ErrorDetail] | None = None,
        request_id: str | None = None,
        task_status: Status | None = None,
        retry_after: float | None = None,
    ) -> None:
        more = [detail.error for detail in details or [] if detail.error not in error]
        super().__init__(f"{'; '.join([error, *more])} ({status})")
        #: Of HTTP.
        self.status = status
        #: What is wrong, in words.
        self.error = error
        #: Each of several errors, with its path.
        self.details = details or []
        #: Names the request in the API's log.
        self.request_id = request_id
        #: Of a task whose status doesn't allow what was asked for.
        self.task_status = task_status
        #: Seconds until it may go well.
        self.retry_after = retry_after
        #: An earlier try of this request got no answer: it may be what this one met.
        self.after_loss = False


class InvalidRequestError(RefusedError):
    """What was sent is wrong (400, 422); `details` tells each error by its path, where there are several."""


class UnauthorizedError(RefusedError):
    """The API asks for a key, and got none, or one that is wrong, expired or revoked (401)."""


class ForbiddenError(RefusedError):
    """The key's role is too low for it (403)."""


class NotFoundError(RefusedError):
    """There is no such task, key or dead letter (404)."""


class ConflictError(RefusedError):
    """The task's status doesn't allow it (409), or the key was used for another request (422)."""


class TooLargeError(RefusedError):
    """It has too many bytes, or too many values (413)."""


class UnavailableError(RefusedError):
    """The API can't do it now (503, 429), and could not for as long as it was asked again."""


class BatchError(TaskqueueError):
    """Submitting many ended early, see `__cause__`. Those before the batch are accepted, those after it were not
    sent. Of a dry run, none is accepted."""

    def __init__(self, cause: TaskqueueError, batch: range, index: int | None, *, dry_run: bool = False) -> None:
        #: Whether they were only checked.
        self.dry_run = dry_run
        #: Whether those of the batch are accepted is not known. If not, none of them is.
        self.unknown = isinstance(cause, AnswerLostError) and not dry_run
        became = "may have been accepted or not" if self.unknown else "were not accepted"
        super().__init__(
            f"{cause}; nothing was submitted"
            if dry_run
            else f"{cause}; the {batch.start} tasks before are accepted, those from {batch.start} to "
            f"{batch.stop - 1} {became} (counted from 0)"
        )
        #: The places, from 0, of the tasks that were sent last.
        self.batch = batch
        #: How many tasks are accepted: all before the batch.
        self.accepted = 0 if dry_run else batch.start
        #: The place of the task that is wrong, where the answer tells it.
        self.index = index


class WaitTimeoutError(TaskqueueError, TimeoutError):
    """The task was not final in time."""

    def __init__(self, task: WholeTaskAnswer) -> None:
        super().__init__(f"task {task.id} is still {task.status}")
        #: Where it stood.
        self.task = task


class TaskFailedError(TaskqueueError):
    """The task has no result: it failed."""

    def __init__(self, task: WholeTaskAnswer) -> None:
        error = task.error
        super().__init__(
            f"task {task.id} is {task.status}" + (f": {error.type}: {error.message}" if error else "")
        )
        self.task = task
        #: Of the last attempt that failed.
        self.error: TaskError | None = error


class InvalidResultError(TaskqueueError):
    """The task's result is not what its action is annotated to return."""


class TaskCancelledError(TaskFailedError):
    """The task has no result: it was cancelled."""
