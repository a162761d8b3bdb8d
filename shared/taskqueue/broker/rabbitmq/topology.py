"""The exchanges and queues that taskqueue has in RabbitMQ.

    exchange <queue>  ──▶  queue <queue>  ── rejected ──▶  exchange <queue>.dead  ──▶  queue <queue>.dead
    exchange <queue>.store

A queue's arguments can't be changed later: what may have to be changed belongs in a policy of the broker.

The last exchange carries no message. It says whose the queue is: its alternate exchange, which need not exist, is
named after the store, and RabbitMQ refuses to declare it again with another one. (A queue takes no argument that
RabbitMQ doesn't know, and of an exchange's it compares this one alone.)
"""

import asyncio
from typing import Any

from aiormq import Channel
from aiormq.exceptions import ChannelNotFoundEntity, ChannelPreconditionFailed

from ..protocol import BrokerError, Owner, QueueTakenError
from .connection import STEP_TIMEOUT, Connection, bounded, describe, opened


class Topology:
    """Declares them, and counts how often the queue had gone."""

    def __init__(self, queue: str, owner: Owner | None = None) -> None:
        self.queue = queue
        self._owner = owner
        self.dead = f"{queue}.dead"
        self.queues_created = 0
        self._declared_at = float("-inf")
        self._lock = asyncio.Lock()

    async def ensure(self, connection: Connection, since: float) -> None:
        """Declare everything, unless that was done after `since` (in the event loop's time).

        Raises:
            QueueTakenError: the queue is another store's.
            BrokerError: it can't be done now.
        """
        async with self._lock:
            if self._declared_at > since:
                return
            started = asyncio.get_running_loop().time()
            async with bounded(STEP_TIMEOUT):
                await self._own(connection)
                missing = not await self._exists(connection)
                async with opened(connection) as channel:
                    await self._declare(channel)
            self._declared_at = started
            self.queues_created += missing

    async def _own(self, connection: Connection) -> None:
        """See that the queue is its owner's; or take it, but only once."""
        owner = self._owner
        if owner is None or await self._is_declared_as_of(owner.store, connection):
            return
        if not owner.takes:
            raise QueueTakenError(
                f"the queue {self.queue!r} is another store's: set TASKQUEUE_QUEUE to a name that no other has "
                "on this broker, or TASKQUEUE_TAKE_QUEUE=true to take it over (docs/operations.md)"
            )
        async with opened(connection) as channel:
            await channel.exchange_delete(f"{self.queue}.store")
        self._owner = Owner(owner.store)
        await self._own(connection)

    async def _is_declared_as_of(self, store: str, connection: Connection) -> bool:
        name = f"{self.queue}.store"
        async with opened(connection) as channel:
            try:
                await channel.exchange_declare(
                    name,
                    exchange_type="direct",
                    durable=True,
                    arguments={"alternate-exchange": f"{name}.{store}"},
                )
            except ChannelPreconditionFailed:
                return False
        return True

    async def _exists(self, connection: Connection) -> bool:
        async with opened(connection) as channel:
            try:
                await channel.queue_declare(self.queue, passive=True)
            except ChannelNotFoundEntity:
                return False
        return True

    async def _declare(self, channel: Channel) -> None:
        # Attempts are counted in the store, so the broker must never drop a message for having been delivered
        # too often: a worker that is killed would take its neighbours' messages along.
        common: dict[str, Any] = {"x-queue-type": "quorum", "x-delivery-limit": -1}
        at_least_once = {
            "x-dead-letter-exchange": self.dead,
            "x-dead-letter-strategy": "at-least-once",
            "x-overflow": "reject-publish",
        }
        for name, arguments in ((self.dead, common), (self.queue, common | at_least_once)):
            try:
                await channel.exchange_declare(name, exchange_type="direct", durable=True)
                await channel.queue_declare(name, durable=True, arguments=arguments)
            except ChannelPreconditionFailed as error:
                raise BrokerError(f"{name!r} exists with other arguments: {describe(error)}") from error
            # A dead letter keeps its routing key.
            await channel.queue_bind(name, name, routing_key=self.queue)
