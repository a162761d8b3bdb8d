"""Finding tasks by a filter, newest first, a page at a time.

A page is found by keys (`seq < the last one's`), never by an offset, so its cost doesn't grow with its depth. Each
filter is answered from an index in which the rows stand in the order of `seq`: where a filter names several
statuses there is one such range for each, and their heads are merged. Times only narrow the range (see
`created_ranges` in the schema). What a tag is combined with is looked up for each of the tag's tasks. The tasks
whose tags begin with something are all gathered and sorted: that costs as much as there are of them. Text is
looked for in task after task, so that a page of it goes no further back than `SEARCHED` places.
"""

import itertools
import json
from dataclasses import dataclass, replace
from typing import Any

from taskqueue.task import Status

#: Above whatever follows the beginning of a tag: the last of all characters, as often as a tag has any.
_LAST = "\U0010ffff" * 64
_BY_ACTION = "task INDEXED BY task_by_action"
_PREFIXED = """SELECT DISTINCT task_seq FROM task_tags
    WHERE tag >= :tag_from AND tag < :tag_until AND task_seq < :before AND task_seq >= :floor"""
_HAS_PREFIX = """EXISTS (SELECT 1 FROM task_tags AS others INDEXED BY task_tags_by_task
    WHERE others.task_seq = task.seq AND others.tag >= :tag_from AND others.tag < :tag_until)"""

_TAGGED = """EXISTS (SELECT 1 FROM task_tags AS others INDEXED BY task_tags_by_task
    WHERE others.task_seq = task.seq AND others.tag = :tag)"""
_ERROR = "error ->> 'type' || ': ' || (error ->> 'message') LIKE :error ESCAPE '!'"
_TEXT = """(id LIKE :text ESCAPE '!' OR action LIKE :text ESCAPE '!'
    OR tags <> '[]' AND EXISTS (SELECT 1 FROM json_each(task.tags) WHERE value LIKE :text ESCAPE '!')
    OR error ->> 'type' || ': ' || (error ->> 'message') LIKE :text ESCAPE '!')"""
_NAMED = """(SELECT DISTINCT value FROM json_each(:ids)) AS named
    CROSS JOIN task INDEXED BY sqlite_autoindex_task_1 ON task.id = named.value"""

#: Above any `seq`.
_END = 2**62
#: Places among which text is looked for at a time: some tenths of a second.
SEARCHED = 100_000
#: Characters of an error's message by which errors are told apart.
_TOLD_OF_MESSAGE = 300


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
    #: With one of these actions; None: with any.
    actions: tuple[str, ...] | None = None
    #: With a tag that begins so.
    tag_prefix: str | None = None
    #: Whose error, as `type: message`, has this in it; letters of ASCII in either case.
    error: str | None = None
    #: With this in the id, the action, a tag or the error; likewise.
    text: str | None = None
    #: One of these; one that is named twice is one.
    ids: tuple[str, ...] | None = None


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
    looked_up = (filter.tag, filter.tag_prefix, filter.error, filter.text, filter.ids)
    return looked_up == (None,) * 5 or filter == Filter(tag=filter.tag)


def reads_each(filter: Filter) -> bool:
    """Whether text is looked for in task after task."""
    return filter.ids is None and (filter.error is not None or filter.text is not None)


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


def failures_query(filter: Filter, cursor: Cursor, limit: int) -> tuple[str, dict[str, Any]]:
    """The statement, with its values, that counts a page's tasks by action and error."""
    sql, values = page_query(filter, cursor, limit)
    return (
        f"""SELECT action, coalesce(error ->> 'type', '') AS type,
                substr(coalesce(error ->> 'message', ''), 1, {_TOLD_OF_MESSAGE}) AS message, count(*) AS tasks,
                min(processed_at) AS first_at, max(processed_at) AS last_at, max(id) AS last
            FROM task WHERE seq IN ({sql}) GROUP BY 1, 2, 3""",  # noqa: S608  # as above
        values,
    )


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
        ("tag", "tag = :tag" if filter.ids is None else _TAGGED),
        ("parent", "parent = :parent"),
        ("error", _ERROR),
        ("text", _TEXT),
    ):
        if (value := getattr(filter, name)) is not None:
            values[name] = _within(value) if name in {"error", "text"} else value
            others.append(condition)
    if filter.ids is not None:
        values["ids"] = json.dumps(filter.ids)
    source, key, statuses = _source(filter)
    each = [""]
    if filter.actions is not None:
        values |= {f"action_{place}": action for place, action in enumerate(filter.actions)}
        names = [f":action_{place}" for place in range(len(filter.actions))]
        if source == _BY_ACTION and filter.action is None:
            each = [f"action = {name}" for name in names]
        else:
            others.append(f"action IN ({', '.join(names)})")
    if filter.tag_prefix is not None:
        values |= {"tag_from": filter.tag_prefix, "tag_until": filter.tag_prefix + _LAST}
        if filter.tag is not None or filter.ids is not None:
            others.append(_HAS_PREFIX)
    ranges = []
    for alternatives, one in itertools.product(statuses, each):
        conditions = [*([one] if one else ()), *others, f"{key} < :before", f"{key} >= :floor"]
        if alternatives:
            names = [f"status_{status}" for status in alternatives]
            values |= dict(zip(names, alternatives, strict=True))
            conditions.append(f"status IN ({', '.join(f':{name}' for name in names)})")
        ranges.append((key, f"{source} WHERE {' AND '.join(conditions)}"))
    return ranges, values


def _source(filter: Filter) -> tuple[str, str, list[list[Status]]]:
    """Where the tasks are found, the column of their order there, and the statuses of each range."""
    together = [sorted(filter.statuses)]
    apart = [[status] for status in sorted(filter.statuses)]
    if filter.ids is not None:
        found = _NAMED, "seq", together
    elif filter.tag is not None:
        # By tag alone: the rest is looked up, row by row.
        found = "task_tags CROSS JOIN task NOT INDEXED ON seq = task_seq", "task_seq", together
    elif filter.tag_prefix is not None:
        found = f"({_PREFIXED}) CROSS JOIN task NOT INDEXED ON seq = task_seq", "task_seq", together
    elif filter.parent is not None:
        found = "task INDEXED BY task_by_parent", "seq", together
    elif filter.action is not None or filter.actions:
        found = _BY_ACTION, "seq", apart or [[status] for status in sorted(Status)]
    elif filter.statuses:
        found = "task INDEXED BY task_by_status", "seq", apart
    else:
        found = "task NOT INDEXED", "seq", [[]]
    return found


def _within(text: str) -> str:
    """The pattern of LIKE that fits what has this in it."""
    for special in "!%_":
        text = text.replace(special, f"!{special}")
    return f"%{text}%"
