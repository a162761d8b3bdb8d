"""Watching changes: one poller a process reads new events, for all who wait for a task or follow a stream.

Each event is read and parsed once, and handed on by its task to who waits for or follows that one.
"""

import asyncio
import contextlib
import logging
from bisect import bisect_right
from collections import defaultdict
from collections.abc import AsyncGenerator, AsyncIterator
from operator import attrgetter

from taskqueue.store import Store, StoreError
from taskqueue.task import FINAL, Event

log = logging.getLogger("taskqueue.api")

#: Seconds between two looks while anybody listens. A look without news asks SQLite for one number.
_INTERVAL = 0.02
#: Events that are kept in memory at least, and half of what are at most: those of a drain of thousands of tasks,
#: while hundreds follow and the processor is busy.
TAIL = 10_000
#: Ends that are remembered, for who has read a task before that and waits for it now.
_ENDS = 5000


class _Follower:
    """Who follows one task: its events that were read since."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.news = asyncio.Event()

    def take(self) -> list[Event]:
        events, self.events = self.events, []
        self.news.clear()
        return events


class Watcher:
    """Polls while somebody listens, and rests otherwise."""

    def __init__(self, store: Store, *, batch: int = 500, tail: int = TAIL) -> None:
        """Over an open store.

        Args:
            batch: events that are read at a time.
            tail: events that are kept in memory for those who follow, at least; twice as many at most.
        """
        self._store = store
        self._batch = batch
        #: How many wait or follow.
        self.listeners = 0
        self._wanted = asyncio.Event()
        #: The last event that was read; the tail holds all since `_tail_from`.
        self._last = self._tail_from = 0
        self._tail: list[Event] = []
        self._keep = tail
        #: By the `seq` of their task.
        self._waiters: defaultdict[int, set[asyncio.Future[None]]] = defaultdict(set)
        self._followers: defaultdict[int, set[_Follower]] = defaultdict(set)
        #: Tasks whose end was read lately, latest last.
        self._ended: dict[int, None] = {}
        #: Replaced, and the old one set, whenever there is news.
        self._news = asyncio.Event()
        self._starting = asyncio.Lock()
        #: Of those who follow all tasks, one a tick of the loop is handed events of the tail, and one at a time
        #: reads older ones from the store. However many they are, others get their turn in between.
        self._turn, self._older = asyncio.Lock(), asyncio.Lock()
        self.closing = False

    async def run(self) -> None:
        """Poll for ever."""
        version = None
        told = False
        while True:
            await self._wanted.wait()
            try:
                if (now := await self._store.reads.data_version()) != version:
                    await self._read()
                    version = now
                told = False
            except StoreError as error:
                if not told:
                    log.warning("events can't be read: %s", error)
                told = True
            except Exception:  # without it all who wait would wait in vain
                log.exception("events can't be read")
            await asyncio.sleep(_INTERVAL)

    def close(self) -> None:
        """Let all who listen go."""
        self.closing = True
        self._news.set()
        for waiters in self._waiters.values():
            _let_go(waiters)
        for followers in self._followers.values():
            for follower in followers:
                follower.news.set()

    @contextlib.asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        """From now on no event is missed: enter it before reading a task to wait for.

        Raises:
            StoreUnavailableError: the store can't be read now.
        """
        async with self._starting:
            if self.listeners == 0:
                _, self._last = await self._store.reads.event_range()
                self._tail_from = self._last
                self._tail.clear()
                self._ended.clear()
            self.listeners += 1
            self._wanted.set()
        try:
            yield
        finally:
            self.listeners -= 1
            if self.listeners == 0:
                self._wanted.clear()

    async def until_end(self, task_seq: int, seconds: float) -> bool:
        """Return when the task's end was told since we listen, or when the time is over, which is False.

        Call it while `listening`, of a task that was read since and was not final.
        """
        if self.closing:
            return False
        if task_seq in self._ended:  # between the read and now
            del self._ended[task_seq]
            return True
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters[task_seq].add(waiter)
        try:
            done, _ = await asyncio.wait({waiter}, timeout=seconds)
        finally:
            self._waiters[task_seq].discard(waiter)
            if not self._waiters[task_seq]:
                del self._waiters[task_seq]
        return bool(done) and not self.closing

    async def follow(self, after: int, heartbeat: float) -> AsyncGenerator[list[Event], None]:
        """Yield the events after one, and nothing every `heartbeat` seconds without any.

        Who is slow is not buffered for: what has left the tail is read from the store again.
        """
        async with self.listening():
            seen = after
            while not self.closing:
                news = self._news
                if seen < self._last and (events := await self._next_after(seen)):
                    seen = events[-1].seq
                    yield events
                    continue
                try:
                    async with asyncio.timeout(heartbeat):
                        await news.wait()
                except TimeoutError:
                    yield []

    async def follow_task(self, task_seq: int, after: int, heartbeat: float) -> AsyncGenerator[list[Event], None]:
        """As `follow`, of one task."""
        async with self.listening():
            follower = _Follower()
            self._followers[task_seq].add(follower)
            try:
                # What comes after the last one read so far comes to the follower.
                yield await self._store.reads.events_of(task_seq, after=after, until=self._last)
                while not self.closing:
                    if events := [event for event in follower.take() if event.seq > after]:
                        yield events
                        continue
                    try:
                        async with asyncio.timeout(heartbeat):
                            await follower.news.wait()
                    except TimeoutError:
                        yield []
            finally:
                self._followers[task_seq].discard(follower)
                if not self._followers[task_seq]:
                    del self._followers[task_seq]

    async def _next_after(self, seq: int) -> list[Event]:
        """The next events, a batch at most."""
        async with self._turn:
            await asyncio.sleep(0)
            if seq >= self._tail_from:
                first = bisect_right(self._tail, seq, key=_seq)
                return self._tail[first : first + self._batch]
        async with self._older:
            return await self._store.reads.events_after(seq, limit=self._batch)

    async def _read(self) -> None:
        while events := await self._store.reads.events_after(self._last, limit=self._batch):
            for event in events:
                self._hand_on(event)
            self._tail += events
            if len(self._tail) > 2 * self._keep:
                self._tail_from = self._tail[-self._keep - 1].seq
                del self._tail[: -self._keep]
            self._last = events[-1].seq
            news, self._news = self._news, asyncio.Event()
            news.set()

    def _hand_on(self, event: Event) -> None:
        for follower in self._followers.get(event.task_seq, ()):
            follower.events.append(event)
            follower.news.set()
        if event.status in FINAL:
            if event.task_seq in self._waiters:
                _let_go(self._waiters[event.task_seq])
            self._ended.pop(event.task_seq, None)
            self._ended[event.task_seq] = None
            if len(self._ended) > _ENDS:
                del self._ended[next(iter(self._ended))]


_seq = attrgetter("seq")


def _let_go(waiters: set[asyncio.Future[None]]) -> None:
    for waiter in waiters:
        if not waiter.done():
            waiter.set_result(None)
