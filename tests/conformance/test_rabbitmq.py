"""What the RabbitMQ broker promises when RabbitMQ, its queue or the network misbehaves."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from uuid import uuid4

import pytest
from aio_pika.abc import AbstractChannel
from tests.conformance.proxy import Proxy
from tests.conformance.server import PASSWORD, RabbitServer, free_port
from tests.conformance.waiting import PATIENCE, dead_letter, eventually, nothing_arrives, take, take_one

from taskqueue.broker import (
    Broker,
    BrokerError,
    BrokerState,
    PublishError,
    UnroutableError,
    open_broker,
    rabbitmq,
    rabbitmq_connection,
)

pytestmark = pytest.mark.docker
#: For what is the client's doing, whatever RabbitMQ it talks to.
once = pytest.mark.parametrize("server", ["4.3"], indirect=True)


async def publish(broker: Broker, body: bytes = b"{}", timeout: float = PATIENCE) -> None:
    await broker.publish(body, message_id=uuid4().hex, priority=4, timeout=timeout)


def is_up(broker: Broker) -> bool:
    return broker.state is BrokerState.CONNECTED


@contextmanager
def at_most(seconds: float) -> Iterator[None]:
    started = time.monotonic()
    yield
    assert time.monotonic() - started < seconds


@asynccontextmanager
async def frozen(server: RabbitServer) -> AsyncIterator[None]:
    await asyncio.to_thread(server.freeze)
    try:
        yield
    finally:
        await asyncio.to_thread(server.thaw)


@pytest.fixture
async def broker(server: RabbitServer, queue: str) -> AsyncIterator[Broker]:
    async with open_broker(server.url, queue) as broker:
        await eventually(lambda: is_up(broker))
        yield broker


@pytest.fixture
async def proxy(server: RabbitServer) -> AsyncIterator[Proxy]:
    async with Proxy(free_port(), server.port) as proxy:
        yield proxy


@pytest.fixture
def proxied_url(server: RabbitServer, proxy: Proxy) -> str:
    return server.url.replace(str(server.port), str(proxy.port))


# Topology


async def test_the_queues_are_declared_with_the_arguments_agreed_on(
    broker: Broker, admin: AbstractChannel, queue: str
) -> None:
    # RabbitMQ refuses to declare a queue again with other arguments.
    dead = {"x-queue-type": "quorum", "x-delivery-limit": -1}
    live = {
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


# Consumers that share a connection


async def test_consumers_that_leave_under_load_do_not_disturb_the_others(
    broker: Broker, caplog: pytest.LogCaptureFixture
) -> None:
    async def consume_and_leave() -> None:
        async with broker.consume(500) as leaver:
            deliveries = await take(leaver, 10)  # while more are arriving
            ending = [asyncio.create_task(delivery.ack()) for delivery in deliveries]
        await asyncio.gather(*ending, *(delivery.requeue() for delivery in deliveries))

    await asyncio.gather(*(publish(broker) for _ in range(1000)))
    async with broker.consume(1) as steady:
        delivery = await take_one(steady)
        for _ in range(10):
            await asyncio.gather(*(consume_and_leave() for _ in range(3)))
        await delivery.ack()
        await take_one(steady)
    # Neither connection was lost.
    assert not [record.message for record in caplog.records if record.levelno >= logging.WARNING]


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


# Entering


@once
async def test_wrong_credentials_are_told_promptly_and_without_the_password(
    server: RabbitServer, queue: str
) -> None:
    wrong = server.url.replace(PASSWORD, "wr0ng")
    with at_most(5), pytest.raises(BrokerError, match="refused") as raised:
        async with open_broker(wrong, queue):
            pass
    assert "\n" not in str(raised.value)
    assert "wr0ng" not in str(raised.value)


@once
async def test_a_broker_that_appears_later_is_found(
    server: RabbitServer, proxy: Proxy, proxied_url: str, queue: str, caplog: pytest.LogCaptureFixture
) -> None:
    with at_most(2):
        broker = await open_broker(proxied_url, queue).__aenter__()
    async with broker.consume(5) as consumer:
        assert broker.state is BrokerState.DISCONNECTED
        assert not consumer.attached
        with at_most(0.2), pytest.raises(PublishError):
            await publish(broker)
        with at_most(0.2), pytest.raises(BrokerError):
            await broker.ready_count()
        await asyncio.sleep(1)  # for some attempts
        lines = [record for record in caplog.records if record.levelno >= logging.WARNING]
        assert len(lines) == 2, "one for each connection"
        assert PASSWORD not in caplog.text
        await proxy.open()
        await eventually(lambda: is_up(broker))
        await publish(broker, b"at last")
        assert (await take_one(consumer)).body == b"at last"
    await broker.__aexit__(None, None, None)


async def test_a_host_that_has_no_name_yet_is_waited_for(queue: str) -> None:
    with at_most(6):
        async with open_broker("amqp://user:password@no-such-host.invalid/", queue) as broker:
            assert broker.state is BrokerState.DISCONNECTED
            with at_most(0.2), pytest.raises(PublishError):
                await publish(broker)


# Losing the connection


async def test_a_closed_connection_is_made_again_and_unended_deliveries_come_back(
    server: RabbitServer, broker: Broker
) -> None:
    async with broker.consume(2) as consumer:
        for body in (b"1", b"2", b"3"):
            await publish(broker, body)
        yielded = await take_one(consumer)  # The second waits in the consumer, the third in RabbitMQ.
        await asyncio.to_thread(server.ctl, "close_all_connections", "by a test")
        await yielded.ack()
        again = await take(consumer, 2)
        assert {(delivery.body, delivery.redelivered) for delivery in again} == {(b"1", True), (b"2", True)}
        for delivery in again:
            await delivery.ack()
        assert (await take_one(consumer)).body == b"3"
        await eventually(lambda: is_up(broker))
        await publish(broker)


@once
async def test_a_pause_outlasts_the_connection(proxy: Proxy, proxied_url: str, queue: str) -> None:
    await proxy.open()
    async with open_broker(proxied_url, queue) as broker, broker.consume(5) as consumer:
        await eventually(lambda: consumer.attached)
        await consumer.pause()
        proxy.cut()
        await eventually(lambda: not is_up(broker))
        await eventually(lambda: is_up(broker))
        await publish(broker, b"1")
        assert await nothing_arrives(consumer)
        assert not consumer.attached
        await consumer.resume()
        assert (await take_one(consumer)).body == b"1"


@once
async def test_a_consumer_can_be_paused_and_resumed_while_there_is_no_connection(
    proxy: Proxy, proxied_url: str, queue: str
) -> None:
    await proxy.open()
    async with open_broker(proxied_url, queue) as broker, broker.consume(5) as consumer:
        await eventually(lambda: consumer.attached)
        await proxy.shut()
        await eventually(lambda: not consumer.attached)
        with at_most(1):
            await consumer.pause()
            await consumer.resume()
        await proxy.open()
        await eventually(lambda: is_up(broker))
        await publish(broker, b"1")
        assert (await take_one(consumer)).body == b"1"


@once
async def test_dropped_packets_are_noticed(
    proxy: Proxy, proxied_url: str, queue: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert 3 * (rabbitmq_connection.HEARTBEAT + 1) + rabbitmq_connection.HEARTBEAT / 2 < 40
    monkeypatch.setattr(rabbitmq_connection, "HEARTBEAT", 1)
    await proxy.open()
    async with open_broker(proxied_url, queue) as broker, broker.consume(5) as consumer:
        await eventually(lambda: consumer.attached)
        proxy.drop()
        # Both wait when the connection is given up. That is the end of the connection, not of their tasks.
        waiting = asyncio.create_task(publish(broker))
        with at_most(10):
            with pytest.raises(PublishError):
                await waiting
            await eventually(lambda: not is_up(broker) and not consumer.attached)


async def test_everything_works_again_after_a_killed_rabbitmq(
    server: RabbitServer, broker: Broker, caplog: pytest.LogCaptureFixture
) -> None:
    async with broker.consume(1) as one, broker.consume(1) as other:
        await publish(broker, b"1")
        await publish(broker, b"2")
        for delivery in await asyncio.gather(take_one(one), take_one(other)):
            assert not delivery.redelivered
        # RabbitMQ 4.0 to 4.3 forgets a quorum queue's messages, confirmed ones too, when it is killed within
        # half a second after the queue was made.
        await asyncio.sleep(1.5)
        await asyncio.to_thread(server.kill)
        await eventually(lambda: not is_up(broker) and not one.attached and not other.attached)
        with at_most(0.2), pytest.raises(PublishError):
            await publish(broker)
        await asyncio.to_thread(server.start_again)
        await asyncio.to_thread(server.wait_ready)
        again = await asyncio.gather(take_one(one), take_one(other))
        assert {delivery.body for delivery in again} == {b"1", b"2"}
        await eventually(lambda: is_up(broker))
        for delivery in again:
            await delivery.ack()
        await publish(broker, b"3")
        assert broker.queues_created == 1
    lines = [record.message for record in caplog.records if record.levelno >= logging.WARNING]
    assert sum("publishing" in line for line in lines) == 1
    assert sum("consuming" in line for line in lines) == 1


# A RabbitMQ that doesn't answer


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
        with at_most(1):
            outcomes = await asyncio.gather(
                *(publish(broker, b"x" * 1_000_000, timeout=0.5) for _ in range(20)), return_exceptions=True
            )
        assert {type(outcome) for outcome in outcomes} == {PublishError}
    await publish(broker)


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


async def test_an_alarm_blocks_publishing_and_its_end_allows_it(
    server: RabbitServer, broker: Broker, queue: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rabbitmq, "BURY_TIMEOUT", 0.1)
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
