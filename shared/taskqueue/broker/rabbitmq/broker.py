"""`RabbitBroker`: publishing to RabbitMQ, and the connections that it and its consumers share."""

import asyncio
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from random import Random
from typing import Self

from aiormq import Channel, spec
from aiormq.abc import AbstractChannel, DeliveredMessage
from aiormq.exceptions import PublishError as ReturnedError
from yarl import URL

from ..protocol import BrokerError, BrokerState, Owner, PublishError, QueueTakenError, UnroutableError
from ..turn import Turn
from .connection import PERSISTENT, Connection, RefusedError, bounded, connected, explained, lost, opened
from .consumer import RabbitConsumer
from .dead_letters import RabbitDeadLetters, walked
from .supervisor import FIRST_PAUSE, Supervisor
from .topology import Topology

#: Seconds that entering waits to hear whether the credentials are refused.
ENTER_TIMEOUT = 5
#: Seconds to bury a rejected message in, and to try again for.
BURY_TIMEOUT = 5
#: Seconds to count the queue's messages in.
COUNT_TIMEOUT = 2
#: Bytes that may wait for RabbitMQ to take some. What else is published waits with its publisher.
MOST_UNSENT = 1_000_000
#: A reason travels in a header, and headers must fit into one frame.
LONGEST_REASON = 1000


@dataclass(frozen=True, slots=True)
class _Publisher:
    """The connection to publish on, while it is up."""

    connection: Connection
    channel: Channel

    @property
    def state(self) -> BrokerState:
        if self.channel.is_closed:
            return BrokerState.DISCONNECTED
        return BrokerState.BLOCKED if self.connection.blocked else BrokerState.CONNECTED


class RabbitBroker:
    """A `Broker`. It publishes and consumes on connections of their own: RabbitMQ stops reading from a
    publisher while an alarm is on, and acks must not wait behind that."""

    def __init__(self, url: str, queue: str, owner: Owner | None, random: Random) -> None:
        self._url = url
        self._topology = Topology(queue, owner)
        self._random = random
        self._publishing = Supervisor("publishing to RabbitMQ", self._publishing_session, random)
        self._consuming = Supervisor("consuming from RabbitMQ", self._consuming_session, random)
        self._publisher: _Publisher | None = None
        #: The connection to consume on, while it is up.
        self._source: Connection | None = None
        self._source_up = asyncio.Event()
        self._consumers: set[RabbitConsumer] = set()
        self._counting = asyncio.Lock()
        self._counting_channel: AbstractChannel | None = None
        self._walk = Turn()

    async def __aenter__(self) -> Self:
        self._publishing.start()
        try:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._publishing.tried.wait(), ENTER_TIMEOUT)
        except BaseException:
            await self._publishing.stop()
            raise
        if isinstance(self._publishing.problem, QueueTakenError):
            await self._publishing.stop()
            raise self._publishing.problem
        if isinstance(self._publishing.problem, RefusedError):
            await self._publishing.stop()
            url = URL(self._url)
            raise RefusedError(
                f"RabbitMQ at {url.host}:{url.port} refuses user {url.user!r} on vhost {url.path[1:] or '/'!r}: "
                f"{self._publishing.problem} (see TASKQUEUE_BROKER_URL, _USER and _PASSWORD)"
            )
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await asyncio.gather(
            self._publishing.stop(),
            self._consuming.stop(),
            *(consumer.close() for consumer in self._consumers),
        )

    @property
    def state(self) -> BrokerState:
        return BrokerState.DISCONNECTED if self._publisher is None else self._publisher.state

    @property
    def queues_created(self) -> int:
        return self._topology.queues_created

    async def publish(self, body: bytes, *, message_id: str, priority: int, timeout: float) -> None:
        properties = spec.Basic.Properties(message_id=message_id, priority=priority, delivery_mode=PERSISTENT)
        await self._send(self._topology.queue, body, properties, timeout)

    @asynccontextmanager
    async def consume(self, prefetch: int) -> AsyncIterator[RabbitConsumer]:
        self._consuming.start()
        consumer = RabbitConsumer(prefetch, self._topology, self._connected_source, self._bury, self._random)
        self._consumers.add(consumer)
        consumer.start()
        try:
            yield consumer
        finally:
            self._consumers.discard(consumer)
            await consumer.close()

    async def ready_count(self) -> int:
        return await self._count(self._topology.queue)

    async def dead_count(self) -> int:
        return await self._count(self._topology.dead)

    @asynccontextmanager
    async def dead_letters(self, limit: int) -> AsyncIterator[RabbitDeadLetters]:
        async with self._walk.taken(), walked(self._url, self._topology, limit) as letters:
            yield letters

    async def _count(self, name: str) -> int:
        publisher = self._reachable_publisher()
        async with bounded(COUNT_TIMEOUT), self._counting:
            # A question that fails closes its channel, or leaves it with an answer to come: drop that one.
            channel, self._counting_channel = self._counting_channel, None
            if channel is None or channel.is_closed:
                channel = await publisher.connection.channel(publisher_confirms=False)
            queue = await channel.queue_declare(name, passive=True)
            self._counting_channel = channel
            return queue.message_count or 0

    async def _send(self, exchange: str, body: bytes, properties: spec.Basic.Properties, timeout: float) -> None:
        loop = asyncio.get_running_loop()
        started = loop.time()
        returned: ReturnedError | None = None
        try:
            publisher = self._reachable_publisher()
            with explained():
                try:
                    await publisher.channel.basic_publish(
                        body,
                        exchange=exchange,
                        routing_key=self._topology.queue,
                        properties=properties,
                        mandatory=True,
                        timeout=timeout,
                        wait=publisher.connection.wire.unsent > MOST_UNSENT,
                    )
                except ReturnedError as error:
                    returned = error
            if returned is not None:
                async with bounded(started + timeout - loop.time()):
                    await self._topology.ensure(publisher.connection, since=started)
        except BrokerError as error:
            if returned is None:
                raise PublishError(str(error)) from error
        if returned is not None:
            raise UnroutableError("RabbitMQ had no queue for the message") from returned

    async def _bury(self, message: DeliveredMessage, reason: str) -> None:
        its = message.header.properties
        properties = spec.Basic.Properties(
            # Its own are left out: RabbitMQ closes our connection at some that it has taken from a stranger.
            headers={"x-reason": reason[:LONGEST_REASON]},
            message_id=its.message_id or f"{self._random.getrandbits(128):032x}",
            priority=its.priority,
            delivery_mode=PERSISTENT,
            timestamp=datetime.now(UTC),
        )
        loop = asyncio.get_running_loop()
        deadline = loop.time() + BURY_TIMEOUT
        while True:
            try:
                return await self._send(self._topology.dead, message.body, properties, BURY_TIMEOUT)
            except PublishError:
                # What was missing is made again, or the connection: worth a moment, to keep the reason.
                if loop.time() > deadline:
                    raise
                await asyncio.sleep(FIRST_PAUSE)

    def _reachable_publisher(self) -> _Publisher:
        publisher = self._publisher
        if publisher is None or publisher.state is not BrokerState.CONNECTED:
            raise BrokerError(f"RabbitMQ is {self.state}")
        return publisher

    async def _connected_source(self) -> Connection:
        while self._source is None:
            await self._source_up.wait()
        return self._source

    @asynccontextmanager
    async def _publishing_session(self) -> AsyncIterator[Awaitable[None]]:
        async with connected(self._url, "publishing") as connection:
            await self._topology.ensure(connection, since=asyncio.get_running_loop().time())
            async with opened(connection, confirms=True) as channel:
                self._publisher = _Publisher(connection, channel)
                try:
                    yield lost(channel)
                finally:
                    self._publisher = None

    @asynccontextmanager
    async def _consuming_session(self) -> AsyncIterator[Awaitable[None]]:
        async with connected(self._url, "consuming") as connection:
            self._source = connection
            self._source_up.set()
            try:
                yield lost(connection)
            finally:
                self._source = None
                self._source_up.clear()
