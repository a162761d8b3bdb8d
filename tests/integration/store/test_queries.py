"""`queries.sql` against a freshly migrated file: every query prepares, and no hot one reads a whole table.

The pages of lists are made by `find.py`: each combination of filters is held against the same.
"""

import itertools
import re
from pathlib import Path

import pytest
from taskqueue.store.find import count_query, ids_query, page_query
from taskqueue.store.sqlite import Connection

from taskqueue.store import Cursor, Filter, queries, transitions
from taskqueue.store.queries import QUERIES
from taskqueue.task import Status

#: Queries that may read a whole table, and why.
SCANS = {
    "worker_beats": "reads all of the small table of workers, which is what it is for",
    "workers": "likewise",
    "status_counts": "reads its six rows",
    "last_event": "the table has one row, that of the events",
    "page": "walks the array that it was given, not a table",
    "action_counts": "likewise",
    "action_times": "likewise",
}
#: Queries that may sort, and why.
SORTS = {
    "workers": "a small table",
    "minute_times": "adds up the minutes that are asked for, a day's at most",
    "minute_counts": "likewise",
    "busiest_actions": "likewise",
    "action_counts": "likewise",
    "action_times": "likewise",
}

#: Every combination of what a list can be filtered by.
FILTERS = [
    Filter(frozenset(statuses), action, tag, after, before)
    for statuses, action, tag, after, before in itertools.product(
        [(), (Status.FAILED,), (Status.FAILED, Status.COMPLETED), tuple(Status)],
        [None, "a"],
        [None, "t"],
        [None, 5],
        [None, 9],
    )
]


def named(filter: Filter) -> str:
    """What it filters by. The order of a set's members would be another in each process of the tests."""
    by = {"statuses": len(filter.statuses), "action": filter.action, "tag": filter.tag}
    by |= {"after": filter.created_after, "before": filter.created_before}
    return " ".join(f"{name}={value}" for name, value in by.items() if value)


each_filter = pytest.mark.parametrize("filter", FILTERS, ids=named)


def parameters(sql: str) -> dict[str, None]:
    return dict.fromkeys(re.findall(r":(\w+)", sql))


def plan(connection: Connection, sql: str) -> list[str]:
    rows = connection.execute(f"EXPLAIN QUERY PLAN {sql}", parameters(sql))
    return [row["detail"] for row in rows]


def many_tasks(connection: Connection) -> None:
    """A lopsided table, and what ANALYZE has to say about it: it must not talk the planner into a scan."""
    connection.execute(
        "INSERT INTO tasks (id, action, payload, created_at, run_at, priority, max_attempts) "
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000) "
        "SELECT i, 'a', '{}', 0, 0, 4, 1 FROM n"
    )
    connection.execute("INSERT INTO task_tags SELECT 't', seq FROM tasks")
    connection.execute("ANALYZE")


def test_every_query_is_loaded_under_its_name() -> None:
    text = Path(queries.__file__).with_name("queries.sql").read_text(encoding="utf-8")
    assert len(QUERIES) == text.count("-- name:") - 1  # the file's own comment mentions it, too
    assert QUERIES["status"] == "SELECT status FROM tasks WHERE id = :id;"
    assert all(sql.endswith(";") for sql in QUERIES.values())


def test_every_query_is_used() -> None:
    folder = Path(transitions.__file__).parent
    code = "".join(file.read_text(encoding="utf-8") for file in folder.glob("*.py"))
    assert not [name for name in QUERIES if f'"{name.removeprefix("prune_")}"' not in code]


@pytest.mark.parametrize("name", QUERIES)
def test_every_query_prepares_against_a_freshly_migrated_file(connection: Connection, name: str) -> None:
    assert plan(connection, QUERIES[name]) or QUERIES[name].startswith(("INSERT", "PRAGMA"))


@pytest.mark.parametrize("name", QUERIES)
def test_no_hot_query_reads_a_whole_table(connection: Connection, name: str) -> None:
    scans = [
        step for step in plan(connection, QUERIES[name]) if re.match(r"SCAN \w+(?! USING)(?! CONSTANT ROW)", step)
    ]
    assert bool(scans) == (name in SCANS), scans


@pytest.mark.parametrize("name", QUERIES)
def test_no_query_sorts(connection: Connection, name: str) -> None:
    # A sort reads all that matches before it gives the first row: the relay would with a long backlog.
    sorts = [step for step in plan(connection, QUERIES[name]) if "TEMP B-TREE" in step]
    assert bool(sorts) == (name in SORTS), sorts


@pytest.mark.parametrize(
    ("name", "index"),
    [
        ("lease_due", "tasks_due"),
        ("requeue", "tasks_by_status"),
        ("running", "tasks_by_worker"),
        ("prune_tasks", "tasks_by_end"),
        ("claims_of", "tasks_by_worker"),
        ("cancels_asked", "tasks_by_worker"),
        ("forget_worker", "tasks_by_worker"),
    ],
)
def test_a_query_over_many_tasks_uses_its_index(connection: Connection, name: str, index: str) -> None:
    steps = plan(connection, QUERIES[name])
    if name == "forget_worker":
        # What its foreign key looks up isn't in its plan.
        steps += plan(connection, "SELECT 1 FROM tasks WHERE worker_id = :id")
    assert any(re.search(rf"SEARCH tasks USING (COVERING )?INDEX {index} ", step) for step in steps), steps


def test_what_is_pruned_is_found_by_its_age(connection: Connection) -> None:
    for name, index in (("events", "events_by_age"), ("idempotency_keys", "idempotency_keys_by_age")):
        assert any(f"COVERING INDEX {index} " in step for step in plan(connection, QUERIES[f"prune_{name}"]))


def test_the_overview_reads_no_table_of_tasks_but_the_ends_of_its_indexes(connection: Connection) -> None:
    assert not [step for step in plan(connection, QUERIES["status_counts"]) if " tasks" in step]
    for name in ("minute_counts", "minute_times"):
        assert any(
            re.search(rf"SEARCH {name} USING PRIMARY KEY \(minute>\?\)", s)
            for s in plan(connection, QUERIES[name])
        )
    steps = [step for step in plan(connection, QUERIES["oldest_waiting"]) if " tasks " in step]
    assert len(steps) == 4
    assert all(re.search(r"INDEX (tasks_due|tasks_queued)\b", step) for step in steps), steps


def test_the_plans_hold_with_statistics_of_many_tasks(connection: Connection) -> None:
    many_tasks(connection)
    for name, sql in QUERIES.items():
        assert not [step for step in plan(connection, sql) if re.match(r"SCAN (tasks|events|task_tags)", step)], (
            name
        )


# Pages


def page_plans(connection: Connection, filter: Filter) -> list[list[str]]:
    plans = [plan(connection, page_query(filter, Cursor(), 100)[0])]
    many_tasks(connection)
    return [*plans, plan(connection, page_query(filter, Cursor(), 100)[0])]


@each_filter
def test_no_page_reads_a_table_from_its_start_or_what_its_filter_leaves_out(
    connection: Connection, filter: Filter
) -> None:
    """It walks from its cursor on: in the index of the most that is named, in the order of the page."""
    for steps in page_plans(connection, filter):
        reads = [step for step in steps if re.match(r"(SCAN|SEARCH) (tasks|task_tags)", step)]
        assert reads
        if filter.tag is not None:
            expected = "SEARCH task_tags USING PRIMARY KEY (tag=? AND task_seq>? AND task_seq<?)"
            assert reads == [expected, "SEARCH tasks USING INTEGER PRIMARY KEY (rowid=?)"]
        elif filter.action is not None:
            index = r"tasks_by_action \(action=\? AND status=\? AND seq>\? AND seq<\?\)"
            assert len(reads) == len(filter.statuses or Status)
            assert all(re.fullmatch(rf"SEARCH tasks USING (COVERING )?INDEX {index}", step) for step in reads), (
                reads
            )
        elif filter.statuses:
            index = r"tasks_by_status \(status=\? AND seq>\? AND seq<\?\)"
            assert len(reads) == len(filter.statuses)
            assert all(re.fullmatch(rf"SEARCH tasks USING (COVERING )?INDEX {index}", step) for step in reads), (
                reads
            )
        else:
            assert reads == ["SEARCH tasks USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)"]


@each_filter
def test_a_page_sorts_nothing_but_the_heads_that_it_merges(connection: Connection, filter: Filter) -> None:
    """Each head has at most a page's rows: it comes out of a subquery with a LIMIT, which is walked in order."""
    for steps in page_plans(connection, filter):
        sorts = [number for number, step in enumerate(steps) if "TEMP B-TREE" in step]
        heads = len(filter.statuses or Status) if filter.statuses or filter.action else 1
        assert len(sorts) == (heads if heads > 1 and filter.tag is None else 0)
        assert all(steps[number - 1].startswith("SCAN (subquery-") for number in sorts)
        assert all(steps[number - 3].startswith("CO-ROUTINE (subquery-") for number in sorts)


@each_filter
def test_a_page_is_bounded_before_it_is_merged(filter: Filter) -> None:
    sql, _ = page_query(filter, Cursor(), 100)
    heads = sql.count("SELECT seq FROM task")
    assert sql.count("LIMIT :limit") == heads + (heads > 1)


@each_filter
def test_a_count_reads_what_a_page_reads_and_sorts_nothing(connection: Connection, filter: Filter) -> None:
    many_tasks(connection)
    steps = plan(connection, count_query(filter, Cursor())[0])
    assert not [step for step in steps if "TEMP B-TREE" in step or re.match(r"SCAN (tasks|task_tags)", step)]


@each_filter
def test_the_ids_of_a_page_are_looked_up_by_their_place(connection: Connection, filter: Filter) -> None:
    many_tasks(connection)
    steps = plan(connection, ids_query(filter, Cursor(), 100)[0])
    assert steps[0] == "SEARCH tasks USING INTEGER PRIMARY KEY (rowid=?)"
    assert not [step for step in steps if re.match(r"SCAN (tasks|task_tags)", step)]


def test_times_are_found_without_reading_tasks(connection: Connection) -> None:
    many_tasks(connection)
    for name in ("none_created_since_below", "none_created_before_from"):
        assert [step for step in plan(connection, QUERIES[name]) if "created_ranges" in step]
        assert not [step for step in plan(connection, QUERIES[name]) if "tasks" in step]
