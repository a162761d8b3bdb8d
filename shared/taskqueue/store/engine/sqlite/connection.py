"""Which SQLite library serves, how a connection is set up, and what its errors mean to us."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

from taskqueue.store.engine.protocol import StoreBusyError, StoreError, StoreUnavailableError

if TYPE_CHECKING:
    import sqlite3
else:
    try:
        import pysqlite3 as sqlite3
    except ImportError:
        import sqlite3

Connection = sqlite3.Connection
SQLITE_VERSION: Final = sqlite3.sqlite_version

#: 64 MiB: what a write-ahead log is cut back to after a checkpoint that a long reader held up.
_JOURNAL_SIZE_LIMIT = 64 * 1024 * 1024


def wal_is_safe(version: tuple[int, ...]) -> bool:
    """Whether this SQLite may use a write-ahead log with several writing processes.

    Versions 3.7.0 to 3.51.2 have the WAL-reset bug, which can corrupt the database
    (https://sqlite.org/wal.html#walresetbug); it is also fixed in 3.50.7 and 3.44.6.
    """
    branch, patch = version[:2], version[2]
    return version >= (3, 51, 3) or (branch == (3, 50) and patch >= 7) or (branch == (3, 44) and patch >= 6)


def journal_mode() -> str:
    """`wal` where it is safe, else `delete`: a rollback journal, slower, and readers wait for writers."""
    return "wal" if wal_is_safe(sqlite3.sqlite_version_info) else "delete"


def connect(path: Path, *, busy_timeout: float, create: bool = False, read_only: bool = False) -> Connection:
    """Open the database in autocommit mode, with the settings that every connection of ours has.

    Args:
        path: the database file; it must exist unless `create`.
        busy_timeout: seconds to wait for another connection's lock.

    Raises:
        StoreUnavailableError: the file is missing, unreadable or locked.
        StoreError: the file is not a database.
    """
    if not create and not os.path.exists(path):  # noqa: PTH110  # Path.exists() raises where it may not look
        raise StoreUnavailableError(f"{path}: no such file, or not for this user to see: run taskqueue-migrate")
    uri = f"{path.absolute().as_uri()}?mode={'rwc' if create else 'rw'}"
    with translated_errors(path):
        connection = sqlite3.connect(
            uri, uri=True, timeout=busy_timeout, isolation_level=None, check_same_thread=False
        )
        try:
            connection.row_factory = sqlite3.Row
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA foreign_keys = ON")
            connection.execute(f"PRAGMA journal_size_limit = {_JOURNAL_SIZE_LIMIT}")
            connection.execute("PRAGMA wal_autocheckpoint = 0")  # see checkpoints.py
            if read_only:
                connection.execute("PRAGMA query_only = ON")
            if sqlite3.sqlite_version_info < (3, 43):
                add_octet_length(connection)
        except BaseException:
            connection.close()
            raise
    return connection


def add_octet_length(connection: Connection) -> None:
    """Give an older SQLite the function that tells a text's bytes; its own wouldn't have to read the text."""
    connection.create_function(
        "octet_length", 1, lambda text: None if text is None else len(text.encode()), deterministic=True
    )


@contextlib.contextmanager
def translated_errors(path: Path) -> Iterator[None]:
    """Turn SQLite's errors about the file, the disk and the locks into ours, naming the file."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        if is_busy(error):
            raise StoreBusyError(f"{path}: another process holds the write lock") from error
        if _code(error) in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            raise StoreError(f"{path}: {error}; restore a backup (docs/operations.md)") from error
        if isinstance(error, sqlite3.OperationalError):
            raise StoreUnavailableError(f"{path}: {error}") from error
        raise


def of_the_disk(error: Exception) -> bool:
    """Whether the database or its disk is at fault, and not the statement or its values."""
    return isinstance(error, sqlite3.OperationalError) or type(error) is sqlite3.DatabaseError


def is_busy(error: Exception) -> bool:
    """Whether another connection holds a lock."""
    return _code(error) == sqlite3.SQLITE_BUSY


def is_full(error: Exception) -> bool:
    """Whether the disk is full: of the transaction nothing was written that counts."""
    return _code(error) == sqlite3.SQLITE_FULL


def _code(error: Exception) -> int:
    """SQLite's primary result code; 0 for an error that the Python module raised by itself."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF
