"""Two installations that are set to one queue, by mistake."""

import pytest
from tests.conformance.server import RabbitServer
from tests.faults.cluster import Cluster

pytestmark = pytest.mark.docker


async def test_a_second_installation_takes_no_message_of_the_first_ones_queue(
    cluster: Cluster, rabbit: RabbitServer, tmp_path_factory: pytest.TempPathFactory
) -> None:
    await cluster.start_api()
    async with Cluster.open(rabbit, tmp_path_factory.mktemp("second")) as second:
        second.queue = cluster.queue
        worker = await second.start("taskqueue_worker")
        await cluster.echo(20)
        assert await worker.ended() == 78, worker.log.read_text()
    await cluster.start_worker()
    await cluster.keeps_the_promise()
    assert not cluster.rows("SELECT 1 FROM task WHERE attempt > 1"), "each message was there for its own worker"
