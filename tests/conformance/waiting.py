"""Waiting for what a broker should do. Every wait has an end."""

import asyncio
import gc
import socket
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from uuid import uuid4

import aio_pika
from aio_pika.abc import AbstractIncomingMessage

from taskqueue.broker import Broker, BrokerState, Consumer, Delivery

#: Seconds after which a test gives up waiting for something that should happen.
PATIENCE = 20


async def dead_letter(url: str, queue: str) -> tuple[bytes, str]:
    """Take the next message, with its reason, from the dead-letter queue."""
    async with await aio_pika.connect(url) as connection:
        channel = await connection.channel()
        arrived: asyncio.Queue[AbstractIncomingMessage] = asyncio.Queue()
        await channel.set_qos(1)
        await (await channel.get_queue(f"{queue}.dead", ensure=False)).consume(arrived.put)
        async with asyncio.timeout(PATIENCE):
            message = await arrived.get()
        await message.ack()
        return message.body, str(message.headers.get("x-reason"))


async def take(consumer: Consumer, count: int = 1) -> list[Delivery]:
    """The next deliveries."""
    async with asyncio.timeout(PATIENCE):
        return [await anext(aiter(consumer)) for _ in range(count)]


async def take_one(consumer: Consumer) -> Delivery:
    return (await take(consumer))[0]


async def take_without_waiting(consumer: Consumer) -> Delivery:
    """The next delivery, asked for until it has arrived."""
    async with asyncio.timeout(PATIENCE):
        while (delivery := consumer.take()) is None:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    return delivery


def connections_to(port: int) -> list[socket.socket]:
    """This process's open ones."""

    def leads_there(it: object) -> bool:
        if not (isinstance(it, socket.socket) and it.family == socket.AF_INET):
            return False
        try:
            return bool(it.getpeername()[1] == port)
        except OSError:  # closed, or a listener
            return False

    return [it for it in gc.get_objects() if leads_there(it)]


async def eventually(condition: Callable[[], bool | Awaitable[bool]]) -> None:
    """Wait until the condition holds. For what has no event to wait for."""
    async with asyncio.timeout(PATIENCE):
        while not (  # noqa: ASYNC110
            holds if isinstance(holds := condition(), bool) else await holds
        ):
            await asyncio.sleep(0.02)


async def nothing_arrives(consumer: Consumer) -> bool:
    """Whether the consumer stays without a delivery for a moment."""
    try:
        async with asyncio.timeout(0.3):
            await anext(aiter(consumer))
    except TimeoutError:
        return True
    return False


async def publish(broker: Broker, body: bytes = b"{}", timeout: float = PATIENCE) -> None:
    await broker.publish(body, message_id=uuid4().hex, priority=4, timeout=timeout)


def is_up(broker: Broker) -> bool:
    return broker.state is BrokerState.CONNECTED


@contextmanager
def at_most(seconds: float) -> Iterator[None]:
    started = time.monotonic()
    yield
    assert time.monotonic() - started < seconds
