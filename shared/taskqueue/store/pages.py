"""Finding tasks by a filter, newest first, a page at a time.

A page is found by keys (`seq < the last one's`), never by an offset, so its cost doesn't grow with its depth. Each
filter is answered from an index in which the rows stand in the order of `seq`: where a filter names several
statuses there is one such range for each, and their heads are merged. Times only narrow the range (see
`created_ranges` in the schema). What a tag is combined with is looked up for each of the tag's tasks.
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
    #: Submitted by this task.
    parent: str | None = None


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


def is_quick(filter: Filter) -> bool:
    """Whether a page's tasks stand together in an index: what a tag is combined with is looked up, row by row."""
    return filter.tag is None or filter == Filter(tag=filter.tag)


def page_query(filter: Filter, cursor: Cursor, limit: int) -> tuple[str, dict[str, Any]]:
    """The statement, with its values, that yields the `seq` of a page's tasks, newest first."""
    ranges, values = _ranges(filter, cursor)
    heads = [f"SELECT seq FROM {rows} ORDER BY {key} DESC LIMIT :limit" for key, rows in ranges]  # noqa: S608  # no value is in the text
    if len(heads) > 1:
        merged = " UNION ALL ".join(f"SELECT seq FROM ({head})" for head in heads)  # noqa: S608  # as above
        heads = [f"{merged} ORDER BY seq DESC LIMIT :limit"]
    return heads[0], values | {"limit": limit}


def ids_query(filter: Filter, cursor: Cursor, limit: int) -> tuple[str, dict[str, Any]]:
    """The statement, with its values, that yields the `seq` and the id of a page's tasks, newest first."""
    sql, values = page_query(filter, cursor, limit)
    return f"SELECT seq, id FROM task WHERE seq IN ({sql}) ORDER BY seq DESC", values  # noqa: S608  # as above


def count_query(filter: Filter, cursor: Cursor) -> tuple[str, dict[str, Any]]:
    """The statement, with its values, that counts the tasks from a cursor on."""
    ranges, values = _ranges(filter, cursor)
    counts = " UNION ALL ".join(f"SELECT count(*) AS tasks FROM {rows}" for _, rows in ranges)  # noqa: S608  # as above
    return f"SELECT sum(tasks) AS tasks FROM ({counts})", values  # noqa: S608  # as above


def _ranges(filter: Filter, cursor: Cursor) -> tuple[list[tuple[str, str]], dict[str, Any]]:
    """The ranges that the tasks stand in, each with the column of its order, and the values of them all.

    Each names its index: the planner would at times rather sort, or walk a longer range.
    """
    values: dict[str, Any] = {"before": cursor.before, "floor": cursor.floor}
    others = []
    for name, condition in (
        ("created_after", "created_at >= :created_after"),
        ("created_before", "created_at < :created_before"),
        ("action", "action = :action"),
        ("tag", "tag = :tag"),
        ("parent", "parent = :parent"),
    ):
        if (value := getattr(filter, name)) is not None:
            values[name] = value
            others.append(condition)
    if filter.tag is not None:
        # By tag alone: the rest is looked up, row by row.
        source, key = "task_tags CROSS JOIN task NOT INDEXED ON seq = task_seq", "task_seq"
        statuses = [sorted(filter.statuses)]
    elif filter.parent is not None:
        source, key = "task INDEXED BY task_by_parent", "seq"
        statuses = [sorted(filter.statuses)]
    elif filter.action is not None:
        source, key = "task INDEXED BY task_by_action", "seq"
        statuses = [[status] for status in sorted(filter.statuses or Status)]
    elif filter.statuses:
        source, key = "task INDEXED BY task_by_status", "seq"
        statuses = [[status] for status in sorted(filter.statuses)]
    else:
        source, key = "task NOT INDEXED", "seq"
        statuses = [[]]
    ranges = []
    for alternatives in statuses:
        conditions = [*others, f"{key} < :before", f"{key} >= :floor"]
        if alternatives:
            names = [f"status_{status}" for status in alternatives]
            values |= dict(zip(names, alternatives, strict=True))
            conditions.append(f"status IN ({', '.join(f':{name}' for name in names)})")
        ranges.append((key, f"{source} WHERE {' AND '.join(conditions)}"))
    return ranges, values
