"""One write transaction on SQLite, and the functions that run in it."""

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from taskqueue.store.engine.protocol import Balance, Clock, CommitUnknownError, Row
from taskqueue.store.engine.sqlite.connection import Connection, is_busy, is_full, of_the_disk, translated_errors

T = TypeVar("T")


class SqliteTransaction:
    """A `Transaction`: what a write may touch."""

    def __init__(self, connection: Connection, queries: Mapping[str, str], clock: Clock) -> None:
        self.owed: list[Any] = []
        self._connection = connection
        self._queries = queries
        self._clock = clock

    @property
    def now(self) -> int:
        return self._clock()

    def run(self, query: str, **values: Any) -> list[Row]:
        return self._connection.execute(self._queries[query], values).fetchall()

    def insert(self, query: str, **values: Any) -> int:
        return self._connection.execute(self._queries[query], values).lastrowid or 0

    def change(self, query: str, **values: Any) -> int:
        return self._connection.execute(self._queries[query], values).rowcount


@dataclass(frozen=True, slots=True)
class Refused:
    """A write that raised: nothing of it is stored."""

    error: Exception


class _RaisedError(Exception):
    """A write raised, by its own fault: the others may be run without it."""

    def __init__(self, place: int, error: Exception) -> None:
        super().__init__(place, error)
        self.place = place
        self.error = error


@dataclass(frozen=True, slots=True)
class Transactions(Generic[T]):
    """Runs write transactions on a connection. Its caller has locked the database for writing, and looks at its
    files before and after."""

    path: Path
    connection: Connection
    queries: Mapping[str, str]
    clock: Clock
    balance: Balance
    #: The time in seconds, which is never set.
    monotonic: Callable[[], float]

    def run(self, functions: Sequence[Callable[[SqliteTransaction], Any]], busy_timeout: float) -> list[Any]:
        """Commit all that do not raise in one transaction; what each returned, or how it was refused.

        One that raises undoes the transaction, which is then run again without it: a savepoint around each would
        cost more in all the transactions where none raises.

        Args:
            busy_timeout: seconds to wait for programs that hold SQLite's own locks, but not ours.

        Raises:
            StoreBusyError: that time is over; nothing is stored.
            StoreUnavailableError: the disk is full or failing; nothing is stored.
            CommitUnknownError: nobody knows what is stored.
        """
        deadline = self.monotonic() + busy_timeout
        outcomes: dict[int, Any] = {}
        left = list(range(len(functions)))
        while left:
            try:
                with translated_errors(self.path):
                    results = self._commit([functions[place] for place in left], deadline)
            except _RaisedError as raised:
                outcomes[left.pop(raised.place)] = Refused(raised.error)
            else:
                outcomes |= zip(left, results, strict=True)
                break
        return [outcomes[place] for place in range(len(functions))]

    def copy_log(self) -> None:
        """Copy what is in the write-ahead log into the database.

        Raises:
            StoreError: the disk is full or failing.
        """
        with translated_errors(self.path):
            self.connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()

    def _commit(self, functions: Sequence[Callable[[SqliteTransaction], Any]], deadline: float) -> list[Any]:
        if self.connection.in_transaction:  # the rollback of the one before failed, too
            self.connection.execute("ROLLBACK")
        # IMMEDIATE, because a read that turns into a write would not wait for a lock.
        self._execute("BEGIN IMMEDIATE", deadline)
        try:
            transaction = SqliteTransaction(self.connection, self.queries, self.clock)
            results = [_run_one(function, transaction, place) for place, function in enumerate(functions)]
            if transaction.owed:
                self.balance(transaction)
            self._end(deadline)
        except BaseException:
            # A full or failing disk may have rolled back already. What failed first tells what is known.
            if self.connection.in_transaction:
                with contextlib.suppress(self.connection.Error):
                    self.connection.execute("ROLLBACK")
            raise
        return results

    def _end(self, deadline: float) -> None:
        try:
            self._execute("COMMIT", deadline)
        except self.connection.OperationalError as error:
            if is_busy(error) or is_full(error):
                raise
            # The frames of the transaction may be in the log, and a recovery would find them there.
            raise CommitUnknownError(f"{self.path}: {error}; nobody knows whether it is stored") from error

    def _execute(self, statement: str, deadline: float) -> None:
        """Wait for other programs where need be: without a write-ahead log, a COMMIT waits for readers."""
        try:
            self.connection.execute(statement)
        except self.connection.OperationalError as error:
            left = deadline - self.monotonic()
            if not is_busy(error) or left <= 0:
                raise
            self.connection.execute(f"PRAGMA busy_timeout = {round(left * 1000)}")
            try:
                self.connection.execute(statement)
            finally:
                self.connection.execute("PRAGMA busy_timeout = 0")


def _run_one(function: Callable[[SqliteTransaction], Any], transaction: SqliteTransaction, place: int) -> Any:
    try:
        return function(transaction)
    except Exception as error:
        if of_the_disk(error):
            raise  # not the function's fault: the whole transaction is in doubt
        raise _RaisedError(place, error) from error
