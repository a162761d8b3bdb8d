"""What clients are answered: models that describe it, and the tasks as they see them.

Times are in Unix seconds, with milliseconds; spans in seconds.
"""

import json
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from taskqueue.broker import BrokerState
from taskqueue.message import Priority
from taskqueue.task import Attempt, Outcome, Status, Task

Id = Annotated[str, Field(description="The task's id.", json_schema_extra={"format": "uuid"})]
Time = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(ge=0)]


class ErrorDetail(BaseModel):
    """One of several errors in what was sent."""

    path: str = Field(description="The member or parameter.")
    error: str
    index: int | None = Field(None, ge=0, description="Of a batch: which task, from 0.")


class ErrorAnswer(BaseModel):
    """Why a request was not carried out."""

    error: str = Field(description="For the client's developer; not to be parsed.")
    details: list[ErrorDetail] | None = Field(
        None, description="Where there are several errors, or a batch has one."
    )


class ConflictAnswer(BaseModel):
    """The task's status doesn't allow the request."""

    error: str
    status: Status


class AcceptedAnswer(BaseModel):
    """A task that is durable."""

    id: Id
    status: Status = Field(
        description="`pending` where its time hasn't come, or the broker has not confirmed yet."
    )


class BatchAnswer(BaseModel):
    """The tasks of a batch, in its order."""

    tasks: list[AcceptedAnswer]
    count: Count


class CancelAnswer(BaseModel):
    """`cancelled` at once, or still `running` and asked to stop."""

    id: Id
    status: Literal[Status.CANCELLED, Status.RUNNING]
    cancel_requested: Literal[True]


class BulkAnswer(BaseModel):
    """How many tasks were acted on; or would have been, in a dry run."""

    count: Count
    dry_run: bool


class Payload(BaseModel):
    """What travels through the queue."""

    id: Id
    action: str
    data: dict[str, Any]
    created_at: Time


class TaskError(BaseModel):
    """How an attempt went wrong."""

    type: str = Field(description="The exception's class, or `Timeout`, `InvalidArguments`, `UnknownAction`, ...")
    message: str
    traceback: str | None


class Progress(BaseModel):
    """How far the handler says that it has come."""

    fraction: float = Field(ge=0, le=1)
    message: str | None


class TaskAnswer(BaseModel):
    """A task."""

    id: Id
    action: str
    payload: Payload
    status: Status
    result: dict[str, Any] | None = Field(description="What the handler returned.")
    error: TaskError | None = Field(
        description="Of the last attempt that failed, until one succeeds or the task is retried."
    )
    progress: Progress | None
    tags: list[str]
    created_at: Time = Field(description="When it was accepted.")
    run_at: Time = Field(description="Not to be started before.")
    processed_at: Time | None = Field(description="When it became final.")
    priority: Literal["high", "normal", "low"]
    attempt: Count = Field(description="The number of the present or last attempt; 0 before the first.")
    failures: Count = Field(description="The attempts that count against `max_attempts`.")
    max_attempts: Count
    timeout: float | None = Field(
        description="How long an attempt may take; null: as long as the worker's setting."
    )
    cancel_requested: bool
    request_id: str | None = Field(
        description="The `X-Request-ID` of the request that submitted it, or retried it last."
    )


class AttemptAnswer(BaseModel):
    """One run of a task by one worker."""

    number: Count
    worker: str
    started_at: Time
    ended_at: Time | None
    outcome: Outcome | None = Field(description="null while it runs.")
    error: TaskError | None
    request_id: str | None = Field(
        description="The `X-Request-ID` of the request that submitted or retried the task."
    )


class WholeTaskAnswer(TaskAnswer):
    """A task with its attempts, oldest first."""

    attempts: list[AttemptAnswer]


class PageAnswer(BaseModel):
    """Tasks, newest first."""

    tasks: list[TaskAnswer]
    count: Count = Field(description="How many this page has.")
    next: str | None = Field(None, description="The `cursor` of the next page; absent where this is the last.")


class EventData(BaseModel):
    """The `data` of a `status` or `progress` event."""

    id: Id
    action: str
    tags: list[str]
    status: Status
    attempt: Count
    at: Time
    progress: Progress | None


class Counts(BaseModel):
    """Tasks that were accepted, or became final."""

    accepted: Count
    completed: Count
    failed: Count
    cancelled: Count


class Minute(Counts):
    """One minute."""

    at: Count = Field(description="Its begin.")


class Percentiles(BaseModel):
    """What 50 and 95 of a hundred attempts didn't exceed, up to a quarter too high; null without attempts."""

    p50: float | None
    p95: float | None


class ActionStats(Counts):
    """What happened to the tasks of one action."""

    wait: Percentiles
    run: Percentiles


class StatsAnswer(BaseModel):
    """Counters: tasks by status, and the last minutes."""

    tasks: dict[Status, Count] = Field(description="How many have each status.")
    oldest_waiting: float | None = Field(ge=0, description="How long the one that waits longest has been due.")
    minutes: list[Minute] = Field(description="Oldest first; the last one has only begun.")
    wait: Percentiles = Field(description="From when a task was due to the start of an attempt.")
    run: Percentiles = Field(description="How long attempts that gave a result took.")
    actions: dict[str, ActionStats] = Field(description="The hundred with most to tell.")


class RunningTask(BaseModel):
    """A task that a worker runs."""

    id: Id
    action: str
    attempt: Count


class WorkerAnswer(BaseModel):
    """A worker process."""

    id: str
    host: str
    pid: int
    started_at: Time
    last_seen: Time
    consumers: int = Field(description="How many tasks it runs at a time.")
    prefetch: int
    running: list[RunningTask]


class WorkersAnswer(BaseModel):
    """The workers that are known."""

    workers: list[WorkerAnswer]
    count: Count


class ActionAnswer(BaseModel):
    """An action that workers can run; `*` stands for all that have no handler of their own."""

    name: str
    arguments: dict[str, Any] = Field(description="The JSON Schema of a task's `data`.")
    workers: int = Field(ge=1, description="How many workers know it.")


class ActionsAnswer(BaseModel):
    """What can be run now, by name."""

    actions: list[ActionAnswer]
    count: Count


class LiveAnswer(BaseModel):
    """The process answers."""

    status: Literal["ok"]


class ReadyAnswer(BaseModel):
    """Tasks can be accepted. A broker that is away doesn't hinder that."""

    status: Literal["ready"]
    schema_version: int = Field(alias="schema")
    broker: BrokerState


class NotReadyAnswer(BaseModel):
    """No task can be accepted now."""

    status: Literal["not ready"]
    error: str
    broker: BrokerState


def task_json(task: Task) -> dict[str, Any]:
    """A task."""
    return {
        "id": task.id,
        "action": task.action,
        "payload": json.loads(task.payload),
        "status": task.status,
        "result": task.result and json.loads(task.result),
        "error": task.error and json.loads(task.error),
        "progress": task.progress and json.loads(task.progress),
        "tags": task.tags,
        "created_at": task.created_at / 1000,
        "run_at": task.run_at / 1000,
        "processed_at": task.processed_at and task.processed_at / 1000,
        "priority": Priority(task.priority).name.lower(),
        "attempt": task.attempt,
        "failures": task.failures,
        "max_attempts": task.max_attempts,
        "timeout": task.timeout and task.timeout / 1000,
        "cancel_requested": task.cancel_requested,
        "request_id": task.request_id,
    }


def attempt_json(attempt: Attempt) -> dict[str, Any]:
    """An attempt at a task."""
    return {
        "number": attempt.number,
        "worker": attempt.worker,
        "started_at": attempt.started_at / 1000,
        "ended_at": attempt.ended_at and attempt.ended_at / 1000,
        "outcome": attempt.outcome,
        "error": attempt.error and json.loads(attempt.error),
        "request_id": attempt.request_id,
    }
