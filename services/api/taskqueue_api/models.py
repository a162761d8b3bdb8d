"""What clients send: request bodies and query strings, as models that validate and describe them.

Times are in Unix seconds, spans in seconds.
"""

from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, model_validator
from pydantic_core import PydanticCustomError

from taskqueue.settings import MAX_TIMEOUT
from taskqueue.store import Filter
from taskqueue.store.clock import to_ms
from taskqueue.task import Status


def _printable(text: str) -> str:
    if not text.isprintable():
        raise PydanticCustomError("printable", "must not contain control characters")
    return text


ActionName = Annotated[str, StringConstraints(min_length=1, max_length=200), AfterValidator(_printable)]


#: The end of the year 9999, in Unix seconds.
_LATEST = 253_402_300_799


def _distinct(tags: list[str]) -> list[str]:
    if len(set(tags)) < len(tags):
        raise PydanticCustomError("distinct", "must not name a tag twice")
    return tags


Tag = Annotated[str, StringConstraints(min_length=1, max_length=64), AfterValidator(_printable)]
Time = Annotated[float, Field(ge=0, le=_LATEST)]


class SubmitBody(BaseModel):
    """A task to be run."""

    model_config = ConfigDict(extra="forbid", strict=True)

    action: ActionName = Field(description="Name of the action to run.")
    data: dict[str, Any] = Field(default_factory=dict, description="The action's arguments.")
    run_at: Time | None = Field(None, description="Not to be started before this time.")
    delay: Time | None = Field(None, description="Not to be started within this span from now.")
    priority: Literal["high", "normal", "low"] = Field("normal", description="Which of the waiting go first.")
    max_attempts: int | None = Field(None, ge=1, le=100, description="Attempts until the task has failed.")
    timeout: float | None = Field(None, ge=0.001, le=MAX_TIMEOUT, description="How long an attempt may take.")
    tags: Annotated[list[Tag], AfterValidator(_distinct)] = Field(
        default_factory=list, max_length=10, description="To find it by."
    )

    @model_validator(mode="after")
    def _one_time(self) -> Self:
        if self.run_at is not None and self.delay is not None:
            raise PydanticCustomError("one_time", "run_at and delay exclude each other")
        return self


class BatchBody(BaseModel):
    """Tasks to be accepted together, all or none."""

    model_config = ConfigDict(extra="forbid", strict=True)

    tasks: list[SubmitBody] = Field(min_length=1, max_length=1000, description="At most 1,000.")


class EventFilter(BaseModel):
    """Which events: those that fit all that is given."""

    model_config = ConfigDict(extra="forbid")

    status: list[Status] = Field(default_factory=list, description="With one of these statuses.")
    action: ActionName | None = Field(None, description="With this action.")
    tag: Tag | None = Field(None, description="With this tag.")


class TaskFilter(EventFilter):
    """Which tasks: those that fit all that is given."""

    created_after: Time | None = Field(None, description="Accepted at this time or later.")
    created_before: Time | None = Field(None, description="Accepted before this time.")

    def to_store(self) -> Filter:
        """The same in the store's terms."""
        return Filter(
            statuses=frozenset(self.status),
            action=self.action,
            tag=self.tag,
            created_after=None if self.created_after is None else to_ms(self.created_after),
            created_before=None if self.created_before is None else to_ms(self.created_before),
        )


class ListQuery(TaskFilter):
    """The query string of `GET /tasks`."""

    limit: int = Field(100, ge=1, le=1000, description="How many tasks at most.")
    cursor: str | None = Field(None, description="The `next` of the page before.")


class BulkBody(TaskFilter):
    """Which tasks to act on."""

    dry_run: bool = Field(False, strict=True, description="Only tell how many there are.")

    @model_validator(mode="after")
    def _names_something(self) -> Self:
        if not self.model_fields_set - {"dry_run"}:
            raise PydanticCustomError(
                "no_filter", "name at least one of status, action, tag, created_after, created_before"
            )
        return self


class StatsQuery(BaseModel):
    """The query string of `GET /stats`."""

    model_config = ConfigDict(extra="forbid")

    minutes: int = Field(15, ge=1, le=1440, description="How many past minutes to tell, beside the present one.")
