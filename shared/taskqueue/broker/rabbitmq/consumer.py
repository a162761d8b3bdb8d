"""Consuming from RabbitMQ: a subscription that is made again whenever it is lost."""

import asyncio
import itertools
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from random import Random

from aiormq.abc import DeliveredMessage

from ..protocol import BrokerError
from .connection import STEP_TIMEOUT, Connection, bounded, describe, opened
from .delivery import Bury, DeliveryChannel, RabbitDelivery
from .supervisor import Supervisor
from .topology import Topology


class RabbitConsumer:
    """A `Consumer` on a channel of its own, so that its prefetch counts its own deliveries only."""

    def __init__(
        self,
        prefetch: int,
        topology: Topology,
        connection: Callable[[], Awaitable[Connection]],
        bury: Bury,
        random: Random,
    ) -> None:
        self._prefetch = prefetch
        self._topology = topology
        self._connection = connection
        self._bury = bury
        self._supervisor = Supervisor("consumer of RabbitMQ", self._session, random)
        self._buffer: deque[RabbitDelivery] = deque()
        #: Set when `__anext__` should look again.
        self._news = asyncio.Event()
        self._paused = False
        self._closed = False
        #: Held while the subscription changes.
        self._changing = asyncio.Lock()
        self._channel: DeliveryChannel | None = None
        self._tags = itertools.count(1)
        self._tag: str | None = None
        #: The subscription whose messages are kept. RabbitMQ may send some before it answers that it has made
        #: the subscription, and while it cancels it.
        self._flowing: str | None = None
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
        return self._tag is not None and self._channel is not None and not self._channel.lost.done()

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
        on = self._channel
        try:
            await self._apply()
        except BrokerError as error:
            # The next session begins with what is wanted.
            if on is not None:
                on.end(str(error))

    async def _apply(self) -> None:
        """Make the subscription what `_paused` asks for."""
        async with self._changing:
            if (on := self._channel) is None or self._paused == (self._tag is None):
                return
            async with bounded(STEP_TIMEOUT):
                if self._tag is None:
                    self._flowing = f"{next(self._tags)}"

                    async def keep(message: DeliveredMessage) -> None:
                        await self._keep(RabbitDelivery(message, on, self._bury), message.consumer_tag)

                    await on.channel.basic_consume(self._topology.queue, keep, consumer_tag=self._flowing)
                    self._tag = self._flowing
                else:
                    tag, self._tag = self._tag, None
                    await on.channel.basic_cancel(tag)
                    self._flowing = None
                    while self._buffer:
                        await self._buffer.popleft().requeue()

    async def _keep(self, delivery: RabbitDelivery, tag: str | None) -> None:
        # Runs in a task of aiormq's that dies with the channel: it only hands over.
        if tag == self._flowing:
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
                await channel.basic_qos(prefetch_count=self._prefetch)
            on = DeliveryChannel(channel)

            def on_closing(closing: asyncio.Future[None]) -> None:
                error = None if closing.cancelled() else closing.exception()
                on.end("the channel was closed" if error is None else describe(error))

            # RabbitMQ cancels a subscription when its queue is deleted.
            channel.on_consumer_cancel_callbacks.add(lambda _: on.end("RabbitMQ cancelled the subscription"))
            channel.closing.add_done_callback(on_closing)

            async def watch() -> None:
                reason = await on.lost
                if not connection.is_closed:  # If it is, its own supervisor tells.
                    raise BrokerError(reason)

            try:
                async with self._changing:
                    self._channel, self._tag = on, None
                await self._apply()
                yield watch()
            finally:
                on.end("the session is over")
                self._lost_at = asyncio.get_running_loop().time()
                self._channel = self._tag = self._flowing = None
                self._buffer.clear()
                await on.settled()
