"""A database of each test's own, freshly migrated, and a store on it; or notes, for the engine by itself."""

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
from tests.integration.store.given import Clock, beat, looking, stored
from tests.integration.store.notes import Open, on_sqlite

from taskqueue.store import Store, open_store
from taskqueue.store.engine.sqlite.connection import Connection
from taskqueue_migrate.runner import migrate


@pytest.fixture
def database(tmp_path: Path) -> Path:
    path = tmp_path / "tasks.db"
    migrate(path)
    return path


@pytest.fixture
def connection(database: Path) -> Iterator[Connection]:
    """A connection beside the store's."""
    connection = looking(database)
    yield connection
    connection.close()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def store(database: Path, clock: Clock) -> AsyncIterator[Store]:
    """An open store that knows the workers `w` and `v`."""
    async with open_store(database, write_timeout=5, clock=clock) as store:
        await beat(store, "w")
        await beat(store, "v")
        yield store


@pytest.fixture
def unchanged(database: Path) -> Callable[[], list[object]]:
    """All that is stored of tasks, attempts, events and counters, to compare."""
    tables = ("task", "attempts", "events", "status_counts", "minute_counts", "minute_times")
    return lambda: [stored(database, f"SELECT * FROM {table}") for table in tables]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Where the notes are."""
    return tmp_path / "notes.db"


@pytest.fixture
def opened(file: Path) -> Open:
    return on_sqlite(file)
