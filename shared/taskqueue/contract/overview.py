"""What goes on: counters, workers and actions."""

from typing import Any

from pydantic import Field

from taskqueue.contract.answers import Answer, Count, Id, Time
from taskqueue.task import Status


class Counts(Answer):
    """Tasks that were accepted, or became final."""

    accepted: Count
    completed: Count
    failed: Count
    cancelled: Count


class Minute(Counts):
    """One minute."""

    at: Count = Field(description="Its begin.")


class Percentiles(Answer):
    """What 50 and 95 of a hundred attempts didn't exceed, up to a quarter too high; null without attempts."""

    p50: float | None
    p95: float | None


class ActionStats(Counts):
    """What happened to the tasks of one action."""

    wait: Percentiles
    run: Percentiles


class StatsAnswer(Answer):
    """Counters: tasks by status, and the last minutes."""

    tasks: dict[Status, Count] = Field(description="How many have each status.")
    oldest_waiting: float | None = Field(
        ge=0, description="How long the one that waits longest has been due; of queued ones, that queued first."
    )
    minutes: list[Minute] = Field(description="Oldest first; the last one has only begun.")
    wait: Percentiles = Field(description="From when a task was due to the start of an attempt.")
    run: Percentiles = Field(description="How long attempts that gave a result took.")
    actions: dict[str, ActionStats] = Field(description="The hundred with most to tell.")


class RunningTask(Answer):
    """A task that a worker runs."""

    id: Id
    action: str
    attempt: Count


class WorkerAnswer(Answer):
    """A worker process."""

    id: str
    host: str
    pid: int
    started_at: Time
    last_seen: Time
    consumers: int = Field(description="How many tasks it runs at a time.")
    prefetch: int
    running: list[RunningTask]


class WorkersAnswer(Answer):
    """The workers that are known."""

    workers: list[WorkerAnswer]
    count: Count


class ActionAnswer(Answer):
    """An action that workers can run; `*` stands for all that have no handler of their own."""

    name: str
    arguments: dict[str, Any] = Field(description="The JSON Schema of a task's `data`.")
    defaults: dict[str, Any] = Field(
        description="What the action says of its tasks where their POSTs don't: `timeout`, `max_attempts`, "
        "`priority`, `retry`, `validate`."
    )
    workers: int = Field(ge=1, description="How many workers know it.")


class ActionsAnswer(Answer):
    """What can be run now, by name."""

    actions: list[ActionAnswer]
    count: Count
