"""Errors of failed tasks, alike ones together."""

from pydantic import BaseModel, ConfigDict, Field

from taskqueue.contract.answers import Answer, Count, Id, Time
from taskqueue.contract.requests import ActionName, Tag
from taskqueue.contract.requests import Time as GivenTime


class ErrorsQuery(BaseModel):
    """The query string of `GET /errors`: which failed tasks, those that fit all that is given."""

    model_config = ConfigDict(extra="forbid")

    action: ActionName | None = Field(None, description="With this action.")
    tag: Tag | None = Field(None, description="With this tag.")
    created_after: GivenTime | None = Field(None, description="Accepted at this time or later.")
    created_before: GivenTime | None = Field(None, description="Accepted before this time.")


class ErrorGroup(Answer):
    """Failed tasks of one action whose errors are alike: they differ in numbers at most."""

    action: str
    type: str
    message: str = Field(description="Its first line, where numbers and ids are `…`.")
    tasks: Count = Field(description="How many of those that were looked at.")
    first_at: Time = Field(description="When the first of them failed.")
    last_at: Time = Field(description="When the last of them failed.")
    last: Id = Field(description="The one that was accepted last.")
    error: str = Field(description="As `error` of `GET /tasks` and bulk verbs, finds them, or some more.")


class ErrorsAnswer(Answer):
    """The errors of failed tasks, the most frequent first; a hundred at most."""

    errors: list[ErrorGroup]
    looked_at: Count = Field(description="How many failed tasks these are of: the newest, 10,000 at most.")
