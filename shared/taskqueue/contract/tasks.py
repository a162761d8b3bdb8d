"""A task as clients see it, made from the store's rows."""

from typing import Any, Self

from pydantic import Field

from taskqueue.contract.answers import Answer, Count, Id, Kept, MayBeKept, Priority, Time, to_ascii
from taskqueue.message import Priority as MessagePriority
from taskqueue.message import data_of
from taskqueue.task import Attempt, Outcome, Status, Task

_PRIORITIES = {priority.value: priority.name.lower() for priority in MessagePriority}


class Payload(Answer):
    """What travels through the queue."""

    id: Id
    action: str
    data: dict[str, Any]
    created_at: Time


class TaskError(Answer):
    """How an attempt went wrong."""

    type: str = Field(description="The exception's class, or `Timeout`, `InvalidArguments`, `UnknownAction`, ...")
    message: str
    traceback: str | None


class Progress(Answer):
    """How far the handler says that it has come."""

    fraction: float = Field(ge=0, le=1)
    message: str | None


class TaskAnswer(Answer):
    """A task."""

    id: Id
    action: str
    data: MayBeKept[dict[str, Any]] = Field(description="The action's arguments.")
    payload: MayBeKept[Payload] = Field(description="What travels through the queue; it has `data`, too.")
    status: Status
    result: MayBeKept[Any] = Field(
        description="What the handler returned, any JSON; null, too, where the status is not `completed`."
    )
    error: MayBeKept[TaskError | None] = Field(
        description="Of the last attempt that failed, until one succeeds or the task is retried."
    )
    progress: MayBeKept[Progress | None]
    tags: list[str]
    created_at: Time = Field(description="When it was accepted.")
    run_at: Time = Field(description="Not to be started before.")
    processed_at: Time | None = Field(description="When it became final.")
    priority: Priority
    attempt: Count = Field(description="The number of the present or last attempt; 0 before the first.")
    failures: Count = Field(description="The attempts that count against `max_attempts`.")
    max_attempts: Count | None = Field(
        description="Attempts until the task has failed; null before its first one, where its POST doesn't say: "
        "as many as its action says, or the worker's setting."
    )
    timeout: float | None = Field(
        description="How long an attempt may take; null: as long as its action or the worker's setting says."
    )
    cancel_requested: bool
    waiting_for: str | None = Field(description="A worker that knows its action, where one got it that doesn't.")
    request_id: str | None = Field(
        description="The `X-Request-ID` of the request that submitted it, or retried it last."
    )
    parent: Id | None = Field(description="The task that submitted it, where one did.")

    @classmethod
    def of(cls, task: Task, **more: Any) -> Self:
        """The task that the store tells; a subclass has more members."""
        payload = to_ascii(task.payload)  # once, though `data` comes twice
        return cls(
            id=task.id,
            action=task.action,
            data=Kept(data_of(payload)),
            payload=Kept(payload),
            status=task.status,
            result=Kept.of(task.result),
            error=Kept.of(task.error),
            progress=Kept.of(task.progress),
            tags=list(task.tags),
            created_at=task.created_at / 1000,
            run_at=task.run_at / 1000,
            processed_at=task.processed_at and task.processed_at / 1000,
            priority=_PRIORITIES[task.priority],
            attempt=task.attempt,
            failures=task.failures,
            max_attempts=task.max_attempts,
            timeout=task.timeout and task.timeout / 1000,
            cancel_requested=task.cancel_requested,
            waiting_for=f"a worker with action {task.action!r}" if task.waits_for_worker else None,
            request_id=task.request_id,
            parent=task.parent,
            **more,
        )


class AttemptAnswer(Answer):
    """One run of a task by one worker."""

    number: Count
    worker: str
    started_at: Time
    ended_at: Time | None
    outcome: Outcome | None = Field(description="null while it runs.")
    error: MayBeKept[TaskError | None]
    request_id: str | None = Field(
        description="The `X-Request-ID` of the request that submitted or retried the task."
    )

    @classmethod
    def of(cls, attempt: Attempt) -> Self:
        """The attempt that the store tells."""
        return cls(
            number=attempt.number,
            worker=attempt.worker,
            started_at=attempt.started_at / 1000,
            ended_at=attempt.ended_at and attempt.ended_at / 1000,
            outcome=attempt.outcome,
            error=Kept.of(attempt.error),
            request_id=attempt.request_id,
        )


class WholeTaskAnswer(TaskAnswer):
    """A task with its attempts, oldest first, and the tasks that it submitted."""

    attempts: list[AttemptAnswer]
    children: list[Id] = Field(
        description="The tasks that it submitted with its completion, as far as they are kept."
    )

    @classmethod
    def whole(cls, task: Task) -> Self:
        """The task that the store tells, with its attempts and children."""
        attempts = [AttemptAnswer.of(attempt) for attempt in task.attempts]
        return cls.of(task, attempts=attempts, children=list(task.children))


class PageAnswer(Answer):
    """Tasks, newest first."""

    tasks: list[TaskAnswer]
    count: Count = Field(description="How many this page has.")
    next: str | None = Field(None, description="The `cursor` of the next page; absent where this is the last.")
