"""What clients send: request bodies and query strings."""

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
    model_validator,
)
from pydantic.config import JsonDict
from pydantic_core import PydanticCustomError, PydanticKnownError

from taskqueue.contract.answers import Priority
from taskqueue.contract.audit import AuditedOperation
from taskqueue.contract.limits import LATEST, MAX_BATCH, MAX_TIMEOUT
from taskqueue.task import Status

#: No control characters, and none that end a line.
_ONE_LINE = re.compile(r"^[^\u0000-\u001f\u007f-\u009f\u2028\u2029]*$")
#: As JSON writes it.
_NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?")
#: ISO 8601 in the form of RFC 3339: its offset is never left to a guess.
_TIME = re.compile(
    r"^(19[7-9][0-9]|[2-9][0-9]{3})-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-5][0-9](\.[0-9]+)?"
    r"(Z|[+-][0-9]{2}:[0-9]{2})$"
)


def one_line(text: str) -> str:
    """The same text, which has no control characters in it."""
    if not _ONE_LINE.fullmatch(text):
        raise PydanticCustomError("one_line", "must not contain control characters")
    return text


def _distinct(tags: list[str]) -> list[str]:
    if len(set(tags)) < len(tags):
        raise PydanticCustomError("distinct", "must not name a tag twice")
    return tags


def integral(value: object) -> object:
    """In JSON, 3.0 is an integer, too."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def written_as_json(value: object) -> object:
    """A query's numbers are written as JSON's are. Python would read others, too: `1_0`, ` 1`."""
    if isinstance(value, str) and not _NUMBER.fullmatch(value):
        raise PydanticKnownError("int_parsing")
    return value


def _seconds(value: object) -> object:
    """Unix seconds of a time that is text; a number, also as a query has it, is left to pydantic."""
    if not isinstance(value, str) or _NUMBER.fullmatch(value):
        return value
    try:
        if _TIME.fullmatch(value):
            return datetime.fromisoformat(value).timestamp()
    except ValueError:  # there is no such day, hour or offset
        pass
    raise PydanticCustomError(
        "time",
        "Input should be a valid number of Unix seconds, or a time with its offset as in 2030-01-31T12:00:00Z",
    )


#: What the validators check is told to the schema beside them, so that it refuses what they refuse.
SCHEMA_OF_ONE_LINE = Field(json_schema_extra={"pattern": _ONE_LINE.pattern})
_SCHEMA_OF_DISTINCT = Field(json_schema_extra={"uniqueItems": True})

ActionName = Annotated[
    str, StringConstraints(min_length=1, max_length=200), AfterValidator(one_line), SCHEMA_OF_ONE_LINE
]
Tag = Annotated[str, StringConstraints(min_length=1, max_length=64), AfterValidator(one_line), SCHEMA_OF_ONE_LINE]
#: In Unix seconds once it is read.
Time = Annotated[
    float,
    Field(ge=0, le=LATEST),
    BeforeValidator(_seconds),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "number", "minimum": 0, "maximum": LATEST},
                {"type": "string", "format": "date-time", "pattern": _TIME.pattern},
            ]
        }
    ),
]
_SIZE_OF_BATCH = Field(min_length=1, max_length=MAX_BATCH)
#: Text to be looked for.
Searched = Annotated[str, StringConstraints(min_length=1, max_length=200)]
Span = Annotated[float, Field(ge=0, le=LATEST)]
Attempts = Annotated[int, Field(ge=1, le=100), BeforeValidator(integral)]


_TELL_ONE_TIME: JsonDict = {
    "not": {
        "required": ["run_at", "delay"],
        "properties": {"run_at": {"type": ["number", "string"]}, "delay": {"type": "number"}},
    }
}


class Nothing(BaseModel):
    """The query string, or the body, of a request that takes none."""

    model_config = ConfigDict(extra="forbid")


class SubmitBody(BaseModel):
    """A task to be run."""

    model_config = ConfigDict(extra="forbid", strict=True, json_schema_extra=_TELL_ONE_TIME)

    action: ActionName = Field(description="Name of the action to run.")
    data: dict[str, Any] = Field(default_factory=dict, description="The action's arguments.")
    run_at: Time | None = Field(None, description="Not to be started before this time.")
    delay: Span | None = Field(None, description="Not to be started within this span from now.")
    priority: Priority = Field("normal", description="Which of the waiting go first.")
    max_attempts: Attempts | None = Field(None, description="Attempts until the task has failed.")
    timeout: float | None = Field(None, ge=0.001, le=MAX_TIMEOUT, description="How long an attempt may take.")
    tags: Annotated[list[Tag], AfterValidator(_distinct), _SCHEMA_OF_DISTINCT] = Field(
        default_factory=list, max_length=10, description="To find it by."
    )

    # Of a field, not of the whole: a whole with an error in it is not validated further.
    @field_validator("delay")
    @classmethod
    def _one_time(cls, delay: float | None, others: ValidationInfo) -> float | None:
        if delay is not None and others.data.get("run_at") is not None:
            raise PydanticCustomError("one_time", "run_at and delay exclude each other")
        return delay

    def with_defaults(self, defaults: Mapping[str, Any]) -> Self:
        """The same, with what its action says (`taskqueue.actions.describe_actions`) where this body doesn't.

        That is its priority, with which it goes to the broker. The others count from the claim on: they are the
        worker's to apply.
        """
        if "priority" in self.model_fields_set or "priority" not in defaults:
            return self
        return self.model_copy(update={"priority": defaults["priority"]})


class BatchBody(BaseModel):
    """Tasks to be accepted together, all or none."""

    model_config = ConfigDict(extra="forbid", strict=True)

    tasks: list[SubmitBody] = Field(min_length=1, max_length=MAX_BATCH, description="At most 1,000.")


class BatchQuery(BaseModel):
    """The query string of `POST /tasks/batch`."""

    model_config = ConfigDict(extra="forbid")

    dry_run: bool = Field(False, description="Only check the tasks: nothing is stored.")


class EventFilter(BaseModel):
    """Which events: those that fit all that is given."""

    model_config = ConfigDict(extra="forbid")

    # Strictly, a status would have to be one of Python's: no JSON is.
    status: list[Annotated[Status, Field(strict=False)]] = Field(
        default_factory=list, max_length=len(Status), description="With one of these statuses."
    )
    action: ActionName | None = Field(None, description="With this action.")
    tag: Tag | None = Field(None, description="With this tag.")


class TaskFilter(EventFilter):
    """Which tasks: those that fit all that is given."""

    created_after: Time | None = Field(None, description="Accepted at this time or later.")
    created_before: Time | None = Field(None, description="Accepted before this time.")
    parent: Annotated[str, StringConstraints(max_length=100)] | None = Field(
        None, description="Submitted by the task with this id."
    )
    error: Searched | None = Field(
        None, description="Whose error, as `type: message`, has this text in it; letters in either case."
    )
    q: Searched | None = Field(
        None, description="With this text in the id, the action, a tag or the error; letters in either case."
    )


class ListQuery(TaskFilter):
    """The query string of `GET /tasks`."""

    limit: Annotated[int, BeforeValidator(written_as_json)] = Field(
        100, ge=1, le=1000, description="How many tasks at most."
    )
    cursor: str | None = Field(None, description="The `next` of the page before.")


def _tell_one_is_named(schema: JsonDict) -> None:
    schema["not"] = {"properties": {name: {"enum": [None, []]} for name in _narrowing()}}


def _narrowing() -> list[str]:
    return [*TaskFilter.model_fields, "ids"]


class BulkBody(TaskFilter):
    """Which tasks to act on. At least one member must narrow them; null and [] don't."""

    model_config = ConfigDict(strict=True, json_schema_extra=_tell_one_is_named)

    ids: Annotated[list[Annotated[str, StringConstraints(max_length=100)]], _SIZE_OF_BATCH] | None = Field(
        None, description="Of these, 1,000 at most; what there is not is passed over."
    )
    dry_run: bool = Field(False, description="Only tell how many there are.")

    @model_validator(mode="after")
    def _names_something(self) -> Self:
        if all(getattr(self, name) in (None, []) for name in _narrowing()):
            raise PydanticCustomError("no_filter", f"name at least one of {', '.join(_narrowing())}")
        return self


class StatsQuery(BaseModel):
    """The query string of `GET /stats`."""

    model_config = ConfigDict(extra="forbid")

    minutes: Annotated[int, BeforeValidator(written_as_json)] = Field(
        15, ge=1, le=1440, description="How many past minutes to tell, beside the present one."
    )


class AuditQuery(BaseModel):
    """The query string of `GET /audit`."""

    model_config = ConfigDict(extra="forbid")

    key: str | None = Field(None, description="Only what was done with the key of this id.")
    operation: AuditedOperation | None = Field(None, description="Only this.")
    limit: Annotated[int, BeforeValidator(written_as_json)] = Field(
        100, ge=1, le=1000, description="How many at most."
    )
    before: Annotated[int, Field(ge=1, le=2**53), BeforeValidator(written_as_json)] | None = Field(
        None, description="The `next` of the page before."
    )
