"""A database of each test's own, freshly migrated, and a store on it."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from taskqueue.store.sqlite import Connection
from tests.integration.store.given import Clock, beat, looking

from taskqueue.store.store import TaskStore
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
async def store(database: Path, clock: Clock) -> AsyncIterator[TaskStore]:
    """An open store that knows the workers `w` and `v`."""
    async with TaskStore.open(database, write_timeout=5, clock=clock) as store:
        await beat(store, "w")
        await beat(store, "v")
        yield store
