"""The schema's CHECKs refuse what no task can be, and a store refuses a schema that isn't its own."""

import re
from pathlib import Path
from typing import Any

import pytest
from tests.integration.store.given import NOON, looking

from taskqueue.store import SchemaMismatchError, Store, StoreError, open_store
from taskqueue.store.engine.sqlite.connection import (
    SQLITE_VERSION,
    Connection,
    connect,
    journal_mode,
    wal_is_safe,
)
from taskqueue.store.schema import SCHEMA_VERSION
from taskqueue.task import Outcome, Status

TASK: dict[str, Any] = {
    "id": "t",
    "action": "act",
    "payload": "{}",
    "created_at": NOON,
    "run_at": NOON,
    "priority": 4,
    "max_attempts": 3,
    "status": "pending",
}
#: What each status needs beside that.
STATUS: dict[str, dict[str, Any]] = {
    "pending": {},
    "queued": {"queued_at": NOON},
    "running": {"worker_id": "w", "attempt": 1, "attempt_worker": "w", "attempt_started": NOON},
    "completed": {"processed_at": NOON, "result": "{}", "attempt": 1},
    "failed": {"processed_at": NOON, "error": "{}", "attempt": 1},
    "cancelled": {"processed_at": NOON},
}
#: What stands in a task's row of an attempt.
STARTED = {"attempt_worker": "w", "attempt_started": NOON}
#: One before that.
ATTEMPT = {"task_seq": 1, "number": 1, "worker_id": "w", "started_at": NOON}


def insert(connection: Connection, table: str, row: dict[str, Any]) -> None:
    names = ", ".join(row)
    values = ", ".join(f":{name}" for name in row)
    connection.execute(f"INSERT INTO {table} ({names}) VALUES ({values})", row)


@pytest.fixture
def worker(connection: Connection) -> None:
    row = {"id": "w", "host": "host", "pid": 1, "consumers": 2, "prefetch": 5, "started_at": 0, "last_seen": 0}
    insert(connection, "workers", row)


@pytest.mark.usefixtures("worker")
@pytest.mark.parametrize("status", Status)
def test_a_task_of_each_status_can_be_stored(connection: Connection, status: Status) -> None:
    insert(connection, "task", TASK | {"status": status} | STATUS[status])


@pytest.mark.parametrize("status", ["pending", "queued"])
def test_a_task_that_waits_can_be_leased(connection: Connection, status: str) -> None:
    insert(connection, "task", TASK | {"status": status, "dispatch_id": "d", "dispatch_until": 1} | STATUS[status])


@pytest.mark.parametrize("status", ["pending", "queued", "cancelled"])
def test_a_task_may_leave_its_attempts_to_its_first_claim(connection: Connection, status: str) -> None:
    insert(connection, "task", TASK | {"status": status, "max_attempts": None} | STATUS[status])


def test_a_new_task_is_without_an_attempt(connection: Connection) -> None:
    insert(connection, "task", TASK)
    row = connection.execute("SELECT * FROM task").fetchone()
    assert (row["attempt"], row["attempt_started"], row["failures"], row["cancel_requested"]) == (0, None, 0, 0)


IMPOSSIBLE: list[dict[str, Any]] = [
    {"status": "lost"},
    {"status": None},
    {"status": "PENDING"},
    *({"status": status} for status in STATUS if status != "pending"),
    *({"processed_at": NOON, "status": status} | STATUS[status] for status in ("pending", "queued", "running")),
    *({"result": "{}", "status": status} | STATUS[status] for status in STATUS if status != "completed"),
    *({"worker_id": "w", "status": status} | STATUS[status] for status in STATUS if status != "running"),
    *({"queued_at": NOON, "status": status} | STATUS[status] for status in STATUS if status != "queued"),
    *(
        {"dispatch_id": "d", "dispatch_until": NOON, "status": status} | STATUS[status]
        for status in STATUS
        if status not in {"pending", "queued"}
    ),
    {"status": "completed"} | STATUS["completed"] | {"result": None},
    {"status": "failed"} | STATUS["failed"] | {"error": None},
    {"status": "running", "worker_id": "nobody"},
    {"status": "running"} | STATUS["running"] | {"max_attempts": None},
    {"attempt_worker": "w"},
    {"attempt_started": NOON},
    {"attempt_ended": NOON} | STARTED,
    {"attempt_outcome": "ok"} | STARTED,
    {"attempt_outcome": "lost", "attempt_ended": NOON} | STARTED,
    {"attempt_outcome": "ok", "attempt_ended": NOON},
    {"status": "running", "worker_id": "w"},
    {"status": "running"} | STATUS["running"] | {"attempt_ended": NOON, "attempt_outcome": "ok"},
    {"dispatch_id": "d"},
    {"dispatch_until": NOON},
    {"cancel_requested": 2},
    {"cancel_requested": None},
    {"max_attempts": 0},
    {"timeout": 0},
    {"timeout": -5},
    {"created_at": "yesterday"},
    {"run_at": 1.5},
    {"priority": None},
    {"attempt": "first"},
    {"id": None},
    {"action": None},
    {"payload": None},
]


@pytest.mark.usefixtures("worker")
@pytest.mark.parametrize("changes", IMPOSSIBLE, ids=str)
def test_an_impossible_task_is_refused(connection: Connection, changes: dict[str, Any]) -> None:
    with pytest.raises(connection.IntegrityError):
        insert(connection, "task", TASK | changes)


def test_each_check_of_the_schema_refuses_something_here(database: Path) -> None:
    """The cases above fail for the CHECK meant: without that one, each of them is let in by the others."""
    connection = looking(database)
    [sql] = connection.execute("SELECT sql FROM sqlite_schema WHERE name = 'task'").fetchone()
    connection.close()
    checks = list(re.finditer(r"CHECK \((?:[^()]|\((?:[^()]|\([^()]*\))*\))*\)", sql))
    assert len(checks) == sql.count("CHECK")
    for check in checks:
        without = sql[: check.start()] + "CHECK (1)" + sql[check.end() :]
        memory = type(connection)(":memory:", isolation_level=None)
        try:
            memory.execute(without)
            assert any(accepted(memory, TASK | changes) for changes in IMPOSSIBLE), check.group()
        finally:
            memory.close()


def accepted(connection: Connection, row: dict[str, Any]) -> bool:
    connection.execute("SAVEPOINT try")
    try:
        insert(connection, "task", row)
    except connection.IntegrityError:
        return False
    finally:
        connection.execute("ROLLBACK TO try")
        connection.execute("RELEASE try")
    return True


def test_an_id_is_taken_once(connection: Connection) -> None:
    insert(connection, "task", TASK)
    with pytest.raises(connection.IntegrityError, match=r"task\.id"):
        insert(connection, "task", TASK)


@pytest.mark.parametrize("outcome", Outcome)
def test_an_attempt_may_end_with_each_outcome(connection: Connection, outcome: Outcome) -> None:
    insert(connection, "task", TASK | {"seq": 1, "attempt_ended": NOON, "attempt_outcome": outcome} | STARTED)
    insert(connection, "attempts", ATTEMPT | {"ended_at": NOON, "outcome": outcome})


@pytest.mark.parametrize(
    "changes",
    [
        {"outcome": "ok"},
        {"ended_at": NOON},
        {"ended_at": NOON, "outcome": "lost"},
        {"task_seq": 2},
        {"number": None},
        {"worker_id": None},
        {"started_at": None},
    ],
    ids=str,
)
def test_an_impossible_attempt_is_refused(connection: Connection, changes: dict[str, Any]) -> None:
    insert(connection, "task", TASK | {"seq": 1})
    with pytest.raises(connection.IntegrityError):
        insert(connection, "attempts", ATTEMPT | changes)


def test_an_attempts_number_is_taken_once(connection: Connection) -> None:
    insert(connection, "task", TASK | {"seq": 1})
    insert(connection, "attempts", ATTEMPT)
    with pytest.raises(connection.IntegrityError):
        insert(connection, "attempts", ATTEMPT)


@pytest.mark.usefixtures("worker")
def test_a_worker_with_a_running_task_cannot_be_forgotten(connection: Connection) -> None:
    insert(connection, "task", TASK | {"status": "running"} | STATUS["running"])
    with pytest.raises(connection.IntegrityError):
        connection.execute("DELETE FROM workers")


# Which databases a store takes


async def refusal(database: Path) -> str:
    with pytest.raises(StoreError) as caught:
        async with open_store(database, write_timeout=1):
            pass
    assert "\n" not in str(caught.value)
    return str(caught.value)


def names_in(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


async def test_a_missing_file_is_refused_with_what_to_run(tmp_path: Path) -> None:
    text = await refusal(tmp_path / "tasks.db")
    assert str(tmp_path / "tasks.db") in text
    assert "run taskqueue-migrate" in text
    assert names_in(tmp_path) == []


async def test_an_empty_file_is_refused_with_what_to_run(tmp_path: Path) -> None:
    (tmp_path / "tasks.db").touch()
    assert "run taskqueue-migrate" in await refusal(tmp_path / "tasks.db")


async def test_a_file_without_a_schema_is_refused_with_what_to_run(tmp_path: Path) -> None:
    (tmp_path / "tasks.db").touch()
    connection = looking(tmp_path / "tasks.db")
    connection.execute(f"PRAGMA journal_mode = {journal_mode()}")
    connection.close()
    assert f"schema missing, needed is {SCHEMA_VERSION}: run taskqueue-migrate" in await refusal(
        tmp_path / "tasks.db"
    )


async def test_an_older_schema_is_refused_with_what_to_run(database: Path, connection: Connection) -> None:
    connection.execute("DELETE FROM schema_migrations")
    assert f"needed is {SCHEMA_VERSION}: run taskqueue-migrate" in await refusal(database)


async def test_a_newer_schema_is_refused_with_what_to_do(database: Path, connection: Connection) -> None:
    connection.execute("INSERT INTO schema_migrations VALUES (?, 'newer', '', 0)", (SCHEMA_VERSION + 1,))
    text = await refusal(database)
    assert f"schema {SCHEMA_VERSION + 1} is newer" in text
    assert "upgrade taskqueue" in text


async def test_another_journal_mode_is_refused_with_what_to_run(database: Path) -> None:
    connection = looking(database)
    other = "delete" if journal_mode() == "wal" else "wal"
    connection.execute(f"PRAGMA journal_mode = {other}")
    connection.close()
    assert f"journal mode {other}, needed is {journal_mode()}: run taskqueue-migrate" in await refusal(database)


@pytest.mark.parametrize("content", [b"text, not a database. " * 500, b"SQLite format 3\0" + b"\xff" * 5000])
async def test_a_file_that_is_no_database_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "tasks.db").write_bytes(content)
    text = await refusal(tmp_path / "tasks.db")
    assert str(tmp_path / "tasks.db") in text
    assert "restore a backup" in text


@pytest.mark.parametrize("name", ["tasks.db", "tasks.db.write-lock"])
async def test_a_file_that_cannot_be_opened_is_refused(
    tmp_path: Path, request: pytest.FixtureRequest, name: str
) -> None:
    if name != "tasks.db":
        request.getfixturevalue("database")
        (tmp_path / name).unlink()
    (tmp_path / name).mkdir()  # permissions don't hinder root
    assert str(tmp_path / name) in await refusal(tmp_path / "tasks.db")


async def test_a_right_database_passes(store: Store) -> None:
    assert await store.schema_version() == SCHEMA_VERSION


def test_a_mismatch_is_a_store_error() -> None:
    assert issubclass(SchemaMismatchError, StoreError)


# Which SQLite, and how it is set up


@pytest.mark.parametrize(
    ("version", "safe"),
    [
        ("3.7.0", False),
        ("3.40.1", False),
        ("3.44.5", False),
        ("3.44.6", True),
        ("3.44.9", True),
        ("3.45.0", False),
        ("3.45.6", False),
        ("3.46.1", False),
        ("3.49.9", False),
        ("3.50.0", False),
        ("3.50.6", False),
        ("3.50.7", True),
        ("3.50.12", True),
        ("3.51.0", False),
        ("3.51.2", False),
        ("3.51.3", True),
        ("3.52.0", True),
        ("3.53.4", True),
        ("4.0.0", True),
    ],
)
def test_a_write_ahead_log_is_used_only_with_a_fixed_sqlite(version: str, safe: bool) -> None:
    assert wal_is_safe(tuple(map(int, version.split(".")))) is safe


def test_the_sqlite_that_serves_here_is_told() -> None:
    assert re.fullmatch(r"3\.\d+\.\d+", SQLITE_VERSION)


def test_every_connection_syncs_each_commit_and_enforces_references(connection: Connection) -> None:
    full = 2
    assert connection.execute("PRAGMA synchronous").fetchone()[0] == full
    assert connection.execute("PRAGMA foreign_keys").fetchone()[0] == 1
    assert connection.execute("PRAGMA journal_size_limit").fetchone()[0] == 64 * 1024 * 1024
    assert connection.execute("PRAGMA busy_timeout").fetchone()[0] == 5000


def test_a_reading_connection_cannot_write(database: Path) -> None:
    connection = connect(database, busy_timeout=1, read_only=True)
    try:
        with pytest.raises(connection.OperationalError, match="readonly"):
            connection.execute("DELETE FROM task")
    finally:
        connection.close()
