"""What is told of the changes that people and keys made."""

from typing import Any, Literal

from pydantic import Field
from typing_extensions import TypeAliasType

from taskqueue.contract.answers import Answer, Count, Time

#: Operations that change something other than by submitting, as OpenAPI names them.
AuditedOperation = TypeAliasType(
    "AuditedOperation",
    Literal[
        "cancel_task",
        "retry_task",
        "delete_task",
        "cancel_tasks",
        "retry_tasks",
        "delete_tasks",
        "create_key",
        "revoke_key",
    ],
)


class AuditEntry(Answer):
    """A change that was made."""

    seq: int = Field(ge=1, description="Its number: later ones have higher ones.")
    at: Time
    operation: AuditedOperation
    key: str | None = Field(description="The id of the key that was shown; null where none was asked for.")
    label: str | None = Field(description="What that key is called.")
    target: str | None = Field(description="The id of the task, or of the key, that was changed.")
    filter: dict[str, Any] | None = Field(description="Or of which tasks: as it was sent.")
    tasks: Count | None = Field(description="How many tasks were changed; null where a key was.")
    address: str | None = Field(description="Where the request came from: behind a proxy, the proxy's.")
    request_id: str | None


class AuditAnswer(Answer):
    """Changes, newest first."""

    entries: list[AuditEntry]
    count: Count = Field(description="How many this page has.")
    next: int | None = Field(None, description="The `before` of the next page; absent where this is the last.")
