"""`queries.sql` against a freshly migrated file: every query prepares, and no hot one reads a whole table."""

import re
from pathlib import Path

import pytest

from taskqueue.store import queries, transitions
from taskqueue.store.queries import QUERIES
from taskqueue.store.sqlite import Connection

#: Queries that may read a whole table, and why.
SCANS = {
    "worker_beats": "reads all of the small table of workers, which is what it is for",
    "newest": "walks the tasks from their newest and stops at the limit",
}


def parameters(sql: str) -> dict[str, None]:
    return dict.fromkeys(re.findall(r":(\w+)", sql))


def plan(connection: Connection, sql: str) -> list[str]:
    rows = connection.execute(f"EXPLAIN QUERY PLAN {sql}", parameters(sql))
    return [row["detail"] for row in rows]


def test_every_query_is_loaded_under_its_name() -> None:
    text = Path(queries.__file__).with_name("queries.sql").read_text(encoding="utf-8")
    assert len(QUERIES) == text.count("-- name:") - 1  # the file's own comment mentions it, too
    assert QUERIES["status"] == "SELECT status FROM tasks WHERE id = :id;"
    assert all(sql.endswith(";") for sql in QUERIES.values())


def test_every_query_is_used() -> None:
    folder = Path(transitions.__file__).parent
    code = "".join(file.read_text(encoding="utf-8") for file in folder.glob("*.py"))
    assert not [name for name in QUERIES if f'"{name}"' not in code]


@pytest.mark.parametrize("name", QUERIES)
def test_every_query_prepares_against_a_freshly_migrated_file(connection: Connection, name: str) -> None:
    assert plan(connection, QUERIES[name]) or QUERIES[name].startswith("INSERT")


@pytest.mark.parametrize("name", QUERIES)
def test_no_hot_query_reads_a_whole_table(connection: Connection, name: str) -> None:
    scans = [
        step for step in plan(connection, QUERIES[name]) if re.match(r"SCAN \w+(?! USING)(?! CONSTANT ROW)", step)
    ]
    assert bool(scans) == (name in SCANS), scans


@pytest.mark.parametrize("name", QUERIES)
def test_no_query_sorts(connection: Connection, name: str) -> None:
    # A sort reads all that matches before it gives the first row: the relay would with a long backlog.
    assert not [step for step in plan(connection, QUERIES[name]) if "TEMP B-TREE" in step]


@pytest.mark.parametrize(
    ("name", "index"),
    [
        ("lease_due", "tasks_due"),
        ("requeue", "tasks_by_status"),
        ("newest_with_status", "tasks_by_status"),
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


def test_the_plans_hold_with_statistics_of_many_tasks(connection: Connection) -> None:
    # ANALYZE of a lopsided table must not talk the planner into a scan.
    connection.execute(
        "INSERT INTO tasks (id, action, payload, created_at, run_at, priority, max_attempts) "
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000) "
        "SELECT i, 'a', '{}', 0, 0, 4, 1 FROM n"
    )
    connection.execute("ANALYZE")
    for name, sql in QUERIES.items():
        scans = [step for step in plan(connection, sql) if re.match(r"SCAN tasks(?! USING)", step)]
        assert bool(scans) == (name == "newest"), (name, scans)
