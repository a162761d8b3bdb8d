"""The memory broker does the same each time, so that what runs on it can be run again."""

import asyncio
from contextlib import AsyncExitStack

from tests.conformance.waiting import publish

from taskqueue.broker import Consumer
from taskqueue.broker.memory import MemoryBroker


async def test_waiting_consumers_are_served_in_turn() -> None:
    served: asyncio.Queue[int] = asyncio.Queue()

    async def consume(number: int, consumer: Consumer) -> None:
        async for delivery in consumer:
            await delivery.ack()
            served.put_nowait(number)

    order: list[int] = []
    async with asyncio.TaskGroup() as tasks, AsyncExitStack() as stack:
        broker = await stack.enter_async_context(MemoryBroker())
        for number in range(8):
            tasks.create_task(consume(number, await stack.enter_async_context(broker.consume(1))))
        for _ in range(16):
            await publish(broker)
            order.append(await served.get())
    assert order == [*range(8), *range(8)]
