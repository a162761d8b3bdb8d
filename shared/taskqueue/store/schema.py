"""Which schema this version of taskqueue works on."""

from pathlib import Path
from typing import Final

from taskqueue.store.queries import QUERIES
from taskqueue.store.sqlite import Connection, StoreError, connect, journal_mode, translated_errors

#: The number of the newest file in `taskqueue_migrate/migrations`; a test holds the two together.
SCHEMA_VERSION: Final = 3


class SchemaMismatchError(StoreError):
    """The database has another schema than this version of taskqueue works on."""


def check_schema(path: Path, connection: Connection) -> None:
    """Refuse a database that `taskqueue-migrate` of this version did not prepare.

    Raises:
        SchemaMismatchError: it is empty, older or newer; the text says what to run.
        StoreError: it can't be read, or its journal isn't safe with this SQLite.
    """
    with translated_errors(path):
        version = _version(connection)
        mode = connection.execute("PRAGMA journal_mode").fetchone()[0]
    if version < SCHEMA_VERSION:
        raise SchemaMismatchError(
            f"{path}: schema {version or 'missing'}, needed is {SCHEMA_VERSION}: run taskqueue-migrate"
        )
    if version > SCHEMA_VERSION:
        raise SchemaMismatchError(
            f"{path}: schema {version} is newer than this version's {SCHEMA_VERSION}: "
            "upgrade taskqueue, or restore the copy made before the migration (docs/operations.md)"
        )
    if mode != journal_mode():
        raise SchemaMismatchError(
            f"{path}: journal mode {mode}, needed is {journal_mode()}: run taskqueue-migrate"
        )


def read_schema_version(path: Path) -> int:
    """The schema's version; 0 where there is none.

    Raises:
        StoreError: the database can't be opened or read.
    """
    connection = connect(path, busy_timeout=1, read_only=True)
    try:
        with translated_errors(path):
            return _version(connection)
    finally:
        connection.close()


def _version(connection: Connection) -> int:
    try:
        row = connection.execute(QUERIES["schema_version"]).fetchone()
    except connection.OperationalError as error:
        if "no such table" in str(error):
            return 0
        raise
    return row["version"] or 0
