"""API keys: what they may do, how they are written, and what is asked and answered about them."""

import re
import secrets
import string
from enum import StrEnum
from typing import Annotated, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from taskqueue.contract.answers import Answer, Count
from taskqueue.contract.answers import Time as AnsweredTime
from taskqueue.contract.limits import LATEST
from taskqueue.contract.requests import SCHEMA_OF_ONE_LINE, ActionName, Tag, Time, one_line

_LETTERS = string.ascii_letters + string.digits
#: Characters of a key's id, and of its secret: 43 of 62 letters are 256 bits.
_ID, _SECRET = 12, 43
_TEXT = re.compile(rf"tq_([0-9A-Za-z]{{{_ID}}})_([0-9A-Za-z]{{{_SECRET}}})")


class Role(StrEnum):
    """What the holder of a key may do. Each role may do what those before it may."""

    READ = "read"
    SUBMIT = "submit"
    OPERATE = "operate"
    ADMIN = "admin"

    def includes(self, other: "Role") -> bool:
        """Whether who has this role may do what needs the other."""
        return _RANK[self] >= _RANK[other]


_RANK = {role: rank for rank, role in enumerate(Role)}


def new_key() -> tuple[str, str, str]:
    """A key that nobody has: its whole text, and the id and the secret in it. From the system's random numbers,
    whatever else draws from a seed."""
    id, secret = ("".join(secrets.choice(_LETTERS) for _ in range(length)) for length in (_ID, _SECRET))
    return f"tq_{id}_{secret}", id, secret


def read_key(text: str) -> tuple[str, str] | None:
    """The id and the secret in a key's text; None where it is none."""
    found = _TEXT.fullmatch(text)
    return None if found is None else (found[1], found[2])


Label = Annotated[
    str, StringConstraints(min_length=1, max_length=100), AfterValidator(one_line), SCHEMA_OF_ONE_LINE
]


class Scope(BaseModel):
    """What a key is bound to: tasks that fit all that is given. What is not theirs is not there for its holder."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        json_schema_extra={"not": {"properties": {name: {"type": "null"} for name in ("actions", "tag_prefix")}}},
    )

    # Each has a range for each status, of which SQLite merges 500 at most.
    actions: list[ActionName] | None = Field(
        None, min_length=1, max_length=50, description="Tasks with one of these actions."
    )
    tag_prefix: Tag | None = Field(
        None, description="Tasks with a tag that begins so. All tags of a task that its holder submits must."
    )

    @model_validator(mode="after")
    def _binds(self) -> Self:
        if self.actions is None and self.tag_prefix is None:
            raise PydanticCustomError("no_scope", "name actions, tag_prefix or both")
        return self


class KeyBody(BaseModel):
    """A key to be made."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        json_schema_extra={
            "not": {
                "anyOf": [
                    {
                        "required": ["expires_at", "expires_in"],
                        "properties": {
                            "expires_at": {"type": ["number", "string"]},
                            "expires_in": {"type": "number"},
                        },
                    },
                    {
                        "required": ["role", "scope"],
                        "properties": {"role": {"const": "admin"}, "scope": {"type": "object"}},
                    },
                ]
            }
        },
    )

    label: Label = Field(description="What it is for, for people.")
    role: Annotated[Role, Field(strict=False)] = Field(description="What its holder may do.")
    scope: Scope | None = Field(None, description="What it is bound to; an admin's is bound to nothing.")
    expires_at: Time | None = Field(None, description="When it ends; without, it ends when it is revoked.")
    expires_in: Annotated[float, Field(ge=0.001, le=LATEST)] | None = Field(
        None, description="After which span from now it ends."
    )

    @field_validator("scope")
    @classmethod
    def _admins_are_free(cls, scope: Scope | None, others: ValidationInfo) -> Scope | None:
        if scope is not None and others.data.get("role") is Role.ADMIN:
            raise PydanticCustomError("bound_admin", "an admin's key can't be bound: it could make another one")
        return scope

    @field_validator("expires_in")
    @classmethod
    def _one_end(cls, expires_in: float | None, others: ValidationInfo) -> float | None:
        if expires_in is not None and others.data.get("expires_at") is not None:
            raise PydanticCustomError("one_end", "expires_at and expires_in exclude each other")
        return expires_in


class KeyAnswer(Answer):
    """A key, without what opens anything."""

    id: str = Field(description="Names it; stands in its text.")
    label: str
    role: Role
    scope: Scope | None = Field(description="What it is bound to; null: to nothing.")
    created_at: AnsweredTime
    expires_at: AnsweredTime | None
    revoked_at: AnsweredTime | None
    last_used_at: AnsweredTime | None = Field(description="Within ten minutes; null where it has not been used.")


class NewKeyAnswer(KeyAnswer):
    """A key that was made."""

    key: str = Field(description="The key itself. It is told this once, and can't be read again.")

    @classmethod
    def of(cls, key: str, answer: KeyAnswer) -> Self:
        """The answer that tells it."""
        return cls(key=key, **answer.model_dump())


class KeysAnswer(Answer):
    """All keys, newest first; those that are revoked or expired, too."""

    keys: list[KeyAnswer]
    count: Count
