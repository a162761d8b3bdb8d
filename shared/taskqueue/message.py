"""The queue's wire format: what travels is the task's payload, one JSON object.

A message says "look at this task"; the truth about the task is in the store.
"""

import json
from dataclasses import dataclass
from enum import IntEnum
from typing import Any


class MalformedMessageError(ValueError):
    """The body is not a task's payload. The text says why."""


class Priority(IntEnum):
    """Message priorities. RabbitMQ 4.3 orders quorum queues strictly by these numbers; 4.0 to 4.2 know two
    levels, above 4 and the rest."""

    LOW = 0
    NORMAL = 4
    HIGH = 8


@dataclass(frozen=True, slots=True)
class Message:
    """What a worker reads from the queue. `created_at` is in Unix seconds."""

    id: str
    action: str
    data: dict[str, Any]
    created_at: float


#: `json.dumps` would make one for each message.
_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def encode(message: Message) -> str:
    """The payload as compact JSON text.

    Raises:
        ValueError: a number is NaN or infinite, or too long to be written.
        UnicodeEncodeError: a string holds half a surrogate pair.
    """
    fields = {
        "id": message.id,
        "action": message.action,
        "data": message.data,
        "created_at": message.created_at,
    }
    text = _ENCODER.encode(fields)
    text.encode()
    return text


def data_of(payload: str) -> str:
    """The text of `data` in a payload that `encode` has written, unparsed.

    No string can hold these marks, for a quote in it is escaped; and what `data` has of them stands between.
    """
    return payload[payload.index(',"data":') + len(',"data":') : payload.rindex(',"created_at":')]


def redated(payload: str, created_at: float) -> str:
    """A payload that `encode` has written, made at another time, in Unix seconds."""
    return f'{payload[: payload.rindex(",")]},"created_at":{created_at!r}}}'


def decode(body: bytes) -> Message:
    """Read a message.

    Raises:
        MalformedMessageError: the body is not a payload that `encode` could have written.
    """
    try:
        fields = json.loads(body.decode())
    except (ValueError, RecursionError) as error:
        raise MalformedMessageError("not JSON") from error
    if not isinstance(fields, dict):
        raise MalformedMessageError("not a JSON object")
    kinds = {"id": (str,), "action": (str,), "data": (dict,), "created_at": (int, float)}
    for name, kind in kinds.items():
        if type(fields.get(name)) not in kind:
            raise MalformedMessageError(f"member {name!r} missing or of the wrong type")
    message = Message(fields["id"], fields["action"], fields["data"], fields["created_at"])
    try:
        encode(message)
    except (ValueError, RecursionError) as error:
        # Python's parser takes what isn't JSON, and no store or answer could hold: NaN, half a surrogate pair.
        raise MalformedMessageError(f"not JSON: {error}") from error
    return message
