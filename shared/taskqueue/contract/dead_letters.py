"""Dead letters, messages that can't be tasks: what is asked and answered about them."""

from typing import Annotated, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, model_validator
from pydantic_core import PydanticCustomError

from taskqueue.contract.answers import Answer, Count, Time
from taskqueue.contract.limits import MAX_DEAD_LETTERS
from taskqueue.contract.requests import integral, written_as_json


class DeadLettersQuery(BaseModel):
    """The query string of `GET /dead`."""

    model_config = ConfigDict(extra="forbid")

    limit: Annotated[int, BeforeValidator(written_as_json)] = Field(
        100, ge=1, le=MAX_DEAD_LETTERS, description="How many at most."
    )


class DeadLettersBody(BaseModel):
    """Which dead letters to end: those that are named, or all."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        json_schema_extra={
            "not": {
                "anyOf": [
                    {
                        "required": ["ids", "all"],
                        "properties": {"ids": {"type": "array"}, "all": {"const": True}},
                    },
                    {"properties": {"ids": {"type": "null"}, "all": {"const": False}}},
                ]
            }
        },
    )

    ids: list[Annotated[str, StringConstraints(min_length=1, max_length=100)]] | None = Field(
        None,
        min_length=1,
        max_length=MAX_DEAD_LETTERS,
        description="Those with these ids; or none, if one is unknown.",
    )
    all: bool = Field(False, description="All among the oldest `limit`.")
    limit: Annotated[int, BeforeValidator(integral)] = Field(
        MAX_DEAD_LETTERS, ge=1, le=MAX_DEAD_LETTERS, description="How many of the oldest to look at."
    )

    @model_validator(mode="after")
    def _says_which(self) -> Self:
        if (self.ids is None) != self.all:
            raise PydanticCustomError("which", "name ids, or say that all are meant")
        return self


class DeadLetterAnswer(Answer):
    """A message that can't be a task."""

    id: str = Field(description="Made of what it holds: it never comes to mean another letter.")
    reason: str
    died_at: Time | None = Field(description="Since when it is one; null where nobody has noted it.")
    message: str = Field(description="The beginning of it: 2,000 bytes at most. What is no UTF-8 is escaped.")
    size: Count = Field(description="How many bytes the whole message has.")
    truncated: bool = Field(description="Whether there is more of it.")


class DeadLettersAnswer(Answer):
    """The oldest dead letters."""

    letters: list[DeadLetterAnswer]
    count: Count = Field(description="How many are told: fewer than there are where that would take too long.")
    total: Count = Field(description="How many there are in all.")


class EndedLettersAnswer(Answer):
    """How many dead letters were requeued, or dropped."""

    count: Count
    left: Count = Field(description="How many there were beside these.")
