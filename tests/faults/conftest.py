"""A taskqueue for each case, with a queue and a database of its own."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.conformance.server import RabbitServer
from tests.faults.cluster import Cluster


@pytest.fixture
async def cluster(rabbit: RabbitServer, tmp_path: Path) -> AsyncIterator[Cluster]:
    async with Cluster.open(rabbit, tmp_path) as cluster:
        yield cluster
