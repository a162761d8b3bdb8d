"""What is answered: what all answers have in common, and those that tell no task."""

from dataclasses import dataclass
from itertools import chain
from json.encoder import encode_basestring_ascii
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PlainSerializer,
    ValidatorFunctionWrapHandler,
    WrapValidator,
)
from typing_extensions import TypeAliasType

from taskqueue.task import Status

Id = Annotated[str, Field(description="The task's id.", json_schema_extra={"format": "uuid"})]
Time = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(ge=0)]
T = TypeVar("T")
# Named, so that a client that is made of the schemas has one type for each.
Priority = TypeAliasType("Priority", Literal["high", "normal", "low"])
BrokerState = TypeAliasType("BrokerState", Literal["connected", "blocked", "disconnected"])


#: Stands for a kept part until the answer is text: no other string in an answer is this one alone.
_HERE = "\0"


@dataclass(frozen=True, slots=True)
class Kept:
    """A part of an answer that the store keeps as JSON text. It is put into the answer as it is, unparsed."""

    text: str

    @classmethod
    def of(cls, text: str | None) -> Self | None:
        """The part, if there is one."""
        return None if text is None else cls(text)


def _keep_place(part: Any, kept: list[str]) -> Any:
    if not isinstance(part, Kept):
        return part
    kept.append(part.text)
    return _HERE


def _kept_or_valid(part: Any, validate: ValidatorFunctionWrapHandler) -> Any:
    return part if isinstance(part, Kept) else validate(part)


#: A member that may be `Kept`: its type describes what is in the text. (A serializer that says what it returns
#: would be taken for a better description.)
MayBeKept = Annotated[
    T,
    WrapValidator(_kept_or_valid),
    PlainSerializer(lambda part, info: _keep_place(part, info.context), when_used="json-unless-none"),
]


class Answer(BaseModel):
    """The whole of an answer, or a part of one. Members that were not set are not told."""

    def to_json(self) -> str:
        """The answer as JSON text; ASCII, so that no client takes a part of a string for the end of a line."""
        kept: list[str] = []
        text = self.model_dump_json(exclude_unset=True, ensure_ascii=True, context=kept)
        if not kept:
            return text
        first, *others = text.split(encode_basestring_ascii(_HERE))
        return "".join([first, *chain.from_iterable(zip(map(to_ascii, kept), others, strict=True))])


def to_ascii(json: str) -> str:
    """The same JSON in ASCII."""
    if json.isascii():
        return json
    # A string of this text has what is not ASCII escaped as it should be; its quotes and backslashes, which are
    # JSON's own, are then taken back, each pair of characters as it was made.
    return encode_basestring_ascii(json)[1:-1].replace('\\"', '"').replace("\\\\", "\\")


#: The `error` of a 422 that is none of what was sent alone: a client has to tell it from others.
KEY_REUSED = "this Idempotency-Key was used for another request"

_WHERE = "Of invalid JSON: where it is, by line and column (in bytes), and what the parser says."


class ErrorDetail(Answer):
    """One of several errors in what was sent."""

    path: str = Field(description="The member or parameter.")
    error: str
    index: int | None = Field(None, ge=0, description="Of a batch: which task, from 0.")
    detail: str | None = Field(None, description=_WHERE)


class ErrorAnswer(Answer):
    """Why a request was not carried out."""

    error: str = Field(description="For the client's developer; not to be parsed.")
    details: list[ErrorDetail] | None = Field(
        None, description="Where there are several errors, or a batch has one."
    )
    detail: str | None = Field(None, description=_WHERE)


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


class RootAnswer(Answer):
    """What serves here, and where to read on."""

    name: Literal["taskqueue"]
    version: str
    docs: str = Field(description="The path of a page to browse the API's description.")
    openapi: str = Field(description="The path of the same for programs.")


class OpenApiDocument(Answer):
    """All that can be asked, and what is answered."""

    model_config = ConfigDict(extra="allow")


class LiveAnswer(Answer):
    """The process answers."""

    status: Literal["ok"]


class ReadyAnswer(Answer):
    """Tasks can be accepted. A broker that is away doesn't hinder that."""

    model_config = ConfigDict(serialize_by_alias=True)

    status: Literal["ready"]
    schema_version: int = Field(alias="schema")
    broker: BrokerState


class NotReadyAnswer(Answer):
    """No task can be accepted now."""

    status: Literal["not ready"]
    error: str
    broker: BrokerState
