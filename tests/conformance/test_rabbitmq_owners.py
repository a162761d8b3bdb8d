"""A queue is one store's: RabbitMQ itself keeps whose, and refuses the others."""

from typing import Any

import pytest
from tests.conformance.proxy import Proxy
from tests.conformance.server import RabbitServer
from tests.conformance.waiting import PATIENCE, eventually, is_up, take_one

from taskqueue.broker import BrokerState, Owner, QueueTakenError, open_broker

pytestmark = pytest.mark.docker

OURS, THEIRS = Owner("ours"), Owner("theirs")


async def test_the_queue_of_another_store_is_refused(server: RabbitServer, queue: str) -> None:
    async with open_broker(server.url, queue, owner=OURS) as broker:
        await eventually(lambda: is_up(broker))
        with pytest.raises(QueueTakenError, match=f"the queue '{queue}' is another store's") as raised:
            async with open_broker(server.url, queue, owner=THEIRS):
                pass
        assert "\n" not in str(raised.value)
        async with open_broker(server.url, queue, owner=OURS) as second:
            await eventually(lambda: is_up(second))
            await second.publish(b"ours", message_id="m", priority=4, timeout=PATIENCE)
            async with broker.consume(1) as consumer:
                assert (await take_one(consumer)).body == b"ours"


async def test_a_queue_can_be_taken_and_is_then_refused_to_who_had_it(server: RabbitServer, queue: str) -> None:
    async with open_broker(server.url, queue, owner=OURS) as broker:
        await eventually(lambda: is_up(broker))
    async with open_broker(server.url, queue, owner=Owner("theirs", takes=True)) as broker:
        await eventually(lambda: is_up(broker))
    async with open_broker(server.url, queue, owner=THEIRS) as broker:
        await eventually(lambda: is_up(broker))
    with pytest.raises(QueueTakenError):
        async with open_broker(server.url, queue, owner=OURS):
            pass


async def test_a_queue_that_was_nobodys_is_the_first_ones(server: RabbitServer, queue: str) -> None:
    async with open_broker(server.url, queue) as broker:
        await eventually(lambda: is_up(broker))
    async with open_broker(server.url, queue, owner=OURS) as broker:
        await eventually(lambda: is_up(broker))
    with pytest.raises(QueueTakenError):
        async with open_broker(server.url, queue, owner=THEIRS):
            pass


async def test_where_the_broker_comes_later_nothing_goes_through_another_stores_queue(
    server: RabbitServer, queue: str, proxied_url: str, proxy: Proxy, caplog: Any
) -> None:
    async with open_broker(server.url, queue, owner=OURS) as ours:
        await eventually(lambda: is_up(ours))
        async with open_broker(proxied_url, queue, owner=THEIRS) as theirs, theirs.consume(1) as consumer:
            assert theirs.state is BrokerState.DISCONNECTED
            await proxy.open()
            await eventually(lambda: "is another store's" in caplog.text)
            assert theirs.state is BrokerState.DISCONNECTED
            assert not consumer.attached
            await ours.publish(b"ours", message_id="m", priority=4, timeout=PATIENCE)
            assert await ours.ready_count() == 1
