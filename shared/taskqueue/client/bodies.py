"""What the client sends: a task, a filter, as JSON and as a query."""

import json
from collections.abc import Iterable, Mapping, Sequence
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


class SubmitOptions(TaskOptions, total=False):
    """What can be said where one task is submitted. None says nothing."""

    #: The Idempotency-Key, instead of one that is made: with the same key, a task is accepted once.
    key: str | None
    #: Seconds to wait for its end before the submit returns.
    wait: float | None


class EventFilter(TypedDict, total=False):
    """Which events: those that fit all that is given. None is not given."""

    #: With this status, or one of these.
    status: str | Iterable[str] | None
    action: str | None
    tag: str | None


class Filter(EventFilter, total=False):
    """Which tasks: those that fit all that is given. None is not given."""

    #: Accepted at this time or later; before this time.
    created_after: Moment | None
    created_before: Moment | None


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
    return body | {name: _plain(value) for name, value in options.items() if value is not None}


def query(wanted: Filter | EventFilter) -> dict[str, Any]:
    """A filter as the members of a query or of a body."""
    told = {name: _plain(value) for name, value in wanted.items() if value is not None}
    if isinstance(told.get("status"), str):
        told["status"] = [told["status"]]
    return told


def _plain(value: Any) -> Any:
    """Times and spans in seconds."""
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
