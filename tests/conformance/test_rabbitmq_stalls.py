"""What the RabbitMQ broker does when RabbitMQ doesn't answer, or takes nothing."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from tests.conformance.server import RabbitServer
from tests.conformance.waiting import (
    at_most,
    connections_to,
    dead_letter,
    eventually,
    is_up,
    publish,
    take,
    take_one,
)

from taskqueue.broker import (
    Broker,
    BrokerError,
    BrokerState,
    PublishError,
    open_broker,
    rabbitmq,
)

pytestmark = pytest.mark.docker
#: For what is the client's doing, whatever RabbitMQ it talks to.
once = pytest.mark.parametrize("server", ["4.3"], indirect=True)


@asynccontextmanager
async def frozen(server: RabbitServer) -> AsyncIterator[None]:
    await asyncio.to_thread(server.freeze)
    try:
        yield
    finally:
        await asyncio.to_thread(server.thaw)


async def test_publishing_to_a_frozen_rabbitmq_raises_in_time_and_harms_nothing(
    server: RabbitServer, broker: Broker
) -> None:
    async with frozen(server):
        cancelled = [asyncio.create_task(publish(broker, b"cancelled")) for _ in range(20)]
        with at_most(1):
            outcomes = await asyncio.gather(
                *(publish(broker, b"late", timeout=0.5) for _ in range(100)), return_exceptions=True
            )
        assert {type(outcome) for outcome in outcomes} == {PublishError}
        for task in cancelled:
            task.cancel()
        await asyncio.wait(cancelled)
        assert all(task.cancelled() for task in cancelled)
        with at_most(3), pytest.raises(BrokerError):
            await broker.ready_count()
    # Now the late confirmations come.
    await asyncio.gather(*(publish(broker, b"after") for _ in range(200)))
    await eventually(lambda: is_up(broker))

    async def all_are_there() -> bool:
        return await broker.ready_count() == 320

    await eventually(all_are_there)


@once
async def test_large_messages_that_fill_the_socket_do_not_hang(server: RabbitServer, broker: Broker) -> None:
    async with frozen(server):
        for _ in range(3):
            with at_most(1):
                outcomes = await asyncio.gather(
                    *(publish(broker, b"x" * 1_000_000, timeout=0.5) for _ in range(20)), return_exceptions=True
                )
            assert {type(outcome) for outcome in outcomes} == {PublishError}
    await publish(broker)
    # Those that found the socket full were given up, and did not pile up in this process.
    assert await broker.ready_count() < 40


@once
@pytest.mark.parametrize("size", [2, 1_000_000])
async def test_closing_takes_seconds_when_rabbitmq_is_frozen(server: RabbitServer, queue: str, size: int) -> None:
    async with open_broker(server.url, queue) as broker, broker.consume(2) as consumer:
        await publish(broker)
        delivery = await take_one(consumer)
        async with frozen(server):
            with pytest.raises(PublishError):
                async with asyncio.timeout(1):
                    await asyncio.gather(*(publish(broker, b"x" * size, timeout=0.1) for _ in range(20)))
            with at_most(5):
                await broker.__aexit__(None, None, None)
            with at_most(0.2):
                await delivery.ack()
            # What RabbitMQ hasn't taken can't keep a connection open.
            assert not connections_to(server.port)


async def test_an_alarm_blocks_publishing_and_its_end_allows_it(
    server: RabbitServer, broker: Broker, queue: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rabbitmq.broker, "BURY_TIMEOUT", 0.1)
    async with broker.consume(5) as consumer:
        await publish(broker, b"good")
        await publish(broker, b"bad")
        await asyncio.to_thread(server.ctl, "set_vm_memory_high_watermark", "0")
        try:
            with at_most(2), pytest.raises(PublishError):
                await publish(broker, b"blocked", timeout=1)  # RabbitMQ tells at the first publish.
            assert broker.state is BrokerState.BLOCKED
            with at_most(0.2), pytest.raises(PublishError, match="blocked"):
                await publish(broker)
            with at_most(0.2), pytest.raises(BrokerError, match="blocked"):
                await broker.ready_count()
            good, bad = await take(consumer, 2)
            await good.ack()
            with at_most(2):
                await bad.reject("why")  # The reason can't be told, but the message is not lost.
            assert (await dead_letter(server.url, queue))[0] == b"bad"
        finally:
            await asyncio.to_thread(server.ctl, "set_vm_memory_high_watermark", "0.6")
        await eventually(lambda: is_up(broker))
        await publish(broker, b"after")
        bodies = {delivery.body for delivery in await take(consumer, 2)}
        assert bodies == {b"blocked", b"after"}
