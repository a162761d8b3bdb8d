"""What goes on: counters, workers and actions."""

from typing import Any

from pydantic import Field

from taskqueue.contract.answers import Answer, Count, Id, MayBeKept, Time
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
    waiting_for_workers: Count = Field(description="How many wait for a worker that knows their action.")
    minutes: list[Minute] = Field(description="Oldest first; the last one has only begun.")
    wait: Percentiles = Field(description="From when a task was due to the start of an attempt.")
    run: Percentiles = Field(description="How long attempts that gave a result took.")
    actions: dict[str, ActionStats] = Field(description="The hundred with most to tell.")


class RunningTask(Answer):
    """A task that a worker runs."""

    id: Id
    action: str
    attempt: Count
    started_at: Time = Field(description="When this attempt began.")


class WorkerAnswer(Answer):
    """A worker process."""

    id: str
    host: str
    pid: int
    started_at: Time
    last_seen: Time
    consumers: int = Field(description="How many tasks it runs at a time.")
    prefetch: int
    queue: str
    actions: list[str] = Field(description="The names of those that it can run.")
    executors: dict[str, str] = Field(description="By action: where it runs, `async`, `thread` or `process`.")
    versions: dict[str, str] = Field(description="Of taskqueue, and of the packages that its actions are from.")
    memory: int | None = Field(
        ge=0, description="Its resident bytes at its last beat; null where that is not told."
    )
    running: list[RunningTask]


class WorkersAnswer(Answer):
    """The workers that are known."""

    workers: list[WorkerAnswer]
    count: Count


class ActionAnswer(Answer):
    """An action that workers can run, or could; `*` stands for all that have no handler of their own."""

    name: str
    arguments: MayBeKept[dict[str, Any]] = Field(description="The JSON Schema of a task's `data`.")
    defaults: MayBeKept[dict[str, Any]] = Field(
        description="What the action says of its tasks where their POSTs don't: `timeout`, `max_attempts`, "
        "`priority`, `retry`, `validate`."
    )
    version: str | None = Field(description="Of the package that it is from, where that has one.")
    workers: Count = Field(description="How many workers know it now.")
    last_seen: Time = Field(description="When a worker last knew it.")


class ActionsAnswer(Answer):
    """What can be run, by name; also what no worker knows any more, for 30 days."""

    actions: list[ActionAnswer]
    count: Count
