"""`queries.sql` against a freshly migrated file: every query prepares, and no hot one reads a whole table.

The pages of lists are made by `pages.py`: each combination of filters is held against the same.
"""

import itertools
import re
from pathlib import Path
from typing import get_args

import pytest

from taskqueue.store import Cursor, Filter, queries
from taskqueue.store.bulk import Kept
from taskqueue.store.engine.sqlite.connection import Connection
from taskqueue.store.pages import count_query, ids_query, page_query
from taskqueue.store.queries import QUERIES
from taskqueue.task import Status

#: Queries that may read a whole table, and why.
SCANS = {
    "worker_beats": "reads all of the small table of workers, which is what it is for",
    "workers": "likewise",
    "worker_count": "likewise",
    "status_counts": "reads its six rows",
    "wrong_counts": "likewise",
    "event_range": "the table has one row for each that numbers its rows",
    "identity": "reads its three rows",
    "keys": "reads all of the small table of keys, which is what it is for",
    "migrations_table": "the table of tables is small",
    "catalogue": "reads all of the small table of actions, which is what it is for",
    "actions": "likewise",
    "prune_actions": "likewise",
    "empty_ranges": "a row for each thousand of tasks, on the connection that counts",
    "tags": "walks what it has found, a row for each tag that is told",
    "prune_audit": "reads the first ones, as many as it may delete at a time",
    "prune_events": "reads the first ones, as many as it may delete at a time",
}
#: Queries that may walk all tasks of a status, and why.
WALKS = {
    "wrong_counts": "counts them all, on a connection of its own, now and then",
    "set_aside_counts": "counts what is set aside, which has an index of its own",
    "oldest_waiting": "takes the first of each priority",
    "empty_ranges": "takes the first of a thousand places",
    "prune_ranges": "likewise",
}
#: Queries that may sort, and why.
SORTS = {
    "workers": "a small table",
    "minute_times": "adds up the minutes that are asked for, a day's at most",
    "minute_counts": "likewise",
    "busiest_actions": "likewise",
    "action_counts": "likewise",
    "action_times": "likewise",
    "sums_of_counts": "adds up the minutes of one span",
    "sums_of_times": "likewise",
    "window_actions": "adds up what is asked for: an hour's minutes, or about a hundred spans",
    "window_counts": "likewise",
    "window_times": "likewise",
    "window_action_times": "likewise",
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
FILTERS += [
    Filter(frozenset(statuses), action, tag, actions=("a", "b"))
    for statuses, action, tag in itertools.product(
        [(), (Status.FAILED, Status.COMPLETED)], [None, "a"], [None, "t"]
    )
]
FILTERS += [
    Filter(frozenset(statuses), action, tag, text="x", error="e")
    for statuses, action, tag in itertools.product(
        [(), (Status.FAILED, Status.COMPLETED)], [None, "a"], [None, "t"]
    )
]
FILTERS += [
    Filter(frozenset(statuses), action, tag, parent="p")
    for statuses, action, tag in itertools.product(
        [(), (Status.FAILED, Status.COMPLETED)], [None, "a"], [None, "t"]
    )
]


def named(filter: Filter) -> str:
    """What it filters by. The order of a set's members would be another in each process of the tests."""
    by = {"statuses": len(filter.statuses), "action": filter.action, "tag": filter.tag}
    by |= {"after": filter.created_after, "before": filter.created_before, "parent": filter.parent}
    by |= {"text": filter.text}
    return " ".join(f"{name}={value}" for name, value in by.items() if value)


each_filter = pytest.mark.parametrize("filter", FILTERS, ids=named)


def parameters(sql: str) -> dict[str, None]:
    return dict.fromkeys(re.findall(r":(\w+)", sql))


def plan(connection: Connection, sql: str) -> list[str]:
    rows = connection.execute(f"EXPLAIN QUERY PLAN {sql}", parameters(sql))
    return [row["detail"] for row in rows]


def many_tasks(connection: Connection, status: str = "pending") -> None:
    """A lopsided table, and what ANALYZE has to say about it: it must not talk the planner into a scan."""
    connection.execute(
        "INSERT INTO task (id, action, payload, status, queued_at, created_at, run_at, priority, max_attempts) "
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000) "
        "SELECT i, 'a', '{}', :status, iif(:status = 'queued', 0, NULL), 0, 0, 4, 1 FROM n",
        {"status": status},
    )
    connection.execute("INSERT INTO task_tags SELECT 't', seq FROM task")
    connection.execute("ANALYZE")


#: With no statistics, which is what there is, and with those of a backlog.
each_backlog = pytest.mark.parametrize("backlog", [None, "pending", "queued"])


def test_every_query_is_loaded_under_its_name() -> None:
    text = Path(queries.__file__).with_name("queries.sql").read_text(encoding="utf-8")
    assert len(QUERIES) == text.count("-- name:")
    assert QUERIES["standing"] == "SELECT seq, status, action, attempt FROM task WHERE id = :id;"
    assert all(sql.endswith(";") for sql in QUERIES.values())


def test_every_query_is_used() -> None:
    folder = Path(queries.__file__).parent
    code = "".join(file.read_text(encoding="utf-8") for file in folder.glob("*.py"))
    # The first argument of a call, but for the transaction.
    called = {*re.findall(r'\(\s*(?:tx, )?"(\w+)"', code), *(f"prune_{what}" for what in get_args(Kept))}
    assert QUERIES.keys() - called == set()


@pytest.mark.parametrize("name", QUERIES)
def test_every_query_prepares_against_a_freshly_migrated_file(connection: Connection, name: str) -> None:
    assert plan(connection, QUERIES[name]) or QUERIES[name].startswith(("INSERT", "PRAGMA"))


@each_backlog
def test_no_hot_query_reads_a_whole_table(connection: Connection, backlog: str | None) -> None:
    if backlog:
        many_tasks(connection, backlog)
    # What walks an array that it was given reads no table.
    scan = r"SCAN \w+(?! USING| CONSTANT ROW| VIRTUAL)\b"
    scans = {}
    for name, sql in QUERIES.items():
        found = [step for step in plan(connection, sql) if re.match(scan, step)]
        if found:
            scans[name] = found
    assert scans.keys() == SCANS.keys(), scans


@each_backlog
def test_no_query_walks_all_tasks_of_a_status(connection: Connection, backlog: str | None) -> None:
    """By what a whole backlog has in common in an index."""
    if backlog:
        many_tasks(connection, backlog)
    shared = r"\((status=\?|action=\? AND status=\?|priority=\?)\)$|^SCAN task USING|task .*rowid>\?"
    walks = {}
    for name, sql in QUERIES.items():
        found = [step for step in plan(connection, sql) if " task " in step and re.search(shared, step)]
        if found:
            walks[name] = found
    assert walks.keys() == WALKS.keys(), walks


@each_backlog
@pytest.mark.parametrize("name", ["settle", "demote", "mark_queued"])
def test_what_was_published_is_looked_up_by_its_place(
    connection: Connection, name: str, backlog: str | None
) -> None:
    if backlog:
        many_tasks(connection, backlog)
    assert plan(connection, QUERIES[name]) == [
        "SCAN publish VIRTUAL TABLE INDEX 1:",
        "SEARCH task USING INTEGER PRIMARY KEY (rowid=?)",
    ]


@pytest.mark.parametrize("name", QUERIES)
def test_no_query_sorts(connection: Connection, name: str) -> None:
    # A sort reads all that matches before it gives the first row: the relay would with a long backlog.
    sorts = [step for step in plan(connection, QUERIES[name]) if "TEMP B-TREE" in step]
    assert bool(sorts) == (name in SORTS), sorts


def test_tasks_that_are_named_are_looked_up_by_their_ids(connection: Connection) -> None:
    many_tasks(connection)
    filter = Filter(frozenset({Status.FAILED}), "a", "t", text="x", ids=("a", "b"), tag_prefix="t")
    sql, _ = page_query(filter, Cursor(), 10)
    assert {step for step in plan(connection, sql) if "TEMP B-TREE" not in step} >= {
        "SCAN json_each VIRTUAL TABLE INDEX 1:",
        "SEARCH task USING INDEX sqlite_autoindex_task_1 (id=? AND rowid>? AND rowid<?)",
    }


@pytest.mark.parametrize(
    ("name", "index"),
    [
        ("lease_due", "task_due"),
        ("demote_all", "task_by_status"),
        ("demote_lost", "task_queued"),
        ("demote_expired", "task_leased"),
        ("running", "task_by_worker"),
        ("prune_tasks", "task_by_end"),
        ("claims_of", "task_by_worker"),
        ("forget_worker", "task_by_worker"),
    ],
)
def test_a_query_over_many_tasks_uses_its_index(connection: Connection, name: str, index: str) -> None:
    steps = plan(connection, QUERIES[name])
    if name == "forget_worker":
        # What its foreign key looks up isn't in its plan.
        steps += plan(connection, "SELECT 1 FROM task WHERE worker_id = :id")
    assert any(re.search(rf"SEARCH task USING (COVERING )?INDEX {index} ", step) for step in steps), steps


def test_what_is_pruned_is_found_by_its_age(connection: Connection) -> None:
    for name, step in (
        ("idempotency_keys", "COVERING INDEX idempotency_keys_by_age (created_at<?)"),
        ("minute_counts", "SEARCH minute_counts USING PRIMARY KEY (minute<?)"),
        ("minute_times", "SEARCH minute_times USING PRIMARY KEY (minute<?)"),
        ("events", "SEARCH events USING INTEGER PRIMARY KEY (rowid<?)"),
    ):
        steps = plan(connection, QUERIES[f"prune_{name}"])
        assert any(step in found for found in steps), steps


def test_the_overview_reads_no_table_of_tasks_but_the_ends_of_its_indexes(connection: Connection) -> None:
    assert not [step for step in plan(connection, QUERIES["status_counts"]) if " task" in step]
    for name in ("minute_counts", "minute_times"):
        assert any(
            re.search(rf"SEARCH {name} USING PRIMARY KEY \(minute>\?\)", s)
            for s in plan(connection, QUERIES[name])
        )
    steps = [step for step in plan(connection, QUERIES["oldest_waiting"]) if " task " in step]
    assert len(steps) == 6
    assert all(re.search(r"INDEX (task_due|task_queued)\b", step) for step in steps), steps


# Pages


def page_plans(connection: Connection, filter: Filter) -> list[list[str]]:
    plans = [plan(connection, page_query(filter, Cursor(), 100)[0])]
    many_tasks(connection)
    return [*plans, plan(connection, page_query(filter, Cursor(), 100)[0])]


def actions_of(filter: Filter) -> int:
    """How many actions have a range of their own."""
    return len(filter.actions) if filter.actions is not None and filter.action is None else 1


@each_filter
def test_no_page_reads_a_table_from_its_start_or_what_its_filter_leaves_out(
    connection: Connection, filter: Filter
) -> None:
    """It walks from its cursor on: in the index of the most that is named, in the order of the page."""
    for steps in page_plans(connection, filter):
        reads = [step for step in steps if re.match(r"(SCAN|SEARCH) (task|task_tags)\b", step)]
        assert reads
        if filter.tag is not None:
            expected = "SEARCH task_tags USING PRIMARY KEY (tag=? AND task_seq>? AND task_seq<?)"
            assert reads == [expected, "SEARCH task USING INTEGER PRIMARY KEY (rowid=?)"]
        elif filter.parent is not None:
            index = r"task_by_parent \(parent=\? AND seq>\? AND seq<\?\)"
            assert re.fullmatch(rf"SEARCH task USING (COVERING )?INDEX {index}", *reads), reads
        elif filter.action is not None or filter.actions is not None:
            index = r"task_by_action \(action=\? AND status=\? AND seq>\? AND seq<\?\)"
            assert len(reads) == len(filter.statuses or Status) * actions_of(filter)
            assert all(re.fullmatch(rf"SEARCH task USING (COVERING )?INDEX {index}", step) for step in reads), (
                reads
            )
        elif filter.statuses:
            index = r"task_by_status \(status=\? AND seq>\? AND seq<\?\)"
            assert len(reads) == len(filter.statuses)
            assert all(re.fullmatch(rf"SEARCH task USING (COVERING )?INDEX {index}", step) for step in reads), (
                reads
            )
        else:
            assert reads == ["SEARCH task USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)"]


@each_filter
def test_a_page_sorts_nothing_but_the_heads_that_it_merges(connection: Connection, filter: Filter) -> None:
    """Each head has at most a page's rows: it comes out of a subquery with a LIMIT, which is walked in order."""
    for found in page_plans(connection, filter):
        # What looks into the tags of a row is no step of its own.
        steps = [step for step in found if not re.match(r"CORRELATED|SCAN json_each", step)]
        sorts = [number for number, step in enumerate(steps) if "TEMP B-TREE" in step]
        heads = len(filter.statuses or Status) if filter.statuses or filter.action or filter.actions else 1
        heads *= actions_of(filter)
        assert len(sorts) == (heads if heads > 1 and filter.tag is None and filter.parent is None else 0)
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
    assert not [step for step in steps if "TEMP B-TREE" in step or re.match(r"SCAN (task|task_tags)\b", step)]


@each_filter
def test_the_ids_of_a_page_are_looked_up_by_their_place(connection: Connection, filter: Filter) -> None:
    many_tasks(connection)
    steps = plan(connection, ids_query(filter, Cursor(), 100)[0])
    assert steps[0] == "SEARCH task USING INTEGER PRIMARY KEY (rowid=?)"
    assert not [step for step in steps if re.match(r"SCAN (task|task_tags)\b", step)]


def test_times_are_found_without_reading_tasks(connection: Connection) -> None:
    many_tasks(connection)
    for name in ("none_created_since_below", "none_created_before_from"):
        assert [step for step in plan(connection, QUERIES[name]) if "created_ranges" in step]
        assert not [step for step in plan(connection, QUERIES[name]) if re.search(r"\btask\b", step)]
