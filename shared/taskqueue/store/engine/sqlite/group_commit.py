"""Group commit: all writes of a process share one connection, and those that gather share a transaction."""

import asyncio
import contextlib
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any, TypeVar

from taskqueue.store.engine.protocol import StoreBusyError, StoreUnavailableError, Transaction
from taskqueue.store.engine.sqlite.locks import WriteLock
from taskqueue.store.engine.sqlite.transaction import Refused, Transactions

T = TypeVar("T")

#: Writes of one transaction at most: keeps the lock's holding time, and so the others' wait, to milliseconds.
_BATCH = 256
#: Seconds between two looks whether a stop still waits for somebody.
_LOOK = 0.05


@dataclass(frozen=True, slots=True)
class _Write:
    function: Callable[[Transaction], Any]
    future: asyncio.Future[Any]
    #: When to give up waiting for the lock, in the loop's time.
    deadline: float


class _Batch:
    """Writes on their way into a transaction. Until it has the lock, some may be given up; then none."""

    def __init__(self, writes: list[_Write]) -> None:
        self.writes = writes
        self.begun = False
        self._mutex = threading.Lock()

    def begin(self) -> list[_Write]:
        """Those whose callers still wait; none of them is given up from now on."""
        with self._mutex:
            self.begun = True
            self.writes = [write for write in self.writes if not write.future.done()]
            return self.writes

    def give_up(self, now: float) -> list[_Write]:
        """Refuse those whose time is over, and return the others; none where the transaction has begun."""
        with self._mutex:
            return [] if self.begun else _refuse_expired(self.writes, now)


class GroupCommit:
    """Runs functions in transactions, in the order they came, many to a transaction."""

    def __init__(
        self,
        transactions: Transactions[Any],
        lock: WriteLock,
        executor: Executor,
        timeout: float,
        committed: Callable[[int, float], None],
    ) -> None:
        """
        Args:
            executor: with one thread, since it runs whole transactions on one connection.
            timeout: seconds that a write may wait for other processes.
            committed: called after each transaction with how many writes it held, and how many seconds it took.
        """
        self._transactions = transactions
        self._lock = lock
        self._executor = executor
        self._timeout = timeout
        self._committed = committed
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[_Write] = deque()
        self._wake = asyncio.Event()
        #: On its way into a transaction.
        self._batch: _Batch | None = None
        self._closing = False

    def write(self, function: Callable[[Transaction], T]) -> asyncio.Future[T]:
        """As `Engine.write`."""
        future: asyncio.Future[T] = self._loop.create_future()
        if self._closing:
            future.set_exception(StoreUnavailableError("the store is closing"))
            return future
        self._waiting.append(_Write(function, future, self._loop.time() + self._timeout))
        self._wake.set()
        return future

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Commit what comes. Leaving takes no more, and waits until all that has come is written or refused."""
        running = asyncio.create_task(self._run(), name="group-commit")
        try:
            yield
        finally:
            self._closing = True
            self._wake.set()
            while not running.done() and not (self.locked_out and self._nobody_waits()):
                await asyncio.wait({running}, timeout=_LOOK)
            running.cancel()
            await asyncio.wait({running})

    @property
    def locked_out(self) -> bool:
        """Whether the thread waits for the lock."""
        return self._batch is not None and not self._batch.begun

    async def _run(self) -> None:
        while self._waiting or not self._closing:
            if not self._waiting:
                self._wake.clear()
                await self._wake.wait()
                continue
            writes = [self._waiting.popleft() for _ in range(min(len(self._waiting), _BATCH))]
            self._batch = batch = _Batch(writes)
            self._watch(batch, writes[0].deadline)
            began = self._loop.time()
            try:
                settled = await self._loop.run_in_executor(self._executor, self._commit, batch)
            except StoreBusyError as error:
                self._put_back(writes, error)
            except Exception as error:  # it is each caller's to handle
                for write in writes:
                    _settle(write.future, Refused(error))
            else:
                for future, outcome in settled:
                    _settle(future, outcome)
                self._committed(len(settled), self._loop.time() - began)
            finally:
                self._watching.cancel()
            self._batch = None

    def _commit(self, batch: _Batch) -> list[tuple[asyncio.Future[Any], Any]]:
        """One transaction; runs on the writer's thread from start to end, so no cancellation can split it."""
        self._lock.acquire()
        try:
            writes = batch.begin()
            if not writes:
                return []
            left = writes[0].deadline - self._loop.time()
            outcomes = self._transactions.run([_unless_given_up(write) for write in writes], left)
            return [(write.future, outcome) for write, outcome in zip(writes, outcomes, strict=True)]
        finally:
            self._lock.release()

    def _watch(self, batch: _Batch, deadline: float) -> None:
        self._watching = self._loop.call_at(deadline, self._give_up, batch)

    def _give_up(self, batch: _Batch) -> None:
        """The lock is not to be had: refuse what can't wait any longer, and look again when the next is due."""
        now = self._loop.time()
        left = [*batch.give_up(now), *_refuse_expired(self._waiting, now)]
        self._watch(batch, min((write.deadline for write in left), default=now + self._timeout))

    def _nobody_waits(self) -> bool:
        batch = self._batch.writes if self._batch else []
        return all(write.future.done() for write in (*batch, *self._waiting))

    def _put_back(self, writes: list[_Write], error: StoreBusyError) -> None:
        """Nothing of it is stored: what has time left goes to the front of the next transaction."""
        now = self._loop.time()
        for write in reversed(writes):
            if write.deadline <= now:
                _settle(write.future, Refused(error))
            elif not write.future.done():
                self._waiting.appendleft(write)


def _unless_given_up(write: _Write) -> Callable[[Transaction], Any]:
    """Its caller may still give up while a program that doesn't know of our lock holds SQLite's."""
    return lambda transaction: None if write.future.done() else write.function(transaction)


def _refuse_expired(writes: Iterable[_Write], now: float) -> list[_Write]:
    """Those that have time left."""
    left = []
    for write in writes:
        if write.deadline > now:
            left.append(write)
        else:
            _settle(write.future, Refused(StoreBusyError("another process holds the write lock")))
    return left


def _settle(future: asyncio.Future[Any], outcome: Any) -> None:
    if future.done():  # its caller was cancelled, or has been told
        return
    if isinstance(outcome, Refused):
        future.set_exception(outcome.error)
    else:
        future.set_result(outcome)
