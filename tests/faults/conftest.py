"""One RabbitMQ for all cases, a queue and a database for each."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from tests.conformance.server import RabbitServer
from tests.faults.cluster import Cluster


@pytest.fixture(scope="session")
def rabbit() -> Iterator[RabbitServer]:
    server = RabbitServer("4.3")
    server.start()
    try:
        server.wait_ready()
        yield server
    finally:
        server.remove()


@pytest.fixture
async def cluster(rabbit: RabbitServer, tmp_path: Path) -> AsyncIterator[Cluster]:
    async with Cluster.open(rabbit, tmp_path) as cluster:
        yield cluster
