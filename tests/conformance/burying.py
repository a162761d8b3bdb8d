"""Dead letters to test with."""

from tests.conformance.waiting import PATIENCE, eventually, take_one

from taskqueue.broker import Broker


async def bury(broker: Broker, *bodies: bytes, reason: str = "no task", message_id: str = "") -> None:
    """Let messages become dead letters, in this order; nobody else may consume."""
    before = await broker.dead_count()
    async with broker.consume(1) as consumer:
        for body in bodies:
            await broker.publish(body, message_id=message_id, priority=4, timeout=PATIENCE)
            await (await take_one(consumer)).reject(reason)
        await until_dead(broker, before + len(bodies))


async def until_dead(broker: Broker, count: int) -> None:
    """Wait until there are so many dead letters."""

    async def are_there() -> bool:
        return await broker.dead_count() == count

    await eventually(are_there)
