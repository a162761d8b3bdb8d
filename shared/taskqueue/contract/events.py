"""What a stream of events tells."""

from typing import Self

from taskqueue.contract.answers import Answer, Count, Id, Kept, MayBeKept, Time
from taskqueue.contract.tasks import Progress
from taskqueue.task import Event, Status, Task


class EventData(Answer):
    """The `data` of a `status` or `progress` event."""

    id: Id
    action: str
    tags: list[str]
    status: Status
    attempt: Count
    at: Time
    progress: MayBeKept[Progress | None]

    @classmethod
    def of(cls, event: Event) -> Self:
        """A change."""
        return cls(
            id=event.task_id,
            action=event.action,
            tags=list(event.tags),
            status=event.status,
            attempt=event.attempt,
            at=event.at / 1000,
            progress=Kept.of(event.progress),
        )

    @classmethod
    def standing(cls, task: Task) -> Self:
        """Where a task stands, as if it had just come there."""
        last = task.attempts[-1] if task.attempts else None
        since = task.processed_at or (last and (last.ended_at or last.started_at)) or task.created_at
        return cls(
            id=task.id,
            action=task.action,
            tags=list(task.tags),
            status=task.status,
            attempt=task.attempt,
            at=since / 1000,
            progress=Kept.of(task.progress),
        )
