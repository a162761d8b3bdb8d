"""The dead-letter queue in RabbitMQ: its messages are got one by one, and held until the connection ends."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import datetime
from typing import Any, Self
from uuid import uuid4

from aiormq import Channel, spec
from aiormq.abc import DeliveredMessage

from .connection import PERSISTENT, STEP_TIMEOUT, bounded, connected, opened
from .topology import Topology

#: Seconds after which a walk goes no further.
WALK_TIMEOUT = 10


@asynccontextmanager
async def walked(url: str, topology: Topology, limit: int) -> AsyncIterator["RabbitDeadLetters"]:
    """A walk through the oldest `limit`, 1 at least.

    Raises:
        BrokerError: RabbitMQ can't be reached, or refuses.
    """
    async with AsyncExitStack() as stack:
        connection = await stack.enter_async_context(connected(url, "dead letters"))
        await topology.ensure(connection, since=asyncio.get_running_loop().time())
        channel = await stack.enter_async_context(opened(connection))
        first = await _get(channel, topology.dead)
        yield RabbitDeadLetters(channel, _Publisher(url, topology.queue, stack), topology, first, limit)


class RabbitDeadLetters:
    """A `DeadLetters`."""

    def __init__(
        self,
        channel: Channel,
        publisher: "_Publisher",
        topology: Topology,
        first: DeliveredMessage | None,
        limit: int,
    ) -> None:
        # A queue's own count may be of before the messages of a walk that has just ended went back.
        self.count = 0 if first is None else 1 + (first.message_count or 0)
        self._channel = channel
        self._publisher = publisher
        self._topology = topology
        self._next = first
        self._left = min(self.count, limit)
        self._clock = asyncio.get_running_loop().time
        self._until = self._clock() + WALK_TIMEOUT

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> "RabbitDeadLetter":
        if self._left == 0 or self._clock() > self._until:
            raise StopAsyncIteration
        self._left -= 1
        message, self._next = self._next or await _get(self._channel, self._topology.dead), None
        if message is None:
            raise StopAsyncIteration
        return RabbitDeadLetter(self._channel, self._publisher, message)


async def _get(channel: Channel, queue: str) -> DeliveredMessage | None:
    async with bounded(STEP_TIMEOUT):
        message = await channel.basic_get(queue)
    return None if message.delivery_tag is None else message


class RabbitDeadLetter:
    """A `DeadLetter`."""

    def __init__(self, channel: Channel, publisher: "_Publisher", message: DeliveredMessage) -> None:
        self._channel = channel
        self._publisher = publisher
        self._message = message

    @property
    def body(self) -> bytes:
        return self._message.body

    @property
    def message_id(self) -> str | None:
        return self._properties.message_id

    @property
    def reason(self) -> str:
        """Ours, else RabbitMQ's."""
        headers = self._properties.headers or {}
        return str(headers.get("x-reason") or headers.get("x-first-death-reason") or "unknown")

    @property
    def died_at(self) -> int | None:
        """RabbitMQ's, else ours. A message that it moved has the timestamp of whoever published it."""
        at = _latest_death(self._properties.headers or {}) or self._properties.timestamp
        return round(at.timestamp() * 1000) if isinstance(at, datetime) else None

    async def requeue(self) -> None:
        await self._publisher.publish(self.body, self._properties.priority or 0)
        await self.drop()

    async def drop(self) -> None:
        tag = self._message.delivery_tag
        assert tag is not None
        async with bounded(STEP_TIMEOUT):
            await self._channel.basic_ack(tag)

    @property
    def _properties(self) -> spec.Basic.Properties:
        return self._message.header.properties


class _Publisher:
    """Publishes on a connection of its own, made when that is needed: RabbitMQ stops reading from a publisher
    while an alarm is on, and would not notice that the letters are given back."""

    def __init__(self, url: str, queue: str, stack: AsyncExitStack) -> None:
        """
        Args:
            stack: what the connection ends with.
        """
        self._url = url
        self._queue = queue
        self._stack = stack
        self._channel: Channel | None = None

    async def publish(self, body: bytes, priority: int) -> None:
        if self._channel is None:
            connection = await self._stack.enter_async_context(connected(self._url, "requeueing"))
            self._channel = await self._stack.enter_async_context(opened(connection, confirms=True))
        properties = spec.Basic.Properties(message_id=uuid4().hex, priority=priority, delivery_mode=PERSISTENT)
        async with bounded(STEP_TIMEOUT):
            await self._channel.basic_publish(
                body, exchange=self._queue, routing_key=self._queue, properties=properties, mandatory=True
            )


def _latest_death(headers: dict[str, Any]) -> Any:
    """The time in the header `x-death`, which may be a stranger's: of any form."""
    match headers.get("x-death"):
        case [{"time": time}, *_]:
            return time
        case _:
            return None
