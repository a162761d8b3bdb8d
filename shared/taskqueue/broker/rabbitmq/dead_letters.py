"""The dead-letter queue in RabbitMQ: messages that can't be tasks, to be looked at, put back or dropped."""

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from hashlib import sha256
from uuid import uuid4

from aiormq import Channel, spec
from aiormq.abc import DeliveredMessage

from .connection import PERSISTENT, STEP_TIMEOUT, bounded, connected, opened
from .topology import Topology


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A message in the dead-letter queue."""

    #: Names it in this listing and the next: made of what it holds, so it never comes to mean another letter.
    id: str
    reason: str
    body: bytes


class DeadLetters:
    """The dead letters, held by this process while it looks: nobody else sees them meanwhile."""

    def __init__(self, channel: Channel, topology: Topology, held: list[DeliveredMessage]) -> None:
        self._channel = channel
        self._topology = topology
        self._held = _named(held)
        #: How many there are in all, also beyond those that were asked for.
        self.count = 0

    @classmethod
    @asynccontextmanager
    async def open(cls, url: str, queue: str, *, limit: int) -> AsyncIterator["DeadLetters"]:
        """Take the oldest `limit` dead letters to look at; what is not ended goes back to its place.

        Raises:
            BrokerError: the broker can't be reached, or refuses.
        """
        topology = Topology(queue)
        async with connected(url, "dead letters") as connection:
            await topology.ensure(connection, since=float("-inf"))
            async with opened(connection, confirms=True) as channel:
                async with bounded(STEP_TIMEOUT):
                    count = (await channel.queue_declare(topology.dead, passive=True)).message_count or 0
                async with bounded(STEP_TIMEOUT + limit / 100):
                    letters = cls(channel, topology, await _take(channel, topology.dead, min(limit, count)))
                letters.count = count
                yield letters

    @property
    def listed(self) -> list[DeadLetter]:
        """Those that are held, oldest first."""
        return [DeadLetter(id, _reason(message), message.body) for id, message in self._held.items()]

    async def requeue(self, id: str) -> None:
        """Put a held one back into the queue of tasks, and end it here once that is confirmed.

        Raises:
            BrokerError: it is not confirmed; the letter stays.
            KeyError: no such letter is held.
        """
        message = self._held[id]
        properties = spec.Basic.Properties(
            message_id=uuid4().hex, priority=message.header.properties.priority or 0, delivery_mode=PERSISTENT
        )
        queue = self._topology.queue
        async with bounded(STEP_TIMEOUT):
            await self._channel.basic_publish(
                message.body, exchange=queue, routing_key=queue, properties=properties, mandatory=True
            )
        await self.drop(id)

    async def drop(self, id: str) -> None:
        """End a held one for good.

        Raises:
            BrokerError: the broker can't be told; the letter stays.
            KeyError: no such letter is held.
        """
        tag = self._held[id].delivery_tag
        assert tag is not None
        async with bounded(STEP_TIMEOUT):
            await self._channel.basic_ack(tag)
        del self._held[id]


async def _take(channel: Channel, queue: str, count: int) -> list[DeliveredMessage]:
    taken: list[DeliveredMessage] = []
    while len(taken) < count and (message := await channel.basic_get(queue)).delivery_tag is not None:
        taken.append(message)
    return taken


def _named(messages: list[DeliveredMessage]) -> dict[str, DeliveredMessage]:
    """Ids for them. A publisher's `message_id` won't do: a foreign message may have none, or another's."""
    named: dict[str, DeliveredMessage] = {}
    copies = Counter[str]()
    for message in messages:
        parts = ((message.header.properties.message_id or "").encode(), _reason(message).encode(), message.body)
        digest = sha256(b"".join(sha256(part).digest() for part in parts)).hexdigest()[:12]
        copies[digest] += 1
        named[digest if copies[digest] == 1 else f"{digest}-{copies[digest]}"] = message
    return named


def _reason(message: DeliveredMessage) -> str:
    """Ours, else the broker's."""
    headers = message.header.properties.headers or {}
    return str(headers.get("x-reason") or headers.get("x-first-death-reason") or "unknown")
