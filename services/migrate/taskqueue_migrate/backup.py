"""A consistent copy of the database, taken while everything runs."""

import contextlib
import os
from pathlib import Path

from taskqueue.store import StoreError
from taskqueue.store.engine.sqlite.connection import Connection, connect, translated_errors


def backup(database: Path, copy: Path) -> None:
    """Write a copy of the database as it is at one moment. Writers go on meanwhile.

    Raises:
        StoreError: the database can't be read, or the copy exists already or can't be written.
    """
    with contextlib.closing(connect(database, busy_timeout=60)) as connection, translated_errors(database):
        copy_into(connection, copy)


def copy_into(connection: Connection, copy: Path) -> None:
    """Write the connection's database to a new file, and see that it is on the disk.

    Raises:
        StoreError: the copy exists already or can't be written.
    """
    if copy.exists():
        raise StoreError(f"{copy} exists already; a backup doesn't overwrite")
    # Under its final name only once it is whole.
    partial = copy.with_name(f"{copy.name}.partial")
    try:
        partial.unlink(missing_ok=True)
        connection.execute("VACUUM INTO ?", (str(partial),))
        with partial.open("rb") as file:
            os.fsync(file.fileno())
        partial.rename(copy)
    except (connection.Error, OSError) as error:
        partial.unlink(missing_ok=True)
        raise StoreError(f"{copy}: the copy could not be written: {error}") from error
