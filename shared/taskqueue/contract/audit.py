"""What is told of the changes that people and keys made."""

from enum import StrEnum
from typing import Any

from pydantic import Field
from typing_extensions import TypeAliasType

from taskqueue.contract.answers import Answer, Count, Time


class AuditedOperation(StrEnum):
    """What changes something other than by submitting, as OpenAPI names it."""

    CANCEL_TASK = "cancel_task"
    RETRY_TASK = "retry_task"
    DELETE_TASK = "delete_task"
    CANCEL_TASKS = "cancel_tasks"
    RETRY_TASKS = "retry_tasks"
    DELETE_TASKS = "delete_tasks"
    REQUEUE_DEAD_LETTERS = "requeue_dead_letters"
    DROP_DEAD_LETTERS = "drop_dead_letters"
    CREATE_KEY = "create_key"
    REVOKE_KEY = "revoke_key"


# Named, so that a client that is made of the schemas has a name for it.
AuditedFilter = TypeAliasType("AuditedFilter", dict[str, Any])


class AuditEntry(Answer):
    """A change that was made."""

    seq: int = Field(ge=1, description="Its number: later ones have higher ones.")
    at: Time
    operation: AuditedOperation
    key: str | None = Field(description="The id of the key that was shown; null where none was asked for.")
    label: str | None = Field(description="What that key is called.")
    target: str | None = Field(description="The id of the task, or of the key, that was changed.")
    filter: AuditedFilter | None = Field(description="Or of which tasks, or dead letters: as it was sent.")
    tasks: Count | None = Field(description="How many tasks, or dead letters, were changed; null where a key was.")
    address: str | None = Field(
        description="Where the request came from: behind a proxy that isn't trusted to tell, the proxy's; null "
        "where `taskqueue keys` did it in the database itself."
    )
    request_id: str | None


class AuditAnswer(Answer):
    """Changes, newest first."""

    entries: list[AuditEntry]
    count: Count = Field(description="How many this page has.")
    next: int | None = Field(None, description="The `before` of the next page; absent where this is the last.")
