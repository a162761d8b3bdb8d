"""Which schema this version of taskqueue works on."""

from typing import Final

from taskqueue.store.engine.protocol import Engine, SchemaMismatchError

#: The number of the newest file in `taskqueue_migrate/migrations`; a test holds the two together.
SCHEMA_VERSION: Final = 11


async def check_schema(engine: Engine) -> None:
    """Refuse a database that `taskqueue-migrate` of this version did not prepare.

    Raises:
        SchemaMismatchError: it is empty, older or newer; the text says what to run.
        StoreError: it can't be read.
    """
    version = await read_schema_version(engine)
    if version < SCHEMA_VERSION:
        raise SchemaMismatchError(
            f"{engine}: schema {version or 'missing'}, needed is {SCHEMA_VERSION}: run taskqueue-migrate"
        )
    if version > SCHEMA_VERSION:
        raise SchemaMismatchError(
            f"{engine}: schema {version} is newer than this version's {SCHEMA_VERSION}: "
            "upgrade taskqueue, or restore the copy made before the migration (docs/operations.md)"
        )


async def read_schema_version(engine: Engine) -> int:
    """The schema's version; 0 where there is none.

    Raises:
        StoreUnavailableError: the database can't be read now.
    """
    if not await engine.read("migrations_table"):
        return 0
    [row] = await engine.read("schema_version")
    return int(row["version"] or 0)
