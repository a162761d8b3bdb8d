"""Finding tasks by a filter, newest first, a page at a time.

A page is found by keys (`seq < the last one's`), never by an offset, so its cost doesn't grow with its depth. Each
filter is answered from an index in which the rows stand in the order of `seq`: where a filter names several
statuses there is one such range for each, and their heads are merged.
"""

from dataclasses import dataclass, replace
from typing import Any

from taskqueue.task import Status

#: Above any `seq`.
_END = 2**62


@dataclass(frozen=True, slots=True)
class Filter:
    """Which tasks: those that fit all that is given. Times are Unix milliseconds."""

    statuses: frozenset[Status] = frozenset()
    action: str | None = None
    tag: str | None = None
    #: Accepted then or later.
    created_after: int | None = None
    #: Accepted before that.
    created_before: int | None = None


EVERYTHING = Filter()


@dataclass(frozen=True, slots=True)
class Cursor:
    """Where a page begins: below `before`, and not below `floor`, by `seq`."""

    before: int = _END
    floor: int = 0


def narrow(filter: Filter, statuses: frozenset[Status]) -> Filter | None:
    """The filter with these statuses only; None where no task can fit it."""
    wanted = filter.statuses & statuses if filter.statuses else statuses
    return replace(filter, statuses=wanted) if wanted else None


def page_query(filter: Filter, cursor: Cursor, limit: int) -> tuple[str, dict[str, Any]]:
    """The statement, with its values, that yields the `seq` of a page's tasks, newest first."""
    values: dict[str, Any] = {
        "before": cursor.before,
        "floor": cursor.floor,
        "limit": limit,
        "action": filter.action,
        "tag": filter.tag,
        "created_after": filter.created_after,
        "created_before": filter.created_before,
    }
    statuses = sorted(filter.statuses or Status) if filter.statuses or filter.action else []
    values |= {f"status{number}": status for number, status in enumerate(statuses)}
    others = []
    if filter.created_after is not None:
        others.append("created_at >= :created_after")
    if filter.created_before is not None:
        others.append("created_at < :created_before")
    if filter.tag is not None:
        # By tag alone: the index of tags leads, and the rest is looked up.
        if filter.action is not None:
            others.append("action = :action")
        if filter.statuses:
            others.append(f"status IN ({', '.join(f':status{number}' for number in range(len(statuses)))})")
        ranges = [["tag = :tag"]]
        source, key = "task_tags CROSS JOIN tasks ON seq = task_seq", "task_seq"
    else:
        by_action = ["action = :action"] if filter.action is not None else []
        ranges = [[*by_action, f"status = :status{number}"] for number in range(len(statuses))] or [[]]
        source, key = "tasks", "seq"
    heads = []
    for conditions in ranges:
        where = " AND ".join([*conditions, f"{key} < :before", f"{key} >= :floor", *others])
        heads.append(f"SELECT * FROM (SELECT seq FROM {source} WHERE {where} ORDER BY {key} DESC LIMIT :limit)")  # noqa: S608  # no value is in the text
    return " UNION ALL ".join(heads) + " ORDER BY seq DESC LIMIT :limit", values
