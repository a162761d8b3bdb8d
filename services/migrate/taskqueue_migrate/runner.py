"""Applies the numbered migrations, each in one transaction, recorded with its checksum."""

import contextlib
import hashlib
import logging
import re
import sqlite3 as standard_sqlite
import time
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

from taskqueue.store import StoreError
from taskqueue.store.engine.sqlite.connection import Connection, connect, journal_mode, translated_errors
from taskqueue.store.engine.sqlite.locks import WriteLock
from taskqueue_migrate.backup import copy_into

log = logging.getLogger("taskqueue.migrate")

#: Seconds that a migration waits for running processes to let it write.
_LOCK_TIMEOUT = 60

_RECORDS = """
CREATE TABLE IF NOT EXISTS schema_migrations (
    version    INTEGER PRIMARY KEY,
    name       TEXT    NOT NULL,
    checksum   TEXT    NOT NULL,
    applied_at INTEGER NOT NULL
) STRICT
"""


class MigrationError(StoreError):
    """The database can't be migrated; nothing of the failed migration is kept."""


@dataclass(frozen=True, slots=True)
class Migration:
    """One numbered file."""

    version: int
    name: str
    sql: str

    @property
    def checksum(self) -> str:
        return hashlib.sha256(self.sql.encode()).hexdigest()


def shipped_migrations(folder: Traversable | None = None) -> list[Migration]:
    """The migrations in a folder, oldest first; by default those of this version.

    Raises:
        MigrationError: a file's name is not `NNNN_name.sql`, or a number is missing or taken twice.
    """
    folder = folder or files("taskqueue_migrate") / "migrations"
    migrations = []
    for file in sorted(folder.iterdir(), key=lambda file: file.name):
        match = re.fullmatch(r"(\d{4})_(\w+)\.sql", file.name)
        if not match:
            raise MigrationError(f"{file.name}: a migration is named NNNN_name.sql")
        migrations.append(Migration(int(match[1]), match[2], file.read_text(encoding="utf-8")))
    if [migration.version for migration in migrations] != list(range(1, len(migrations) + 1)):
        raise MigrationError("migrations are numbered 0001, 0002, ... without a gap")
    return migrations


def migrate(database: Path, migrations: list[Migration] | None = None) -> list[Migration]:
    """Bring the database to the newest schema, creating the file if need be, and return what was applied.

    Two of these at once are safe: each migration looks anew, under the write lock, whether it is due.

    Raises:
        MigrationError: an applied migration was edited or is missing, the schema is newer, or one failed.
        StoreError: the file can't be opened, written or is damaged.
    """
    migrations = shipped_migrations() if migrations is None else migrations
    with _writing(database) as (connection, lock):
        applied: list[Migration] = []
        worth_a_copy = _has_tables(connection)
        for migration in migrations:
            with lock.held(_LOCK_TIMEOUT):
                if migration.version in _check_records(connection, migrations):
                    continue
                copy = _copy(database, connection, migration) if worth_a_copy and not applied else None
                with translated_errors(database), _transaction(connection):
                    _apply(connection, migration)
                if copy:
                    copy.rename(f"{copy}-{int(time.time())}")
                applied.append(migration)
                log.info("applied migration %04d_%s", migration.version, migration.name)
        _check_records(connection, migrations)
        return applied


@contextlib.contextmanager
def _writing(database: Path) -> Iterator[tuple[Connection, WriteLock]]:
    if not database.parent.is_dir():
        raise StoreError(f"{database.parent}: no such folder; TASKQUEUE_DATA_DIR names the data folder")
    with contextlib.ExitStack() as stack:
        connection = connect(database, busy_timeout=_LOCK_TIMEOUT, create=True)
        stack.callback(connection.close)
        lock = WriteLock(database)
        stack.callback(lock.close)
        _refuse_damage(connection, database)
        with lock.held(_LOCK_TIMEOUT), translated_errors(database):
            # Enforced, they would delete rows that refer to a table which a migration rebuilds.
            connection.execute("PRAGMA foreign_keys = OFF")
            if not connection.execute("PRAGMA page_count").fetchone()[0]:
                # Takes effect only before the first table.
                connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
            connection.execute(f"PRAGMA journal_mode = {journal_mode()}")
            connection.execute(_RECORDS)
        with translated_errors(database):
            yield connection, lock


@contextlib.contextmanager
def _transaction(connection: Connection) -> Iterator[None]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        # A full or failing disk may have rolled back already.
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _refuse_damage(connection: Connection, database: Path) -> None:
    """Reads the whole file, about a gigabyte a second: without the write lock, so that others work meanwhile."""
    with translated_errors(database):
        damage = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    if damage != "ok":
        damage = " ".join(damage.split())
        raise StoreError(f"{database}: damaged ({damage}); restore a backup (docs/operations.md)")


def _check_records(connection: Connection, migrations: list[Migration]) -> set[int]:
    """The versions applied so far.

    Raises:
        MigrationError: they are not those that we know.
    """
    known = {migration.version: migration for migration in migrations}
    rows = connection.execute("SELECT version, name, checksum FROM schema_migrations").fetchall()
    for row in rows:
        label = f"{row['version']:04d}_{row['name']}"
        if row["version"] > len(migrations):
            raise MigrationError(
                f"the database has migration {label}, newer than this version of taskqueue knows: "
                "upgrade taskqueue, or restore the copy made before that migration"
            )
        if row["checksum"] != known[row["version"]].checksum:
            raise MigrationError(
                f"migration {label} was edited after it was applied: put the file back, and add a new one"
            )
    versions = {row["version"] for row in rows}
    missing = set(range(1, max(versions, default=0) + 1)) - versions
    if missing:
        raise MigrationError(f"migration {min(missing):04d} was never applied, but a later one was")
    return versions


def _has_tables(connection: Connection) -> bool:
    """Whether there is anything in the database yet, be it ours or not."""
    tables = "SELECT 1 FROM sqlite_schema WHERE name <> 'schema_migrations' LIMIT 1"
    return connection.execute(tables).fetchone() is not None


def _copy(database: Path, connection: Connection, migration: Migration) -> Path:
    """A copy beside the database. It takes the place of that of an earlier try, which changed nothing."""
    copy = database.with_name(f"{database.name}.before-{migration.version:04d}")
    try:
        copy.unlink(missing_ok=True)
    except OSError as error:
        raise StoreError(f"{copy}: {error.strerror}") from error
    copy_into(connection, copy)
    log.info("keeping a copy of the database in %s (once migrated: with the time behind it)", copy)
    return copy


def _apply(connection: Connection, migration: Migration) -> None:
    try:
        for statement in _statements(migration.sql):
            connection.execute(statement)
        _check_references(connection)
    except (connection.Error, connection.Warning, ValueError) as error:
        raise MigrationError(
            f"migration {migration.version:04d}_{migration.name} failed and was undone: {error}"
        ) from error
    connection.execute(
        "INSERT INTO schema_migrations (version, name, checksum, applied_at) VALUES (?, ?, ?, ?)",
        (migration.version, migration.name, migration.checksum, time.time_ns() // 1_000_000),
    )


def _check_references(connection: Connection) -> None:
    if broken := connection.execute("PRAGMA foreign_key_check").fetchone():
        raise ValueError(f"a row of {broken['table']} refers to a missing one of {broken['parent']}")


def _statements(sql: str) -> Iterator[str]:
    """Split a script, since `executescript` would commit on its own. A statement ends a line.

    Raises:
        ValueError: the last statement isn't complete.
    """
    statement = ""
    for line in sql.splitlines(keepends=True):
        statement += line
        if standard_sqlite.complete_statement(statement):
            yield statement
            statement = ""
    if re.sub("--.*", "", statement).strip():
        raise ValueError(f"the last statement is not complete: {statement.strip()[:80]}")
