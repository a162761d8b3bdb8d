"""Consuming from RabbitMQ: a subscription that is made again whenever it is lost, and its deliveries."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from uuid import uuid4

from aio_pika.abc import AbstractConnection, AbstractIncomingMessage, AbstractQueue

from ..protocol import BrokerError
from .connection import (
    CHANNEL_CLOSE_TIMEOUT,
    STEP_TIMEOUT,
    Supervisor,
    bounded,
    describe,
    log,
    opened,
    underlay,
)
from .topology import Topology

#: Publishes a copy of a message to the dead-letter queue, with a reason; raises `BrokerError`.
Bury = Callable[[AbstractIncomingMessage, str], Awaitable[None]]


class RabbitDelivery:
    """A `Delivery`. It is over once `lost`, the end of its session, is done.

    After that nothing may be sent on its channel: RabbitMQ answers a frame that follows the closing of its
    channel by closing the connection, with all its other consumers. So `ending` has what is still on its way.
    """

    def __init__(
        self,
        message: AbstractIncomingMessage,
        lost: asyncio.Future[str],
        ending: set[asyncio.Future[None]],
        bury: Bury,
    ) -> None:
        self._message = message
        self._lost = lost
        self._ending = ending
        self._bury = bury

    @property
    def body(self) -> bytes:
        return self._message.body

    @property
    def message_id(self) -> str | None:
        return self._message.message_id

    @property
    def redelivered(self) -> bool:
        return bool(self._message.redelivered)

    async def ack(self) -> None:
        await self._end(self._message.ack)

    async def requeue(self) -> None:
        await self._end(self._message.nack)

    async def reject(self, reason: str) -> None:
        if self._lost.done():
            return  # It will be delivered again, and rejected then: don't bury it twice.
        try:
            await self._bury(self._message, reason)
        except BrokerError as error:
            log.warning("rejecting a message without its reason %r: %s", reason, error)
            await self._end(self._message.reject)
        else:
            await self._end(self._message.ack)

    async def _end(self, verb: Callable[[], Awaitable[None]]) -> None:
        if self._lost.done():
            return
        sent: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._ending.add(sent)
        try:
            async with bounded(STEP_TIMEOUT):
                await verb()
        except BrokerError as error:
            log.debug("a delivery's end did not reach RabbitMQ: %s", error)
        finally:
            self._ending.discard(sent)
            sent.set_result(None)


class RabbitConsumer:
    """A `Consumer` on a channel of its own, so that its prefetch counts its own deliveries only."""

    def __init__(
        self,
        prefetch: int,
        topology: Topology,
        connection: Callable[[], Awaitable[AbstractConnection]],
        bury: Bury,
    ) -> None:
        self._prefetch = prefetch
        self._topology = topology
        self._connection = connection
        self._bury = bury
        self._supervisor = Supervisor("consumer of RabbitMQ", self._session)
        self._buffer: deque[RabbitDelivery] = deque()
        #: Set when `__anext__` should look again.
        self._news = asyncio.Event()
        self._paused = False
        self._closed = False
        #: Held while the subscription changes.
        self._changing = asyncio.Lock()
        self._queue: AbstractQueue | None = None
        self._tag: str | None = None
        #: The subscription whose messages are kept. RabbitMQ may send some before it answers that it has made
        #: the subscription, and while it cancels it.
        self._flowing: str | None = None
        #: Done, with the reason, once the present session is over.
        self._lost: asyncio.Future[str] | None = None
        #: The ends of deliveries that are on their way to RabbitMQ.
        self._ending: set[asyncio.Future[None]] = set()
        self._lost_at = float("-inf")

    def __aiter__(self) -> AsyncIterator[RabbitDelivery]:
        return self

    async def __anext__(self) -> RabbitDelivery:
        while not self._closed:
            if delivery := self.take():
                return delivery
            self._news.clear()
            await self._news.wait()
        raise StopAsyncIteration

    def take(self) -> RabbitDelivery | None:
        if self._paused or self._closed or not self._buffer:
            return None
        return self._buffer.popleft()

    @property
    def attached(self) -> bool:
        return self._tag is not None and self._lost is not None and not self._lost.done()

    def start(self) -> None:
        self._supervisor.start()

    async def close(self) -> None:
        """End the iteration and the subscription, which gives back what is unended."""
        self._closed = True
        self._news.set()
        await self._supervisor.stop()

    async def pause(self) -> None:
        self._paused = True
        await self._change()

    async def resume(self) -> None:
        self._paused = False
        self._news.set()
        await self._change()

    async def _change(self) -> None:
        lost = self._lost
        try:
            await self._apply()
        except BrokerError as error:
            # The next session begins with what is wanted.
            if lost is not None and not lost.done():
                lost.set_result(str(error))

    async def _apply(self) -> None:
        """Make the subscription what `_paused` asks for."""
        async with self._changing:
            if self._queue is None or self._lost is None or self._paused == (self._tag is None):
                return
            async with bounded(STEP_TIMEOUT):
                if self._tag is None:
                    self._flowing = uuid4().hex
                    self._tag = await self._queue.consume(
                        partial(self._on_message, self._lost), consumer_tag=self._flowing
                    )
                else:
                    tag, self._tag = self._tag, None
                    await self._queue.cancel(tag)
                    self._flowing = None
                    while self._buffer:
                        await self._buffer.popleft().requeue()

    async def _on_message(self, lost: asyncio.Future[str], message: AbstractIncomingMessage) -> None:
        # Runs in a task of aio-pika's that dies with the channel: it only hands over.
        delivery = RabbitDelivery(message, lost, self._ending, self._bury)
        if message.consumer_tag == self._flowing:
            self._buffer.append(delivery)
            self._news.set()
        else:
            await delivery.requeue()

    @asynccontextmanager
    async def _session(self) -> AsyncIterator[Awaitable[None]]:
        connection = await self._connection()
        await self._topology.ensure(connection, since=self._lost_at)
        async with opened(connection) as channel:
            async with bounded(STEP_TIMEOUT):
                await channel.set_qos(self._prefetch)
                queue = await channel.get_queue(self._topology.queue, ensure=False)
                lower = await underlay(channel)
            lost: asyncio.Future[str] = asyncio.get_running_loop().create_future()

            def end(reason: str) -> None:
                if not lost.done():
                    lost.set_result(reason)

            def on_closing(closing: asyncio.Future[None]) -> None:
                error = None if closing.cancelled() else closing.exception()
                end("the channel was closed" if error is None else describe(error))

            # RabbitMQ cancels a subscription when its queue is deleted.
            lower.on_consumer_cancel_callbacks.add(lambda _: end("RabbitMQ cancelled the subscription"))
            lower.closing.add_done_callback(on_closing)

            async def watch() -> None:
                reason = await lost
                if not lower.connection.is_closed:  # If it is, its own supervisor tells.
                    raise BrokerError(reason)

            try:
                async with self._changing:
                    self._queue, self._tag, self._lost = queue, None, lost
                await self._apply()
                yield watch()
            finally:
                end("the session is over")
                self._lost_at = asyncio.get_running_loop().time()
                self._queue = self._tag = self._flowing = None
                self._buffer.clear()
                if self._ending:
                    await asyncio.wait(self._ending, timeout=CHANNEL_CLOSE_TIMEOUT)
