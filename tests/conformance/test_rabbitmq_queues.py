"""What the RabbitMQ broker makes of its exchanges and queues, also when they go."""

import asyncio
from typing import Any

import pytest
from aio_pika.abc import AbstractChannel
from tests.conformance.proxy import Proxy
from tests.conformance.server import RabbitServer
from tests.conformance.waiting import (
    dead_letter,
    eventually,
    is_up,
    publish,
    take_one,
)

from taskqueue.broker import (
    Broker,
    BrokerState,
    PublishError,
    UnroutableError,
    open_broker,
)

pytestmark = pytest.mark.docker
#: For what is the client's doing, whatever RabbitMQ it talks to.
once = pytest.mark.parametrize("server", ["4.3"], indirect=True)


# Topology


async def test_the_queues_are_declared_with_the_arguments_agreed_on(
    broker: Broker, admin: AbstractChannel, queue: str
) -> None:
    # RabbitMQ refuses to declare a queue again with other arguments.
    dead: dict[str, Any] = {"x-queue-type": "quorum", "x-delivery-limit": -1}
    live: dict[str, Any] = {
        **dead,
        "x-dead-letter-exchange": f"{queue}.dead",
        "x-dead-letter-strategy": "at-least-once",
        "x-overflow": "reject-publish",
    }
    await admin.declare_queue(queue, durable=True, arguments=live)
    await admin.declare_queue(f"{queue}.dead", durable=True, arguments=dead)
    assert broker.queues_created == 1


async def test_a_queue_that_was_there_does_not_count_as_created(server: RabbitServer, queue: str) -> None:
    for created in (1, 0):
        async with open_broker(server.url, queue) as broker:
            await eventually(lambda: is_up(broker))
            async with broker.consume(1) as consumer:
                await eventually(lambda: consumer.attached)
                assert broker.queues_created == created


async def test_a_deleted_queue_makes_publish_raise_and_the_next_one_finds_it_again(
    broker: Broker, admin: AbstractChannel, queue: str
) -> None:
    await admin.queue_delete(queue)
    with pytest.raises(UnroutableError):
        await publish(broker)
    await publish(broker)
    assert broker.queues_created == 2
    assert await broker.ready_count() == 1


@once
async def test_many_unroutable_publishes_make_the_queue_once(
    broker: Broker, admin: AbstractChannel, queue: str
) -> None:
    await admin.queue_delete(queue)
    outcomes = await asyncio.gather(*(publish(broker) for _ in range(100)), return_exceptions=True)
    assert {type(outcome) for outcome in outcomes} <= {UnroutableError, type(None)}
    assert isinstance(outcomes[0], UnroutableError)
    assert broker.queues_created == 2


async def test_an_unbound_queue_is_bound_again(broker: Broker, admin: AbstractChannel, queue: str) -> None:
    await (await admin.get_queue(queue)).unbind(queue, routing_key=queue)
    with pytest.raises(UnroutableError):
        await publish(broker)
    await publish(broker)
    assert broker.queues_created == 1


async def test_a_deleted_exchange_is_made_again(broker: Broker, admin: AbstractChannel, queue: str) -> None:
    await admin.exchange_delete(queue)
    with pytest.raises(PublishError):
        await publish(broker)
    await eventually(lambda: is_up(broker))
    await publish(broker)


async def test_consumers_survive_the_deletion_of_their_queue(
    broker: Broker, admin: AbstractChannel, queue: str
) -> None:
    async with broker.consume(5) as one:
        await publish(broker)
        gone = await take_one(one)
        async with broker.consume(5) as other:
            await eventually(lambda: other.attached)
            await admin.queue_delete(queue)
            await eventually(lambda: broker.queues_created == 2)
            await eventually(lambda: one.attached and other.attached)
            await gone.ack()
            await publish(broker)
            await publish(broker)
            await asyncio.gather(take_one(one), take_one(other))


async def test_a_queue_with_other_arguments_is_told_and_tried_again(
    server: RabbitServer, admin: AbstractChannel, queue: str, caplog: pytest.LogCaptureFixture
) -> None:
    await admin.declare_queue(queue, durable=True)
    async with open_broker(server.url, queue) as broker:
        assert broker.state is BrokerState.DISCONNECTED
        await asyncio.sleep(1)  # for some attempts
        lines = [record.message for record in caplog.records if record.name == "taskqueue.broker"]
        assert len(lines) == 1
        assert "PRECONDITION_FAILED" in lines[0]
        assert queue in lines[0]
        await admin.queue_delete(queue)
        await eventually(lambda: is_up(broker))
        await publish(broker)


# Rejecting


async def test_a_rejected_delivery_is_not_lost_when_the_dead_letter_queue_was(
    server: RabbitServer, broker: Broker, admin: AbstractChannel, queue: str
) -> None:
    await publish(broker, b"bad")
    async with broker.consume(1) as consumer:
        delivery = await take_one(consumer)
        await admin.queue_delete(f"{queue}.dead")
        await delivery.reject("why")
        assert await dead_letter(server.url, queue) == (b"bad", "why")


@once
async def test_a_delivery_rejected_after_its_connection_is_not_dead_lettered_twice(
    server: RabbitServer, proxy: Proxy, proxied_url: str, queue: str
) -> None:
    await proxy.open()
    async with open_broker(proxied_url, queue) as broker, broker.consume(1) as consumer:
        await publish(broker, b"bad")
        delivery = await take_one(consumer)
        proxy.cut()
        again = await take_one(consumer)
        await eventually(lambda: is_up(broker))
        await delivery.reject("first")
        await again.reject("second")
        assert await dead_letter(server.url, queue) == (b"bad", "second")
