"""What the rest of the store knows of a database. Implementation: `sqlite/`. Nothing here knows of tasks."""

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from contextlib import AbstractContextManager
from typing import Any, Protocol, TypeVar

T = TypeVar("T")

#: A row of an answer, by column.
Row = Mapping[str, Any]
#: The time in Unix milliseconds.
Clock = Callable[[], int]
#: Makes an executor of one thread, by that one's name.
Executors = Callable[[str], Executor]


def tuples(rows: list[Row]) -> list[Any]:
    """The values of each row, in the order of its columns."""
    return [tuple(dict(row).values()) for row in rows]


class StoreError(Exception):
    """The store can't be used. The text says why and what to do."""


class SchemaMismatchError(StoreError):
    """The database has another schema than this version of taskqueue works on."""


class StoreUnavailableError(StoreError):
    """The store can't be read or written now; nothing of the refused write was stored. It may pass."""


class StoreBusyError(StoreUnavailableError):
    """Another process held the write lock for too long."""


class CommitUnknownError(StoreUnavailableError):
    """The answer to a COMMIT is lost: the write may be stored, or not. Whoever asked for it looks."""


class Transaction(Protocol):
    """A write transaction, on whose end the caller has no influence: it commits unless the write raises."""

    #: What is owed at the end of the transaction, in the order of its writes: told by the writes, and written
    #: by the function that the engine was opened with.
    owed: list[Any]

    @property
    def now(self) -> int:
        """Unix milliseconds, read within the transaction: what others have written before is not later."""
        ...

    def run(self, query: str, **values: Any) -> list[Row]:
        """Run a named query, and return its rows."""
        ...

    def insert(self, query: str, **values: Any) -> int:
        """Run a named query that inserts one row, and return the key that the row was given."""
        ...

    def change(self, query: str, **values: Any) -> int:
        """Run a named query that returns no rows, and return how many it changed."""
        ...


class Writer(Protocol):
    """Transactions one by one, on the caller's own thread: for who can't wait for the event loop."""

    def write(self, function: Callable[[Transaction], T]) -> T:
        """Run `function` in a transaction of its own and return what it returned, once that is committed.

        Raises:
            StoreUnavailableError: as `Engine.write` does.
        """
        ...


class Engine(Protocol):
    """An open database."""

    def write(self, function: Callable[[Transaction], T]) -> asyncio.Future[T]:
        """Enqueue `function` at once, to be run in a transaction; the future has what it returned once that is
        committed.

        Writes that gather meanwhile share a transaction; one that raises is undone alone. It touches nothing
        but its transaction, and may be run again where another write of its transaction raised: then nothing of
        its first run is left. A future that is cancelled before the transaction began has written nothing; one
        cancelled later may have.

        Raises:
            StoreBusyError: the database could not be had for writing in time; nothing is stored.
            CommitUnknownError: the answer to the COMMIT is lost.
            StoreUnavailableError: the disk is full or failing, or the store is closing; nothing is stored.
            Exception: whatever `function` raised; what it did is undone.
        """
        ...

    async def read(self, query: str, **values: Any) -> list[Row]:
        """The rows of a named query that is quick.

        Raises:
            StoreUnavailableError: the database can't be read now.
        """
        ...

    async def look(self, sql: str, values: Mapping[str, Any]) -> list[Row]:
        """The rows of a statement that is quick: as `read`."""
        ...

    async def search(self, sql: str, values: Mapping[str, Any]) -> list[Row]:
        """The rows of a statement that may take long: it holds up other searches only, and ends with its caller.

        Raises:
            StoreUnavailableError: the database can't be read now, or it took too long.
        """
        ...

    async def count(self, sql: str, values: Mapping[str, Any]) -> list[Row]:
        """The rows of a statement that counts: as `search`, but it holds up other counts only."""
        ...

    async def survey(self, query: str, **values: Any) -> list[Row]:
        """The rows of a named query that counts: as `count`."""
        ...

    def writer(self) -> AbstractContextManager[Writer]:
        """A connection of its own that writes, to be opened and used on one other thread.

        Raises:
            StoreError: it can't be opened.
        """
        ...


#: Writes what the writes of a transaction owe, at its end: `owed` holds it.
Balance = Callable[[Transaction], None]
