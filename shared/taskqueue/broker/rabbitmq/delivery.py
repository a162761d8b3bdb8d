"""What RabbitMQ has delivered, and the channel that it came on."""

import asyncio
from collections.abc import Awaitable, Callable

from aiormq import Channel
from aiormq.abc import DeliveredMessage

from ..protocol import BrokerError
from .connection import CHANNEL_CLOSE_TIMEOUT, STEP_TIMEOUT, bounded, explained, log

#: Publishes a copy of a message to the dead-letter queue, with a reason; raises `BrokerError`.
Bury = Callable[[DeliveredMessage, str], Awaitable[None]]


class DeliveryChannel:
    """A channel to consume on, until it is `lost`.

    After that nothing may be sent on it: RabbitMQ answers a frame that follows the closing of its channel by
    closing the connection, with all its other consumers.
    """

    def __init__(self, channel: Channel) -> None:
        self.channel = channel
        #: Done, with the reason, once it is over.
        self.lost: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        #: Done, each, once a frame that had to wait has been handed over.
        self._waiting: set[asyncio.Future[None]] = set()

    def end(self, reason: str) -> None:
        if not self.lost.done():
            self.lost.set_result(reason)

    async def send(self, verb: Callable[[], Awaitable[None]]) -> None:
        """Hand over the frame that ends a delivery; it returns quietly where that comes too late.

        Args:
            verb: one of the channel's, told not to wait until the frame is on the wire.
        """
        if self.lost.done():
            return
        try:
            if self.channel.write_queue.full():
                await self._send_in_turn(verb)
            else:  # It is handed over without waiting: it needs no deadline, and comes before the channel's close.
                with explained():
                    await verb()
        except BrokerError as error:
            log.debug("a delivery's end did not reach RabbitMQ: %s", error)

    async def _send_in_turn(self, verb: Callable[[], Awaitable[None]]) -> None:
        sent: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.add(sent)
        try:
            async with bounded(STEP_TIMEOUT):
                await verb()
        finally:
            self._waiting.discard(sent)
            sent.set_result(None)

    async def settled(self) -> None:
        """Wait until all is handed over, for `CHANNEL_CLOSE_TIMEOUT` at most."""
        if self._waiting:
            await asyncio.wait(self._waiting, timeout=CHANNEL_CLOSE_TIMEOUT)


class RabbitDelivery:
    """A `Delivery`."""

    __slots__ = ("_bury", "_message", "_on")

    def __init__(self, message: DeliveredMessage, on: DeliveryChannel, bury: Bury) -> None:
        self._message = message
        self._on = on
        self._bury = bury

    @property
    def body(self) -> bytes:
        return self._message.body

    @property
    def message_id(self) -> str | None:
        return self._message.header.properties.message_id

    @property
    def redelivered(self) -> bool:
        return bool(self._message.redelivered)

    async def ack(self) -> None:
        await self._on.send(lambda: self._on.channel.basic_ack(self._tag, wait=False))

    async def requeue(self) -> None:
        await self._on.send(lambda: self._on.channel.basic_nack(self._tag, requeue=True, wait=False))

    async def reject(self, reason: str) -> None:
        if self._on.lost.done():
            return  # It will be delivered again, and rejected then: don't bury it twice.
        try:
            await self._bury(self._message, reason)
        except BrokerError as error:
            log.warning("rejecting a message without its reason %r: %s", reason, error)
            await self._on.send(lambda: self._on.channel.basic_reject(self._tag, requeue=False, wait=False))
        else:
            await self.ack()

    @property
    def _tag(self) -> int:
        tag = self._message.delivery_tag
        assert tag is not None
        return tag
