"""What is answered: what all answers have in common, and those that tell no task."""

import json
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic_core import PydanticSerializationError

from taskqueue.task import Status

Id = Annotated[str, Field(description="The task's id.", json_schema_extra={"format": "uuid"})]
Time = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(ge=0)]
Broker = Literal["connected", "blocked", "disconnected"]


class Answer(BaseModel):
    """The whole of an answer, or a part of one. Members that were not set are not told."""

    def to_json(self) -> str:
        """The answer as JSON text; ASCII, so that no client takes a part of a string for the end of a line."""
        try:
            return self.model_dump_json(exclude_unset=True, ensure_ascii=True)
        except PydanticSerializationError:
            # Half a surrogate pair in an error's message, or a result that is nested deeper than pydantic goes.
            return json.dumps(self, default=_members, separators=(",", ":"))


def _members(answer: Answer) -> dict[str, Any]:
    return {name: value for name, value in answer if name in answer.model_fields_set}


class ErrorDetail(Answer):
    """One of several errors in what was sent."""

    path: str = Field(description="The member or parameter.")
    error: str
    index: int | None = Field(None, ge=0, description="Of a batch: which task, from 0.")


class ErrorAnswer(Answer):
    """Why a request was not carried out."""

    error: str = Field(description="For the client's developer; not to be parsed.")
    details: list[ErrorDetail] | None = Field(
        None, description="Where there are several errors, or a batch has one."
    )


class ConflictAnswer(Answer):
    """The task's status doesn't allow the request."""

    error: str
    status: Status


class AcceptedAnswer(Answer):
    """A task that is durable."""

    id: Id
    status: Status = Field(
        description="`pending` where its time hasn't come, or the broker has not confirmed yet."
    )


class BatchAnswer(Answer):
    """The tasks of a batch, in its order."""

    tasks: list[AcceptedAnswer]
    count: Count


class CancelAnswer(Answer):
    """`cancelled` at once, or still `running` and asked to stop."""

    id: Id
    status: Literal[Status.CANCELLED, Status.RUNNING]
    cancel_requested: Literal[True]


class BulkAnswer(Answer):
    """How many tasks were acted on; or would have been, in a dry run."""

    count: Count
    dry_run: bool


class LiveAnswer(Answer):
    """The process answers."""

    status: Literal["ok"]


class ReadyAnswer(Answer):
    """Tasks can be accepted. A broker that is away doesn't hinder that."""

    model_config = ConfigDict(serialize_by_alias=True)

    status: Literal["ready"]
    schema_version: int = Field(alias="schema")
    broker: Broker


class NotReadyAnswer(Answer):
    """No task can be accepted now."""

    status: Literal["not ready"]
    error: str
    broker: Broker
