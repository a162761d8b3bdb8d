"""What Python can say of a task that it submits, and the same as the body that `POST /tasks` takes."""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Literal, TypedDict

from pydantic_core import to_jsonable_python

#: A time: Unix seconds, or a datetime with a zone.
Moment = float | datetime
#: A span of time: seconds, or a timedelta.
Span = float | timedelta


class TaskOptions(TypedDict, total=False):
    """What can be said of a task beside its action and its data. None says nothing."""

    #: Not to be started within this span from now, or before this time.
    delay: Span | None
    run_at: Moment | None
    #: Which of the waiting go first.
    priority: Literal["high", "normal", "low"] | None
    #: Attempts until it has failed.
    max_attempts: int | None
    #: How long an attempt may take.
    timeout: Span | None
    #: To find it by.
    tags: Sequence[str] | None


def to_json(value: Any) -> bytes:
    """Compact JSON; models, dataclasses, datetimes, UUIDs, ... as pydantic writes them.

    Raises:
        ValueError: a number is not finite, or text is no Unicode.
        pydantic_core.PydanticSerializationError: something has no form in JSON.
    """
    text = json.dumps(
        value, ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=to_jsonable_python
    )
    return text.encode()


def task(action: str, data: Mapping[str, Any] | None, options: Mapping[str, Any]) -> dict[str, Any]:
    """The body of a submit, from what `TaskOptions` has."""
    body: dict[str, Any] = {"action": action}
    if data is not None:
        body["data"] = data
    return body | {name: plain(value) for name, value in options.items() if value is not None}


def plain(value: Any) -> Any:
    """A time or a span in seconds; of several values, a list."""
    match value:
        case datetime() if value.tzinfo is None:
            raise ValueError(f"{value} has no zone: whose time is it?")
        case datetime():
            return value.timestamp()
        case timedelta():
            return value.total_seconds()
        case str() | int() | float():
            return value
        case _:
            return list(value)
