"""The embedded mode's broker: a queue inside one process and one event loop, gone when the process ends."""

import asyncio
import heapq
import itertools
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Self

from .protocol import BrokerError, BrokerState, PublishError
from .turn import Turn


@dataclass(order=True, slots=True)
class _Message:
    #: Orders the queue: minus the priority, then the arrival. It is kept through a requeue, so that the
    #: message returns to the front of its priority.
    rank: tuple[int, int]
    body: bytes = field(compare=False)
    message_id: str = field(compare=False)
    redelivered: bool = field(default=False, compare=False)


class MemoryBroker:
    """A `Broker` whose messages live in this object. It does the same each time it is asked the same."""

    def __init__(self) -> None:
        #: What was rejected, oldest first.
        self.dead: list[DeadLetter] = []
        self._walk = Turn()
        self._ready: list[_Message] = []  # a heap
        self._arrivals = itertools.count()
        #: In the order in which they are served: whoever got the last message comes last.
        self._consumers: list[_Consumer] = []
        self._open = False

    async def __aenter__(self) -> Self:
        self._open = True
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        self._open = False
        for consumer in tuple(self._consumers):
            consumer.close()

    @property
    def state(self) -> BrokerState:
        return BrokerState.CONNECTED if self._open else BrokerState.DISCONNECTED

    @property
    def queues_created(self) -> int:
        return int(self._open)

    async def publish(self, body: bytes, *, message_id: str, priority: int, timeout: float) -> None:
        if not self._open:
            raise PublishError("the broker is closed")
        self._put(_Message((-priority, next(self._arrivals)), body, message_id))

    @asynccontextmanager
    async def consume(self, prefetch: int) -> AsyncIterator["_Consumer"]:
        consumer = _Consumer(self, prefetch)
        self._consumers.append(consumer)
        try:
            yield consumer
        finally:
            consumer.close()
            self._consumers.remove(consumer)

    async def ready_count(self) -> int:
        return len(self._ready)

    async def dead_count(self) -> int:
        return len(self.dead)

    @asynccontextmanager
    async def dead_letters(self, limit: int) -> AsyncIterator["_DeadLetters"]:
        async with self._walk.taken():
            if not self._open:
                raise BrokerError("the broker is closed")
            yield _DeadLetters(len(self.dead), self.dead[:limit])

    async def republish(self, message: _Message) -> None:
        """Publish one again, behind those of its priority that wait."""
        number = next(self._arrivals)
        priority, _ = message.rank
        await self.publish(message.body, message_id=f"again {number}", priority=-priority, timeout=0)

    def _put(self, message: _Message) -> None:
        heapq.heappush(self._ready, message)
        for consumer in self._consumers:
            consumer.news.set()

    def _take(self, consumer: "_Consumer") -> _Message | None:
        if not self._ready:
            return None
        self._consumers.remove(consumer)
        self._consumers.append(consumer)
        return heapq.heappop(self._ready)


class _Consumer:
    """Takes a message from the queue only when asked for one: it has no buffer of its own."""

    def __init__(self, broker: MemoryBroker, prefetch: int) -> None:
        #: Set when `__anext__` should look again.
        self.news = asyncio.Event()
        self._broker = broker
        self._prefetch = prefetch
        self._unended: dict[_Delivery, _Message] = {}
        self._paused = False
        self._closed = False

    def __aiter__(self) -> AsyncIterator["_Delivery"]:
        return self

    async def __anext__(self) -> "_Delivery":
        while not self._closed:
            if delivery := self.take():
                return delivery
            self.news.clear()
            await self.news.wait()
        raise StopAsyncIteration

    def take(self) -> "_Delivery | None":
        if self._paused or self._closed or len(self._unended) >= self._prefetch:
            return None
        if (message := self._broker._take(self)) is None:
            return None
        delivery = _Delivery(self, message.body, message.message_id, message.redelivered)
        self._unended[delivery] = message
        return delivery

    async def pause(self) -> None:
        self._paused = True

    async def resume(self) -> None:
        self._paused = False
        self.news.set()

    @property
    def attached(self) -> bool:
        return not (self._paused or self._closed)

    def close(self) -> None:
        self._closed = True
        self.news.set()
        for delivery in tuple(self._unended):
            self.requeue(delivery)

    def end(self, delivery: "_Delivery") -> bool:
        """Whether this call has ended it; not if it had ended before."""
        self.news.set()
        return self._unended.pop(delivery, None) is not None

    def requeue(self, delivery: "_Delivery") -> None:
        if message := self._unended.pop(delivery, None):
            message.redelivered = True
            self.news.set()
            self._broker._put(message)

    def reject(self, delivery: "_Delivery", reason: str) -> None:
        if message := self._unended.pop(delivery, None):
            self.news.set()
            self._broker.dead.append(DeadLetter(self._broker, message, reason, time.time_ns() // 1_000_000))


@dataclass(frozen=True, slots=True, eq=False)
class _Delivery:
    _consumer: _Consumer
    body: bytes
    message_id: str
    redelivered: bool

    async def ack(self) -> None:
        self._consumer.end(self)

    async def requeue(self) -> None:
        self._consumer.requeue(self)

    async def reject(self, reason: str) -> None:
        self._consumer.reject(self, reason)


@dataclass(frozen=True, slots=True, eq=False)
class DeadLetter:
    """A rejected message."""

    _broker: MemoryBroker
    _message: _Message
    reason: str
    died_at: int

    @property
    def body(self) -> bytes:
        return self._message.body

    @property
    def message_id(self) -> str:
        return self._message.message_id

    async def requeue(self) -> None:
        await self._broker.republish(self._message)
        await self.drop()

    async def drop(self) -> None:
        self._broker.dead.remove(self)


class _DeadLetters:
    def __init__(self, count: int, letters: list[DeadLetter]) -> None:
        self.count = count
        self._letters = letters

    async def __aiter__(self) -> AsyncIterator[DeadLetter]:
        for letter in self._letters:
            yield letter
