"""Group commit: all writes of a process share one connection, and those that gather share a transaction."""

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, TypeVar

from taskqueue.store.locks import WriteLock
from taskqueue.store.sqlite import (
    Connection,
    StoreBusyError,
    StoreUnavailableError,
    connect,
    translated_errors,
)

T = TypeVar("T")

#: Writes of one transaction at most: keeps the lock's holding time, and so the others' wait, to milliseconds.
_BATCH = 256


@dataclass(frozen=True, slots=True)
class _Write:
    function: Callable[[Connection], Any]
    future: asyncio.Future[Any]
    deadline: float


@dataclass(frozen=True, slots=True)
class _Refused:
    """A write that raised; its savepoint was rolled back."""

    error: Exception


class Writer:
    """Runs functions on the writing connection, in the order they came, many to a transaction.

    Each function runs in a savepoint, so that one that raises undoes only itself.
    """

    def __init__(self, path: Path, timeout: float) -> None:
        self._path = path
        self._timeout = timeout
        self._waiting: deque[_Write] = deque()
        self._wake = asyncio.Event()
        self._closing = False

    @classmethod
    @contextlib.asynccontextmanager
    async def open(cls, path: Path, *, timeout: float) -> AsyncIterator[Self]:
        """Open the writing connection; leaving writes what still waits, then closes it.

        Args:
            path: the database file.
            timeout: seconds that a write may wait for other processes.

        Raises:
            StoreError: see `taskqueue.store.sqlite.connect`.
        """
        self = cls(path, timeout)
        with contextlib.ExitStack() as stack, ThreadPoolExecutor(1, thread_name_prefix="store-writer") as thread:
            connection = await asyncio.get_running_loop().run_in_executor(
                thread, lambda: connect(path, busy_timeout=timeout)
            )
            stack.callback(connection.close)
            lock = WriteLock(path)
            stack.callback(lock.close)
            writing = asyncio.create_task(self._run(thread, connection, lock), name="store-writer")
            try:
                yield self
            finally:
                self._closing = True
                self._wake.set()
                await asyncio.shield(writing)

    async def write(self, function: Callable[[Connection], T]) -> T:
        """Run `function` in a transaction and return what it returned, once that is committed.

        A caller that is cancelled before the transaction began has written nothing; one cancelled later
        can't know.

        Raises:
            StoreBusyError: the write lock could not be had in time; nothing is stored.
            StoreUnavailableError: the disk is full or failing, or the store is closing; nothing is stored.
            Exception: whatever `function` raised; what it did is undone.
        """
        if self._closing:
            raise StoreUnavailableError("the store is closing")
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Write(function, future, time.monotonic() + self._timeout))
        self._wake.set()
        return await future

    async def _run(self, thread: ThreadPoolExecutor, connection: Connection, lock: WriteLock) -> None:
        loop = asyncio.get_running_loop()
        while self._waiting or not self._closing:
            if not self._waiting:
                self._wake.clear()
                await self._wake.wait()
            batch = self._take_batch()
            if not batch:
                continue
            try:
                outcomes = await loop.run_in_executor(thread, self._commit, connection, lock, batch)
            except StoreBusyError as error:
                self._refuse_expired(batch, error)
            except Exception as error:  # it is each caller's to handle
                for write in batch:
                    _settle(write.future, _Refused(error))
            else:
                for write, outcome in zip(batch, outcomes, strict=True):
                    _settle(write.future, outcome)

    def _take_batch(self) -> list[_Write]:
        """The next writes whose callers still wait."""
        batch: list[_Write] = []
        while self._waiting and len(batch) < _BATCH:
            write = self._waiting.popleft()
            if not write.future.done():
                batch.append(write)
        return batch

    def _refuse_expired(self, batch: list[_Write], error: StoreBusyError) -> None:
        """Nothing of the batch is stored: those with time left go to the front of the next one."""
        now = time.monotonic()
        for write in reversed(batch):
            if write.deadline <= now:
                _settle(write.future, _Refused(error))
            else:
                self._waiting.appendleft(write)

    def _commit(self, connection: Connection, lock: WriteLock, batch: list[_Write]) -> list[Any]:
        """One transaction; runs on the writer's thread from start to end, so no cancellation can split it."""
        deadline = batch[0].deadline
        with lock.held(deadline), transaction(connection, self._path, deadline):
            return [_run_one(connection, write) for write in batch]


@contextlib.contextmanager
def transaction(connection: Connection, path: Path, deadline: float) -> Any:
    """A write transaction that is committed at the end, or rolled back by an error.

    `BEGIN IMMEDIATE`, because a read that turns into a write would not wait for a lock.

    Raises:
        StoreBusyError: the lock could not be had until `deadline` (on the monotonic clock).
        StoreUnavailableError: the disk is full or failing.
    """
    wait = max(1, round((deadline - time.monotonic()) * 1000))
    with translated_errors(path):
        connection.execute(f"PRAGMA busy_timeout = {wait}")
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            connection.execute("COMMIT")
        except BaseException:
            # A full or failing disk may have rolled back already.
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise


def _run_one(connection: Connection, write: _Write) -> Any:
    if write.future.done():
        return None  # its caller gave up while the locks were waited for
    connection.execute("SAVEPOINT one")
    try:
        result = write.function(connection)
    except Exception as error:
        if isinstance(error, connection.OperationalError) or type(error) is connection.DatabaseError:
            raise  # the disk or the file, not the function: the whole transaction is in doubt
        # It is the caller's to handle.
        connection.execute("ROLLBACK TO one")
        result = _Refused(error)
    connection.execute("RELEASE one")
    return result


def _settle(future: asyncio.Future[Any], outcome: Any) -> None:
    if future.done():  # its caller was cancelled
        return
    if isinstance(outcome, _Refused):
        future.set_exception(outcome.error)
    else:
        future.set_result(outcome)
