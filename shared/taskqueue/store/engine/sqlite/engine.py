"""The `Engine` on a SQLite file: one connection that writes, and three that read."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import aiosqlite

from taskqueue.store.engine.protocol import Balance, Clock, Executors, Row, SchemaMismatchError, Transaction
from taskqueue.store.engine.sqlite.checkpoints import Checkpoints
from taskqueue.store.engine.sqlite.connection import SQLITE_VERSION, connect, journal_mode
from taskqueue.store.engine.sqlite.files import Files
from taskqueue.store.engine.sqlite.group_commit import GroupCommit
from taskqueue.store.engine.sqlite.locks import WriteLock
from taskqueue.store.engine.sqlite.reading import Searches, fetch, reading
from taskqueue.store.engine.sqlite.transaction import Refused, Transactions

log = logging.getLogger("taskqueue.store")

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Database:
    """What all connections of a process have in common."""

    path: Path
    files: Files
    queries: Mapping[str, str]
    clock: Clock
    balance: Balance
    #: Seconds that a write may wait for other processes.
    timeout: float
    #: The time in seconds, which is never set.
    monotonic: Callable[[], float]

    @contextlib.contextmanager
    def writing(self) -> Iterator[tuple[Transactions[Any], WriteLock]]:
        """A connection that writes, on the calling thread."""
        self.files.look()
        with (
            contextlib.closing(connect(self.path, busy_timeout=0)) as connection,
            contextlib.closing(WriteLock(self.path)) as lock,
        ):
            transactions: Transactions[Any] = Transactions(
                self.path, connection, self.queries, self.clock, self.balance, self.monotonic
            )
            yield transactions, lock


class SqliteEngine:
    """An `Engine`."""

    def __init__(
        self,
        database: _Database,
        commits: GroupCommit,
        reader: aiosqlite.Connection,
        searches: Searches,
        counts: Searches,
    ) -> None:
        self._database = database
        self._commits = commits
        self._reader = reader
        self._searches = searches
        self._counts = counts

    def __str__(self) -> str:
        return str(self._database.path)

    def write(self, function: Callable[[Transaction], T]) -> asyncio.Future[T]:
        return self._commits.write(function)

    async def read(self, query: str, **values: Any) -> list[Row]:
        return await self.look(self._database.queries[query], values)

    async def look(self, sql: str, values: Mapping[str, Any]) -> list[Row]:
        return await fetch(self._database.path, self._database.files, self._reader, sql, values)

    async def search(self, sql: str, values: Mapping[str, Any]) -> list[Row]:
        return await self._searches.fetch(sql, values)

    async def count(self, sql: str, values: Mapping[str, Any]) -> list[Row]:
        return await self._counts.fetch(sql, values)

    async def survey(self, query: str, **values: Any) -> list[Row]:
        return await self._counts.fetch(self._database.queries[query], values)

    @contextlib.contextmanager
    def writer(self) -> Iterator["SqliteWriter"]:
        """As `Engine.writer`."""
        with self._database.writing() as (transactions, lock):
            yield SqliteWriter(transactions, lock, self._database)


class SqliteWriter:
    """A `Writer`."""

    def __init__(self, transactions: Transactions[Any], lock: WriteLock, database: _Database) -> None:
        self._transactions = transactions
        self._lock = lock
        self._files = database.files
        self._timeout = database.timeout
        self._monotonic = database.monotonic

    def write(self, function: Callable[[Transaction], T]) -> T:
        deadline = self._monotonic() + self._timeout
        with self._lock.held(self._timeout):
            self._files.look()
            [outcome] = self._transactions.run([function], deadline - self._monotonic())
        if isinstance(outcome, Refused):
            raise outcome.error
        self._files.confirm()
        return outcome  # type: ignore[no-any-return]


def one_thread(name: str) -> Executor:
    """An executor of one thread."""
    return ThreadPoolExecutor(1, thread_name_prefix=name)


@contextlib.asynccontextmanager
async def open_sqlite(
    path: Path,
    queries: Mapping[str, str],
    balance: Balance,
    *,
    timeout: float,
    clock: Clock,
    committed: Callable[[int, float, float], None],
    executors: Executors = one_thread,
) -> AsyncIterator[SqliteEngine]:
    """Open a database; leaving writes what still waits, then closes it.

    Args:
        path: the database file; it must exist.
        queries: SQL texts by name.
        balance: called at the end of each transaction whose writes owe something.
        timeout: seconds that a write may wait for other processes.
        clock: the time in Unix milliseconds.
        committed: called after each transaction with how many writes it held, how many seconds it took, and how
            many it had waited for other processes before.
        executors: make those that what writes runs on; each is shut down at the end. Who reads has its own thread.

    Raises:
        SchemaMismatchError: its journal is not that which is safe here.
        StoreError: the file is missing, unreadable or not a database.
    """
    files = Files(path)
    database = _Database(path, files, queries, clock, balance, timeout, asyncio.get_running_loop().time)
    if journal_mode() != "wal":
        log.warning(
            "SQLite %s can't use a write-ahead log safely here: a rollback journal serves, slower", SQLITE_VERSION
        )
    checkpoints = Checkpoints(path, files)

    def on_commit(writes: int, seconds: float, waited: float) -> None:
        checkpoints.committed()
        committed(writes, seconds, waited)

    async with (
        checkpoints.copying(executors("store-checkpoint")),
        _group_commit(database, executors("store-writer"), on_commit) as commits,
        reading(path, timeout) as reader,
        reading(path, timeout) as searches,
        reading(path, timeout) as counts,
    ):
        await _check_journal(database, reader)
        files.opened(logged=journal_mode() == "wal")
        async with _watching(files, commits):
            yield SqliteEngine(
                database, commits, reader, Searches(path, files, searches), Searches(path, files, counts)
            )


async def _check_journal(database: _Database, reader: aiosqlite.Connection) -> None:
    """A file may come from where another SQLite serves; the mode stays with it."""
    [(mode,)] = await fetch(database.path, database.files, reader, "PRAGMA journal_mode", {})
    if mode != journal_mode():
        raise SchemaMismatchError(
            f"{database.path}: journal mode {mode}, needed is {journal_mode()}: run taskqueue-migrate"
        )


@contextlib.asynccontextmanager
async def _watching(files: Files, commits: GroupCommit) -> AsyncIterator[None]:
    watching = asyncio.create_task(files.watch(commits.copy_log), name="files")
    try:
        yield
    finally:
        watching.cancel()
        await asyncio.wait({watching})


@contextlib.asynccontextmanager
async def _group_commit(
    database: _Database, executor: Executor, committed: Callable[[int, float, float], None]
) -> AsyncIterator[GroupCommit]:
    loop = asyncio.get_running_loop()
    stack = contextlib.ExitStack()
    commits: GroupCommit | None = None
    try:
        transactions, lock = await loop.run_in_executor(executor, lambda: stack.enter_context(database.writing()))
        commits = GroupCommit(transactions, lock, database.files, executor, database.timeout, committed)
        async with commits.running():
            yield commits
    finally:
        closing = executor.submit(stack.close)
        locked_out = commits is not None and commits.locked_out
        if not locked_out:
            await asyncio.shield(asyncio.wrap_future(closing))
        # A thread that still waits for the lock goes alone, once it has it.
        executor.shutdown(wait=not locked_out)
