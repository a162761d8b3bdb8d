"""Group commit: all writes of a process share one connection, and those that gather share a transaction."""

import asyncio
import contextlib
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from taskqueue.store.engine.protocol import (
    CommitUnknownError,
    StoreBusyError,
    StoreError,
    StoreUnavailableError,
    Transaction,
)
from taskqueue.store.engine.sqlite.files import Files
from taskqueue.store.engine.sqlite.locks import WriteLock
from taskqueue.store.engine.sqlite.transaction import Refused, Transactions

T = TypeVar("T")

#: Writes of one transaction at most: keeps the lock's holding time, and so the others' wait, to milliseconds.
_BATCH = 256
_LOCKED = "another process holds the write lock"
#: Seconds between two looks whether a stop still waits for somebody.
_LOOK = 0.05


@dataclass(frozen=True, slots=True)
class _Write:
    function: Callable[[Transaction], Any]
    future: asyncio.Future[Any]
    #: When to give up waiting for the lock, in the loop's time.
    deadline: float


class _Waiting:
    """Writes that wait for the lock, in the order they came. The writer's thread takes them once it has the lock;
    until then their time may run out."""

    def __init__(self) -> None:
        self._writes: deque[_Write] = deque()
        self._mutex = threading.Lock()

    def forgotten(self) -> bool:
        """Whether there are none, or no caller waits for any of them any more."""
        return all(write.future.done() for write in tuple(self._writes))

    def add(self, write: _Write) -> None:
        self._writes.append(write)

    def take(self) -> list[_Write]:
        """Those of the next transaction, whose callers still wait: none of them runs out of time from now on."""
        with self._mutex:
            writes = [self._writes.popleft() for _ in range(min(len(self._writes), _BATCH))]
        return [write for write in writes if not write.future.done()]

    def put_back(self, writes: list[_Write]) -> None:
        """Nothing of them is stored: they come first in the next transaction."""
        with self._mutex:
            self._writes.extendleft(reversed(writes))

    def refuse_all(self, error: StoreError) -> None:
        """Refuse them, however many they are."""
        with self._mutex:
            while self._writes:
                _tell(self._writes.popleft().future, Refused(error))

    def refuse_expired(self, now: float) -> float | None:
        """Refuse those whose time is over; when that of the next one will be. They all have the same time."""
        with self._mutex:
            while self._writes and self._writes[0].deadline <= now:
                _tell(self._writes.popleft().future, Refused(StoreBusyError(_LOCKED)))
            return self._writes[0].deadline if self._writes else None


class GroupCommit:
    """Runs functions in transactions, in the order they came, many to a transaction."""

    def __init__(
        self,
        transactions: Transactions[Any],
        lock: WriteLock,
        files: Files,
        executor: Executor,
        timeout: float,
        committed: Callable[[int, float, float], None],
    ) -> None:
        """
        Args:
            executor: with one thread, since it runs whole transactions on one connection.
            timeout: seconds that a write may wait for other processes.
            committed: called after each transaction with how many writes it held, how many seconds it took, and
                how many it had waited for other processes before.
        """
        self._transactions = transactions
        self._lock = lock
        self._files = files
        self._executor = executor
        self._timeout = timeout
        self._committed = committed
        self._loop = asyncio.get_running_loop()
        self._waiting = _Waiting()
        self._closing = False
        #: Set while nobody waits for a commit.
        self._idle = asyncio.Event()
        self._idle.set()
        #: Whether the writer's thread waits for the lock.
        self.locked_out = False

    def write(self, function: Callable[[Transaction], T]) -> asyncio.Future[T]:
        """As `Engine.write`."""
        future: asyncio.Future[T] = self._loop.create_future()
        if self._closing:
            future.set_exception(StoreUnavailableError("the store is closing"))
            return future
        self._waiting.add(_Write(function, future, self._loop.time() + self._timeout))
        if self._idle.is_set():
            self._idle.clear()
            # Not at once: what else is enqueued in this tick shares the transaction.
            self._loop.call_soon(self._begin)
        return future

    async def copy_log(self) -> None:
        """Copy what is in the log into the database, by the connection that has both open."""
        with contextlib.suppress(StoreError):
            await self._loop.run_in_executor(self._executor, self._transactions.copy_log)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Leaving takes no more, and waits until all that has come is written or refused."""
        try:
            yield
        finally:
            self._closing = True
            while not (self._idle.is_set() or (self.locked_out and self._waiting.forgotten())):
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._idle.wait(), _LOOK)
            if self.locked_out:
                self._watching.cancel()

    def _begin(self) -> None:
        # Here and not on the writer's thread: each look gives the interpreter away, and the thread would wait for
        # the loop to get it back.
        try:
            self._files.look()
        except StoreUnavailableError as error:
            self._waiting.refuse_all(error)
            self._idle.set()
            return
        self.locked_out = True
        self._watch()
        self._executor.submit(self._commit)

    def _commit(self) -> None:
        """One transaction; runs on the writer's thread from start to end, so no cancellation can split it."""
        told: Callable[[], None] | None = None
        try:
            asked = self._loop.time()
            self._lock.acquire()
            try:
                self.locked_out = False
                told = self._transact(self._loop.time() - asked)
            finally:
                self._lock.release()
        finally:
            with contextlib.suppress(RuntimeError):  # the loop has closed: nobody waits
                self._loop.call_soon_threadsafe(self._end, told)

    def _end(self, told: Callable[[], None] | None) -> None:
        self._watching.cancel()
        if told:
            told()
        if self._waiting.forgotten():
            self._idle.set()
        else:
            self._begin()

    def _transact(self, waited: float) -> Callable[[], None] | None:
        """Commit what has come, while the lock was waited for, too; what is to be told of it on the loop."""
        writes = self._waiting.take()
        if not writes:
            return None
        began = self._loop.time()
        functions = [_unless_given_up(write) for write in writes]
        try:
            outcomes = self._transactions.run(functions, writes[0].deadline - began)
        except StoreBusyError as error:
            return partial(self._refuse_or_put_back, writes, error)
        except Exception as error:  # it is each caller's to handle
            return partial(_tell_all, writes, [Refused(error)] * len(writes))
        return partial(self._tell_committed, writes, outcomes, self._loop.time() - began, waited)

    def _tell_committed(self, writes: list[_Write], outcomes: list[Any], seconds: float, waited: float) -> None:
        try:
            self._files.confirm()
        except CommitUnknownError as error:
            unknown = Refused(error)
            _tell_all(writes, [outcome if isinstance(outcome, Refused) else unknown for outcome in outcomes])
        else:
            _tell_all(writes, outcomes)
            self._committed(len(writes), seconds, waited)

    def _watch(self) -> None:
        """Where the lock is not to be had, refuse what can't wait any longer; and look again for the next."""
        now = self._loop.time()
        next_deadline = self._waiting.refuse_expired(now)
        self._watching = self._loop.call_at(next_deadline or now + self._timeout, self._watch)

    def _refuse_or_put_back(self, writes: list[_Write], error: StoreBusyError) -> None:
        """Another program holds SQLite's lock, which knows nothing of ours."""
        now = self._loop.time()
        for write in writes:
            if write.deadline <= now:
                _tell(write.future, Refused(error))
        self._waiting.put_back([write for write in writes if write.deadline > now])


def _unless_given_up(write: _Write) -> Callable[[Transaction], Any]:
    """Its caller may still give up while a program that doesn't know of our lock holds SQLite's."""
    return lambda transaction: None if write.future.done() else write.function(transaction)


def _tell_all(writes: list[_Write], outcomes: list[Any]) -> None:
    for write, outcome in zip(writes, outcomes, strict=True):
        _tell(write.future, outcome)


def _tell(future: asyncio.Future[Any], outcome: Any) -> None:
    if future.done():  # its caller was cancelled, or has been told
        return
    if isinstance(outcome, Refused):
        future.set_exception(outcome.error)
    else:
        future.set_result(outcome)
