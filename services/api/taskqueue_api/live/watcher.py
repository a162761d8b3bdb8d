"""Watching changes: one poller a process reads new events, for all who wait for a task or follow the stream."""

import asyncio
import contextlib
import logging
from collections import defaultdict, deque
from collections.abc import AsyncGenerator, AsyncIterator
from itertools import takewhile

from taskqueue.store import StoreError, TaskStore
from taskqueue.task import FINAL, Event

log = logging.getLogger("taskqueue.api")

#: Seconds between two looks while anybody listens. A look without news asks SQLite for one number.
_INTERVAL = 0.05


class Watcher:
    """Polls while somebody listens, and rests otherwise."""

    def __init__(self, store: TaskStore, *, batch: int = 500, tail: int = 5000) -> None:
        """Over an open store.

        Args:
            batch: events that are read at a time.
            tail: events that are kept in memory for those who follow.
        """
        self._store = store
        self._batch = batch
        #: How many wait or follow.
        self.listeners = 0
        self._wanted = asyncio.Event()
        #: The last event that was read; the tail holds all since `_tail_from`.
        self._last = self._tail_from = 0
        self._tail: deque[Event] = deque(maxlen=tail)
        self._waiters: defaultdict[str, set[asyncio.Future[None]]] = defaultdict(set)
        #: Replaced, and the old one set, whenever there is news.
        self._news = asyncio.Event()
        self._starting = asyncio.Lock()
        self.closing = False

    async def run(self) -> None:
        """Poll for ever."""
        version = None
        while True:
            await self._wanted.wait()
            try:
                if (now := await self._store.data_version()) != version:
                    await self._read()
                    version = now
            except StoreError as error:
                log.warning("events can't be read: %s", error)
            except Exception:  # without it all who wait would wait in vain
                log.exception("events can't be read")
            await asyncio.sleep(_INTERVAL)

    def close(self) -> None:
        """Let all who listen go."""
        self.closing = True
        self._news.set()
        for waiters in self._waiters.values():
            for waiter in waiters:
                if not waiter.done():
                    waiter.set_result(None)

    async def until_final(self, id: str, seconds: float) -> None:
        """Return when the task is final, when there is no such task, or when the time is over."""
        async with self._listening():
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiters[id].add(waiter)
            try:
                # It may have become final before we listened.
                task = await self._store.get(id)
                if task is not None and task.status not in FINAL and not self.closing:
                    await asyncio.wait({waiter}, timeout=seconds)
            finally:
                self._waiters[id].discard(waiter)
                if not self._waiters[id]:
                    del self._waiters[id]

    async def follow(self, after: int | None, heartbeat: float) -> AsyncGenerator[list[Event], None]:
        """Yield the events after one (None: those to come), and nothing every `heartbeat` seconds without any.

        Who is slow is not buffered for: what has left the tail is read from the store again.
        """
        async with self._listening():
            seen = self._last if after is None else after
            while not self.closing:
                news = self._news
                if seen < self._tail_from:
                    events = await self._store.events_after(seen, limit=self._batch)
                else:
                    events = self._newer_than(seen)
                if events:
                    seen = events[-1].seq
                    yield events
                    continue
                try:
                    async with asyncio.timeout(heartbeat):
                        await news.wait()
                except TimeoutError:
                    yield []

    @contextlib.asynccontextmanager
    async def _listening(self) -> AsyncIterator[None]:
        async with self._starting:
            if self.listeners == 0:
                _, self._last = await self._store.event_range()
                self._tail_from = self._last
                self._tail.clear()
            self.listeners += 1
            self._wanted.set()
        try:
            yield
        finally:
            self.listeners -= 1
            if self.listeners == 0:
                self._wanted.clear()

    def _newer_than(self, seq: int) -> list[Event]:
        return list(takewhile(lambda event: event.seq > seq, reversed(self._tail)))[::-1]

    async def _read(self) -> None:
        while events := await self._store.events_after(self._last, limit=self._batch):
            for event in events:
                if len(self._tail) == self._tail.maxlen:
                    self._tail_from = self._tail[0].seq
                self._tail.append(event)
                if event.status in FINAL:
                    for waiter in self._waiters.get(event.task_id, ()):
                        if not waiter.done():
                            waiter.set_result(None)
            self._last = events[-1].seq
            news, self._news = self._news, asyncio.Event()
            news.set()
