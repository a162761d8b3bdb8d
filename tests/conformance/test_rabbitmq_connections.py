"""What the RabbitMQ broker does when there is no connection, or no longer."""

import asyncio
import gc
import logging
import re
import ssl
from collections.abc import AsyncIterator, Awaitable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import aiormq
import pytest
import trustme
from tests.conformance.proxy import Proxy
from tests.conformance.server import PASSWORD, USER, RabbitServer, free_port
from tests.conformance.waiting import (
    PATIENCE,
    at_most,
    connections_to,
    eventually,
    is_up,
    nothing_arrives,
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
)
from taskqueue.broker.rabbitmq import connection
from taskqueue.broker.rabbitmq.connection import AwayError, connected
from taskqueue.broker.rabbitmq.supervisor import Supervisor

pytestmark = pytest.mark.docker
#: For what is the client's doing, whatever RabbitMQ it talks to.
once = pytest.mark.parametrize("server", ["4.3"], indirect=True)


@dataclass
class Tls:
    """What a server on the loopback address shows, and the file with the authority that vouches for it."""

    context: ssl.SSLContext
    authority: Path

    def url(self, server: RabbitServer, proxy: Proxy) -> str:
        return server.url.replace("amqp:", "amqps:").replace(str(server.port), str(proxy.port)) + (
            f"?cafile={self.authority}"
        )


@pytest.fixture
def tls(tmp_path: Path) -> Tls:
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    file = tmp_path / "authority.pem"
    authority.cert_pem.write_to_path(file)
    return Tls(context, file)


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
@pytest.mark.parametrize(
    ("permissions", "told"),
    [
        (None, "vhost {vhost} not found"),
        ((), "access to vhost '{vhost}' refused for user 'taskqueue'"),
        (("^$", ".*", ".*"), "configure access to exchange '{queue}.dead' in vhost '{vhost}' refused"),
        ((".*", "^$", ".*"), "write access to queue '{queue}.dead' in vhost '{vhost}' refused"),
        ((".*", ".*", "^$"), "read access to exchange '{queue}.dead' in vhost '{vhost}' refused"),
    ],
    ids=["no vhost", "no access", "not to configure", "not to write", "not to read"],
)
async def test_a_vhost_that_is_not_for_us_is_told_promptly_and_which(
    server: RabbitServer, queue: str, permissions: tuple[str, ...] | None, told: str
) -> None:
    vhost = f"of-{queue}"
    if permissions is not None:
        server.ctl("add_vhost", vhost)
    if permissions:
        server.ctl("set_permissions", "-p", vhost, USER, *permissions)
    try:
        with (
            at_most(5),
            pytest.raises(BrokerError, match=re.escape(told.format(vhost=vhost, queue=queue))) as raised,
        ):
            async with open_broker(server.url + vhost, queue):
                pass
        assert f"refuses user 'taskqueue' on vhost '{vhost}'" in str(raised.value)
        assert PASSWORD not in str(raised.value)
    finally:
        if permissions is not None:
            server.ctl("delete_vhost", vhost)


async def test_who_closes_a_connection_before_we_have_said_anything_is_away(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    open_connection = asyncio.open_connection

    async def open_and_hear_of_the_end(*address: Any, **options: Any) -> Any:
        reader, writer = await open_connection(*address, **options)
        while not reader.at_eof():  # noqa: ASYNC110  # it has no event
            await asyncio.sleep(0)
        return reader, writer

    monkeypatch.setattr(asyncio, "open_connection", open_and_hear_of_the_end)
    async with await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", port := free_port()):
        with at_most(5), pytest.raises(AwayError, match="the connection was closed"):
            async with connected(f"amqp://127.0.0.1:{port}/", "testing"):
                pass


@once
async def test_a_limit_of_connections_that_is_reached_may_pass(server: RabbitServer, queue: str) -> None:
    vhost = f"of-{queue}"
    server.ctl("add_vhost", vhost)
    server.ctl("set_permissions", "-p", vhost, USER, ".*", ".*", ".*")
    server.ctl("set_vhost_limits", "-p", vhost, '{"max-connections": 0}')
    try:
        async with open_broker(server.url + vhost, queue) as broker:
            assert broker.state is BrokerState.DISCONNECTED
            server.ctl("clear_vhost_limits", "-p", vhost)
            await eventually(lambda: broker.state is BrokerState.CONNECTED)
    finally:
        server.ctl("delete_vhost", vhost)


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


@pytest.mark.parametrize("scheme", ["amqp", "amqps"])
@pytest.mark.parametrize("peer", ["absent", "hangs up", "takes nothing"])
async def test_nothing_is_left_of_an_attempt_that_failed(
    peer: str, scheme: str, tls: Tls, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "STEP_TIMEOUT", 0.5)
    monkeypatch.setattr(connection, "CLOSE_TIMEOUT", 0.5)
    port = free_port()
    over = asyncio.Event()

    async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if peer == "takes nothing":
            writer.transport.pause_reading()
            await over.wait()
        writer.transport.abort()

    async with AsyncExitStack() as stack:
        if peer != "absent":
            context = tls.context if scheme == "amqps" else None
            await stack.enter_async_context(await asyncio.start_server(serve, "127.0.0.1", port, ssl=context))
        with at_most(3), pytest.raises(BrokerError):
            async with connected(f"{scheme}://127.0.0.1:{port}/?cafile={tls.authority}", "a test"):
                pass
        await eventually(lambda: not connections_to(port))
        over.set()
    # What isn't closed would be, by the garbage collector, in whatever thread that runs.
    connections = [it for it in gc.get_objects() if isinstance(it, aiormq.Connection)]
    assert all(it.is_closed for it in connections if it.url.port == port)


async def test_pauses_before_connecting_again_are_drawn_from_the_random_that_is_handed_in(queue: str) -> None:
    class Told(Random):
        drawn = asyncio.Event()

        def random(self) -> float:
            self.drawn.set()
            return super().random()

    random = Told()
    async with open_broker(f"amqp://127.0.0.1:{free_port()}/", queue, random=random), asyncio.timeout(PATIENCE):
        await random.drawn.wait()


async def test_a_session_that_fails_to_clean_up_does_not_outlive_its_end() -> None:
    @asynccontextmanager
    async def session() -> AsyncIterator[Awaitable[None]]:
        try:
            yield asyncio.get_running_loop().create_future()
        finally:
            raise RuntimeError("by a test")

    supervisor = Supervisor("a test", session, Random())
    supervisor.start()
    await supervisor.tried.wait()
    with at_most(1):
        await supervisor.stop()


# TLS


@once
async def test_all_works_over_tls(server: RabbitServer, queue: str, tls: Tls) -> None:
    async with Proxy(free_port(), server.port, tls.context) as proxy:
        await proxy.open()
        async with open_broker(tls.url(server, proxy), queue) as broker, broker.consume(1) as consumer:
            await publish(broker, b"secret")
            delivery = await take_one(consumer)
            assert delivery.body == b"secret"
            await delivery.ack()
        assert not connections_to(proxy.port)


@once
async def test_a_stranger_is_not_talked_to_over_tls(server: RabbitServer, queue: str, tls: Tls) -> None:
    async with Proxy(free_port(), server.port, tls.context) as proxy:
        await proxy.open()
        url = tls.url(server, proxy).partition("?")[0]  # without the authority that vouches for it
        async with open_broker(url, queue) as broker:
            with pytest.raises(PublishError):
                await publish(broker)


@once
async def test_closing_over_tls_takes_seconds_when_nothing_is_taken(
    server: RabbitServer, queue: str, tls: Tls, caplog: pytest.LogCaptureFixture
) -> None:
    async with Proxy(free_port(), server.port, tls.context) as proxy:
        await proxy.open()
        async with open_broker(tls.url(server, proxy), queue) as broker:
            proxy.drop()
            outcomes = await asyncio.gather(
                *(publish(broker, b"x" * 1_000_000, timeout=0.5) for _ in range(20)), return_exceptions=True
            )
            assert {type(outcome) for outcome in outcomes} == {PublishError}
            with at_most(6):
                await broker.__aexit__(None, None, None)
        assert not connections_to(proxy.port)
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


# Consumers that share a connection


async def test_consumers_that_leave_under_load_do_not_disturb_the_others(
    broker: Broker, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Frames wait for each other then, as they do in a process that is slow.
    monkeypatch.setattr(aiormq.Connection, "FRAME_BUFFER_SIZE", 1)

    async def consume_and_leave() -> None:
        async with broker.consume(500) as leaver:
            deliveries = await take(leaver, 20)  # while more are arriving
            ending = [asyncio.create_task(delivery.ack()) for delivery in deliveries]
            await asyncio.sleep(0)  # in which they begin
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


@pytest.mark.parametrize("frames", [1, 10])
async def test_acks_go_out_before_the_broker_closes(
    server: RabbitServer, queue: str, frames: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(aiormq.Connection, "FRAME_BUFFER_SIZE", frames)
    async with open_broker(server.url, queue) as broker, broker.consume(20) as consumer:
        await asyncio.gather(*(publish(broker) for _ in range(20)))
        deliveries = await take(consumer, 20)
        await asyncio.gather(*(delivery.ack() for delivery in deliveries))
    async with open_broker(server.url, queue) as broker, broker.consume(1) as consumer:
        await eventually(lambda: consumer.attached)
        assert await nothing_arrives(consumer)


async def test_what_is_buffered_is_not_taken_while_the_consumer_pauses(broker: Broker) -> None:
    async def all_are_delivered() -> bool:
        return await broker.ready_count() == 0

    for _ in range(3):
        await publish(broker)
    async with broker.consume(3) as consumer:
        await take_one(consumer)
        await eventually(all_are_delivered)
        pausing = asyncio.create_task(consumer.pause())
        await asyncio.sleep(0)  # in which it begins
        assert consumer.take() is None
        await pausing
        await consumer.resume()
        assert all(delivery.redelivered for delivery in await take(consumer, 2))


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
        # In any order: the third may come to the new connection before RabbitMQ misses the old one. What waited in
        # the consumer may be handed out before that notices: its acknowledgement does nothing.
        waited, expected = (b"2", False), {(b"1", True), (b"2", True), (b"3", False)}
        while expected:
            delivery = await take_one(consumer)
            await delivery.ack()
            came = delivery.body, delivery.redelivered
            assert came in {waited, *expected}
            expected.discard(came)
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
    assert 3 * (connection.HEARTBEAT + 1) + connection.HEARTBEAT / 2 < 40
    monkeypatch.setattr(connection, "HEARTBEAT", 1)
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
