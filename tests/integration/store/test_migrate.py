"""Migrations: applied once, recorded, and refused where the database or the files aren't what they should be."""

import contextlib
import hashlib
import os
import re
import shutil
import subprocess
import sysconfig
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from tests.integration.store.given import looking, stored

from taskqueue.store import StoreError
from taskqueue.store.engine.sqlite.connection import connect, journal_mode
from taskqueue.store.schema import SCHEMA_VERSION
from taskqueue_migrate.runner import MigrationError, migrate, shipped_migrations

RECORDS = "SELECT * FROM schema_migrations ORDER BY version"
SCHEMA = "SELECT type, name, sql FROM sqlite_schema ORDER BY name"


@pytest.fixture
def fresh(tmp_path: Path) -> Path:
    """Where a database can be made."""
    return tmp_path / "tasks.db"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of migrations of the test's own, with one in it."""
    folder = tmp_path / "migrations"
    folder.mkdir()
    (folder / "0001_things.sql").write_text("CREATE TABLE things (name TEXT NOT NULL) STRICT;\n")
    return folder


def version_of(database: Path) -> int:
    """The newest migration that is recorded; 0: none."""
    return max((record["version"] for record in stored(database, RECORDS)), default=0)


def copies(database: Path) -> list[Path]:
    return sorted(database.parent.glob("tasks.db.before-*"))


def command(*arguments: str) -> list[str]:
    path = shutil.which("taskqueue-migrate", path=sysconfig.get_path("scripts"))
    assert path is not None
    return [path, *arguments]


def run(data_dir: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `taskqueue-migrate`."""
    return subprocess.run(
        command(*arguments),
        env=os.environ | {"TASKQUEUE_DATA_DIR": str(data_dir), "TASKQUEUE_LOG_FORMAT": "text"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def refused_line(ended: subprocess.CompletedProcess[str]) -> str:
    """The one line with which it failed."""
    assert ended.returncode == 1
    [line] = (ended.stdout + ended.stderr).splitlines()
    assert " ERROR " in line
    return line


# What it does


def test_an_attempt_may_be_snoozed_after_an_upgrade_that_copies_no_table(fresh: Path) -> None:
    [version] = [it.version for it in shipped_migrations() if it.name == "snoozed_and_unsaid"]
    migrate(fresh, shipped_migrations()[: version - 1])
    tables = "SELECT name, rootpage FROM sqlite_schema WHERE name IN ('task', 'attempts') ORDER BY name"
    with contextlib.closing(connect(fresh, busy_timeout=5)) as running:
        running.execute(
            "INSERT INTO task (id, action, payload, status, created_at, run_at, priority, max_attempts)"
            " VALUES ('t', 'act', '{}', 'pending', 1, 1, 4, 3)"
        )
        before = stored(fresh, "SELECT * FROM task"), stored(fresh, tables)
        assert [it.version for it in migrate(fresh, shipped_migrations()[:version])] == [version]
        assert (stored(fresh, "SELECT * FROM task"), stored(fresh, tables)) == before
        assert stored(fresh, "PRAGMA integrity_check") == [{"integrity_check": "ok"}]
        # Also what was open meanwhile goes by the new constraints.
        snoozed = "attempt_worker = 'w', attempt_started = 1, attempt_ended = 2, attempt_outcome = 'snoozed'"
        running.execute(f"UPDATE task SET max_attempts = NULL, {snoozed}")


def test_a_database_whose_tables_are_not_as_they_were_made_is_left_alone(fresh: Path) -> None:
    [version] = [it.version for it in shipped_migrations() if it.name == "snoozed_and_unsaid"]
    migrate(fresh, shipped_migrations()[: version - 1])
    with contextlib.closing(connect(fresh, busy_timeout=5)) as other:
        other.execute("DROP TABLE attempts")
        other.execute("CREATE TABLE attempts (task_seq INTEGER)")
    before = stored(fresh, SCHEMA)
    with pytest.raises(MigrationError, match=rf"{version:04d}_snoozed_and_unsaid failed and was undone.*CHECK"):
        migrate(fresh)
    assert stored(fresh, SCHEMA) == before


def test_the_newest_shipped_migration_is_the_schema_that_this_version_works_on() -> None:
    assert [migration.version for migration in shipped_migrations()] == list(range(1, SCHEMA_VERSION + 1))


def test_all_migrations_are_applied_and_recorded_with_their_checksums(fresh: Path) -> None:
    applied = migrate(fresh)
    assert applied == shipped_migrations()
    assert version_of(fresh) == SCHEMA_VERSION
    for migration, record in zip(applied, stored(fresh, RECORDS), strict=True):
        file = files("taskqueue_migrate") / "migrations" / f"{migration.version:04d}_{migration.name}.sql"
        assert record["version"] == migration.version
        assert record["name"] == migration.name
        assert record["checksum"] == hashlib.sha256(file.read_bytes()).hexdigest()
        assert record["applied_at"] > 1_600_000_000_000


def test_run_again_it_changes_nothing(fresh: Path) -> None:
    migrate(fresh)
    before = stored(fresh, RECORDS), stored(fresh, SCHEMA)
    content = fresh.read_bytes()
    assert migrate(fresh) == []
    assert (stored(fresh, RECORDS), stored(fresh, SCHEMA)) == before
    assert fresh.read_bytes() == content
    assert not copies(fresh)


def test_the_file_can_be_shrunk_later_and_is_read_while_it_is_written(fresh: Path) -> None:
    migrate(fresh)
    connection = looking(fresh)
    try:
        incremental = 2
        assert connection.execute("PRAGMA auto_vacuum").fetchone()[0] == incremental
        assert connection.execute("PRAGMA journal_mode").fetchone()[0] == journal_mode()
        assert connection.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
    finally:
        connection.close()


def test_only_what_is_new_is_applied(fresh: Path, folder: Path) -> None:
    migrate(fresh, shipped_migrations(folder))
    (folder / "0002_more.sql").write_text("CREATE TABLE more (x INTEGER) STRICT;\n")
    assert [migration.version for migration in migrate(fresh, shipped_migrations(folder))] == [2]
    assert [record["version"] for record in stored(fresh, RECORDS)] == [1, 2]


def test_a_migration_may_hold_comments_semicolons_in_texts_and_triggers(fresh: Path, folder: Path) -> None:
    (folder / "0002_odd.sql").write_text(
        "-- A comment; with a semicolon.\n"
        "INSERT INTO things VALUES ('a;b'), ('c\n;\nd'); -- and one behind\n"
        "\n"
        "CREATE TRIGGER twice AFTER INSERT ON things WHEN NEW.name = 'x' BEGIN\n"
        "    INSERT INTO things VALUES ('y');\n"
        "    INSERT INTO things VALUES ('z');\n"
        "END;\n"
        "INSERT INTO things VALUES ('x');\n"
        "-- The end.\n"
    )
    migrate(fresh, shipped_migrations(folder))
    names = [row["name"] for row in stored(fresh, "SELECT name FROM things ORDER BY rowid")]
    assert names == ["a;b", "c\n;\nd", "x", "y", "z"]


def test_a_migration_that_rebuilds_a_table_keeps_what_refers_to_it(fresh: Path, folder: Path) -> None:
    # SQLite's own recipe for what ALTER TABLE can't do. With foreign keys enforced, dropping the old table
    # would delete the rows that refer to it.
    (folder / "0002_tags.sql").write_text(
        "CREATE TABLE owners (id INTEGER PRIMARY KEY) STRICT;\n"
        "CREATE TABLE owned (owner INTEGER REFERENCES owners (id) ON DELETE CASCADE) STRICT;\n"
        "INSERT INTO owners VALUES (1);\n"
        "INSERT INTO owned VALUES (1);\n"
    )
    migrate(fresh, shipped_migrations(folder))
    (folder / "0003_rebuild.sql").write_text(
        "CREATE TABLE new_owners (id INTEGER PRIMARY KEY, name TEXT) STRICT;\n"
        "INSERT INTO new_owners (id) SELECT id FROM owners;\n"
        "DROP TABLE owners;\n"
        "ALTER TABLE new_owners RENAME TO owners;\n"
    )
    migrate(fresh, shipped_migrations(folder))
    assert stored(fresh, "SELECT owner FROM owned") == [{"owner": 1}]


def test_a_migration_that_breaks_a_reference_is_refused(fresh: Path, folder: Path) -> None:
    (folder / "0002_tags.sql").write_text(
        "CREATE TABLE owners (id INTEGER PRIMARY KEY) STRICT;\n"
        "CREATE TABLE owned (owner INTEGER REFERENCES owners (id)) STRICT;\n"
        "INSERT INTO owned VALUES (1);\n"
    )
    with pytest.raises(MigrationError, match=r"0002_tags .*owned"):
        migrate(fresh, shipped_migrations(folder))
    assert version_of(fresh) == 1


# A copy first


def test_a_copy_is_kept_before_a_migration_touches_a_database_with_a_schema(fresh: Path, folder: Path) -> None:
    migrate(fresh, shipped_migrations(folder))
    connection = looking(fresh)
    connection.execute("INSERT INTO things VALUES ('kept')")
    connection.close()
    (folder / "0002_drop.sql").write_text("DROP TABLE things;\n")
    migrate(fresh, shipped_migrations(folder))
    [copy] = copies(fresh)
    assert copy.name.startswith("tasks.db.before-0002-")
    assert stored(copy, "SELECT name FROM things") == [{"name": "kept"}]
    assert version_of(copy) == 1


def test_a_copy_is_kept_of_a_database_that_something_else_made(fresh: Path, folder: Path) -> None:
    connection = looking_at_new(fresh)
    connection.execute("CREATE TABLE foreign_thing (x)")
    connection.execute("INSERT INTO foreign_thing VALUES (1)")
    connection.close()
    migrate(fresh, shipped_migrations(folder))
    [copy] = copies(fresh)
    assert stored(copy, "SELECT x FROM foreign_thing") == [{"x": 1}]


def test_an_empty_database_needs_no_copy(fresh: Path) -> None:
    fresh.touch()
    migrate(fresh)
    assert not copies(fresh)


def test_of_tries_that_fail_one_copy_is_kept_and_one_for_good_of_that_which_does_not(
    fresh: Path, folder: Path
) -> None:
    migrate(fresh, shipped_migrations(folder))
    mistake = folder / "0002_mistake.sql"
    mistake.write_text("DROP TABLE no_such_things;\n")
    for number in range(3):
        connection = looking(fresh)
        connection.execute("INSERT INTO things VALUES (?)", (str(number),))
        connection.close()
        with pytest.raises(MigrationError, match="no_such_things"):
            migrate(fresh, shipped_migrations(folder))
        [copy] = copies(fresh)
        assert len(stored(copy, "SELECT name FROM things")) == number + 1
    mistake.write_text("ALTER TABLE things ADD COLUMN more TEXT;\n")
    migrate(fresh, shipped_migrations(folder))
    [copy] = copies(fresh)
    assert re.fullmatch(r"tasks\.db\.before-0002-\d+", copy.name)
    assert len(stored(copy, "SELECT name FROM things")) == 3
    # A failure later on leaves that one alone.
    (folder / "0003_mistake.sql").write_text("DROP TABLE no_such_things;\n")
    with pytest.raises(MigrationError):
        migrate(fresh, shipped_migrations(folder))
    assert [kept.name for kept in copies(fresh)] == [copy.name, "tasks.db.before-0003"]


def test_where_no_copy_can_be_kept_nothing_is_migrated(fresh: Path, folder: Path) -> None:
    migrate(fresh, shipped_migrations(folder))
    (folder / "0002_drop.sql").write_text("DROP TABLE things;\n")
    (fresh.parent / "tasks.db.before-0002").mkdir()
    with pytest.raises(StoreError, match=r"tasks\.db\.before-0002"):
        migrate(fresh, shipped_migrations(folder))
    assert version_of(fresh) == 1
    assert stored(fresh, "SELECT * FROM things") == []


# Two at once


def test_migrate_jobs_at_once_are_safe(fresh: Path) -> None:
    environment = os.environ | {"TASKQUEUE_DATA_DIR": str(fresh.parent), "TASKQUEUE_LOG_FORMAT": "text"}
    processes = [subprocess.Popen(command(), env=environment, stderr=subprocess.PIPE, text=True) for _ in range(4)]
    outputs = [process.communicate(timeout=60)[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0, 0], outputs
    applied = re.findall(r"applied migration (\d+)", "".join(outputs))
    assert sorted(map(int, applied)) == list(range(1, SCHEMA_VERSION + 1)), "each once, by whichever job"
    assert len(stored(fresh, RECORDS)) == SCHEMA_VERSION


def test_a_second_migrate_job_waits_for_the_first(fresh: Path, folder: Path) -> None:
    # Slow enough that the others come while it runs.
    (folder / "0002_slow.sql").write_text(
        "INSERT INTO things WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 300000) "
        "SELECT 'x' || i FROM n;\n"
    )
    program = (
        "import sys; from pathlib import Path; from taskqueue_migrate.runner import *;"
        "print(len(migrate(Path(sys.argv[1]), shipped_migrations(Path(sys.argv[2])))))"
    )
    python = shutil.which("python", path=sysconfig.get_path("scripts"))
    assert python is not None
    processes = [
        subprocess.Popen([python, "-c", program, fresh, folder], stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    applied = [int(process.communicate(timeout=60)[0]) for process in processes]
    assert sum(applied) == 2
    assert stored(fresh, "SELECT count(*) AS n FROM things") == [{"n": 300_000}]
    # The one that saw a fresh file keeps none; another may apply the second migration, and keeps one.
    assert len(copies(fresh)) <= 1


# Files that are not what they should be


@pytest.mark.parametrize(
    "name", ["1_x.sql", "0002-x.sql", "0002_x.SQL", "0002_x.sql.orig", "0002_.sql", "notes.txt", "00002_x.sql"]
)
def test_a_badly_named_migration_is_refused(folder: Path, name: str) -> None:
    (folder / name).write_text("SELECT 1;\n")
    with pytest.raises(MigrationError, match=f"{name}: a migration is named NNNN_name.sql"):
        shipped_migrations(folder)


@pytest.mark.parametrize("name", ["0003_gap.sql", "0001_twice.sql", "0000_zero.sql"])
def test_migrations_are_numbered_without_a_gap(folder: Path, name: str) -> None:
    (folder / name).write_text("SELECT 1;\n")
    with pytest.raises(MigrationError, match="without a gap"):
        shipped_migrations(folder)


def test_an_edited_migration_is_refused(fresh: Path, folder: Path) -> None:
    migrate(fresh, shipped_migrations(folder))
    with (folder / "0001_things.sql").open("a") as file:
        file.write("CREATE TABLE smuggled (x INTEGER) STRICT;\n")
    with pytest.raises(MigrationError, match="migration 0001_things was edited after it was applied"):
        migrate(fresh, shipped_migrations(folder))
    assert not stored(fresh, "SELECT name FROM sqlite_schema WHERE name = 'smuggled'")


def test_a_database_with_a_newer_migration_is_refused(fresh: Path, folder: Path) -> None:
    (folder / "0002_newer.sql").write_text("CREATE TABLE newer (x INTEGER) STRICT;\n")
    migrate(fresh, shipped_migrations(folder))
    (folder / "0002_newer.sql").unlink()
    with pytest.raises(MigrationError, match=r"0002_newer, newer than this version .* upgrade taskqueue"):
        migrate(fresh, shipped_migrations(folder))


def test_a_database_that_skipped_a_migration_is_refused(fresh: Path, folder: Path) -> None:
    (folder / "0002_second.sql").write_text("CREATE TABLE second (x INTEGER) STRICT;\n")
    migrate(fresh, shipped_migrations(folder))
    connection = looking(fresh)
    connection.execute("DELETE FROM schema_migrations WHERE version = 1")
    connection.close()
    with pytest.raises(MigrationError, match="0001 was never applied"):
        migrate(fresh, shipped_migrations(folder))


# Migrations that fail


@pytest.mark.parametrize(
    "sql",
    [
        "INSERT INTO no_such_table VALUES (1);",
        "INSERT INTO things VALUES (NULL);",
        "CREATE TABLE half (x INTEGER) STRICT",
        "CREATE TABLE half (x INTEGER) STRICT; CREATE TABLE two_on_a_line (x INTEGER) STRICT;",
        "BEGIN;",
        "nonsense;",
    ],
)
def test_a_failing_migration_leaves_nothing(fresh: Path, folder: Path, sql: str) -> None:
    migrate(fresh, shipped_migrations(folder))
    (folder / "0002_fails.sql").write_text(f"CREATE TABLE extra (x INTEGER) STRICT;\n{sql}\n")
    before = stored(fresh, SCHEMA)
    with pytest.raises(MigrationError, match="0002_fails"):
        migrate(fresh, shipped_migrations(folder))
    assert stored(fresh, SCHEMA) == before
    assert version_of(fresh) == 1


def test_migrations_before_a_failing_one_stay_applied(fresh: Path, folder: Path) -> None:
    (folder / "0002_fails.sql").write_text("nonsense;\n")
    with pytest.raises(MigrationError):
        migrate(fresh, shipped_migrations(folder))
    assert [record["version"] for record in stored(fresh, RECORDS)] == [1]


# The command


def test_the_command_says_what_it_did_and_exits_0(fresh: Path) -> None:
    first = run(fresh.parent)
    assert first.returncode == 0, first.stderr
    assert "applied migration 0001_tasks" in first.stderr
    second = run(fresh.parent)
    assert second.returncode == 0, second.stderr
    [line] = second.stderr.splitlines()
    assert "is up to date" in line


def test_a_failing_migration_exits_1_with_one_line_and_leaves_nothing(fresh: Path) -> None:
    # As if something else had made the table that the first migration creates.
    connection = looking_at_new(fresh)
    connection.execute("CREATE TABLE tasks (x)")
    connection.close()
    ended = run(fresh.parent)
    assert ended.returncode == 1
    *_, line = ended.stderr.splitlines()
    assert "migration 0001_tasks failed and was undone: table tasks already exists" in line
    assert "Traceback" not in ended.stderr
    assert version_of(fresh) == 0
    assert not stored(fresh, "SELECT name FROM sqlite_schema WHERE name IN ('workers', 'attempts')")


def test_a_newer_database_exits_1_with_one_line(fresh: Path) -> None:
    migrate(fresh)
    connection = looking(fresh)
    connection.execute("INSERT INTO schema_migrations VALUES (9999, 'future', '', 0)")
    connection.close()
    assert "9999_future, newer than this version" in refused_line(run(fresh.parent))


def test_a_missing_folder_exits_1_with_one_line(tmp_path: Path) -> None:
    line = refused_line(run(tmp_path / "missing"))
    assert "no such folder" in line
    assert "TASKQUEUE_DATA_DIR" in line


@pytest.mark.parametrize(
    "content", [b"not a database at all, but a text " * 100, b"SQLite format 3\0" + b"\xff" * 9999]
)
def test_a_file_that_is_no_database_exits_1_with_one_line_and_stays_as_it_is(fresh: Path, content: bytes) -> None:
    fresh.write_bytes(content)
    line = refused_line(run(fresh.parent))
    assert str(fresh) in line
    assert "restore a backup" in line
    assert fresh.read_bytes() == content


def test_a_damaged_database_exits_1_with_one_line(fresh: Path) -> None:
    migrate(fresh)
    connection = looking(fresh)
    connection.execute(
        "INSERT INTO workers (id, host, pid, consumers, prefetch, started_at, last_seen) "
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000) "
        "SELECT 'w' || i, 'h', 1, 1, 1, 1, 1 FROM n"
    )
    connection.close()
    with fresh.open("r+b") as file:
        file.seek(fresh.stat().st_size // 2)
        file.write(b"\xa5" * 20_000)
    line = refused_line(run(fresh.parent))
    assert "damaged" in line or "malformed" in line
    assert "restore a backup" in line


@pytest.mark.parametrize("name", ["tasks.db", "tasks.db.write-lock"])
def test_a_file_that_cannot_be_opened_exits_1_with_one_line(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()  # permissions don't hinder root
    assert str(tmp_path / name) in refused_line(run(tmp_path))


def test_an_unknown_argument_is_a_usage_error(tmp_path: Path) -> None:
    ended = run(tmp_path, "--no-such-option")
    assert ended.returncode == 2
    assert "usage: taskqueue-migrate" in ended.stderr
    assert not list(tmp_path.iterdir())


def looking_at_new(database: Path) -> Any:
    """A connection to a database that something else makes."""
    database.touch()
    return looking(database)
