"""The brokers that the suite runs against."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from uuid import uuid4

import aio_pika
import pytest
from aio_pika.abc import AbstractChannel
from tests.conformance.proxy import Proxy
from tests.conformance.server import RabbitServer, free_port
from tests.conformance.waiting import PATIENCE, dead_letter, eventually, is_up

from taskqueue.broker import Broker, open_broker
from taskqueue.broker.memory import MemoryBroker

RABBITS = [pytest.param(version, marks=pytest.mark.docker) for version in ("4.3", "4.0")]


class Servers(dict[str, RabbitServer]):
    """RabbitMQ by version. All start together when the first is asked for: starting takes a while."""

    def __missing__(self, version: str) -> RabbitServer:
        for name in ("4.3", "4.0"):
            self[name] = RabbitServer(name)
            self[name].start()
        for server in self.values():
            server.wait_ready()
        return self[version]


@pytest.fixture(scope="session")
def servers() -> Iterator[Servers]:
    servers = Servers()
    yield servers
    for server in servers.values():
        server.remove()


@pytest.fixture
def queue() -> str:
    return f"test-{uuid4().hex[:12]}"


@pytest.fixture(params=RABBITS)
def server(request: pytest.FixtureRequest, servers: Servers) -> RabbitServer:
    return servers[request.param]


@pytest.fixture
async def admin(server: RabbitServer) -> AsyncIterator[AbstractChannel]:
    """A connection of the tests' own, to do things behind the broker's back."""
    connection = await aio_pika.connect(server.url)
    yield await connection.channel()
    await connection.close()


@dataclass
class Subject:
    """A broker under test, and what the protocol has no verb for."""

    broker: Broker
    #: RabbitMQ before 4.3 doesn't keep the order of priorities, nor of what is requeued.
    keeps_order: bool
    dead_letter: Callable[[], Awaitable[tuple[bytes, str]]]

    async def publish(self, body: bytes, priority: int = 4, message_id: str | None = None) -> None:
        id = message_id or uuid4().hex
        await self.broker.publish(body, message_id=id, priority=priority, timeout=PATIENCE)


@pytest.fixture(params=["memory", *RABBITS])
async def subject(request: pytest.FixtureRequest, queue: str) -> AsyncIterator[Subject]:
    if request.param == "memory":
        memory = MemoryBroker()

        async def memory_dead_letter() -> tuple[bytes, str]:
            letter = memory.dead.pop(0)
            return letter.body, letter.reason

        async with memory:
            yield Subject(memory, True, memory_dead_letter)
        return
    server: RabbitServer = request.getfixturevalue("servers")[request.param]

    async def rabbit_dead_letter() -> tuple[bytes, str]:
        return await dead_letter(server.url, queue)

    async with open_broker(server.url, queue) as broker:
        yield Subject(broker, request.param != "4.0", rabbit_dead_letter)


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
