"""What the client sends beside a task: what is said of a submit, and a filter as a query."""

from collections.abc import Iterable
from typing import Any, TypedDict

from taskqueue.contract.options import Moment, TaskOptions, plain


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
    #: Submitted by the task with this id.
    parent: str | None
    #: Whose error, as `type: message`, has this text in it.
    error: str | None
    #: With this text in the id, the action, a tag or the error.
    q: str | None


class FailedFilter(TypedDict, total=False):
    """Which failed tasks: those that fit all that is given. None is not given."""

    action: str | None
    tag: str | None
    #: Accepted at this time or later; before this time.
    created_after: Moment | None
    created_before: Moment | None


class BulkFilter(Filter, total=False):
    """Which tasks are acted on: those that fit all that is given. None is not given."""

    #: Of these, 1,000 at most; what there is not is passed over.
    ids: Iterable[str] | None


def query(wanted: EventFilter | Filter | BulkFilter | FailedFilter) -> dict[str, Any]:
    """A filter as the members of a query or of a body."""
    told = {name: plain(value) for name, value in wanted.items() if value is not None}
    if isinstance(told.get("status"), str):
        told["status"] = [told["status"]]
    return told
