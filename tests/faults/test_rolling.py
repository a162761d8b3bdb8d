"""Workers that know different actions, side by side: each task runs where its action is known, and only there."""

import asyncio
from typing import Any

import pytest
from tests.faults.cluster import Cluster, until

pytestmark = pytest.mark.docker

NEWER: dict[str, Any] = {"handlers": "tests.faults.actions,tests.faults.newer_actions"}
STOCK: dict[str, Any] = {"handlers": "handlers"}


async def greet(cluster: Cluster, count: int) -> list[str]:
    return [
        await cluster.must_submit("greet", expect=f"hello {n}", data={"name": str(n)}, max_attempts=1)
        for n in range(count)
    ]


async def test_a_rolling_deployment_of_a_new_action_loses_and_falsifies_nothing(cluster: Cluster) -> None:
    await cluster.start_api()
    old = [await cluster.start_worker() for _ in range(2)]
    ids = await greet(cluster, 20)
    loading = asyncio.create_task(cluster.echo(200, seconds=0.02))
    await until(lambda: set_aside(cluster) == 20, "all of the new action to be set aside")
    assert (await cluster.get(ids[0]))["waiting_for"] == "a worker with action 'greet'"
    await cluster.start_worker(**NEWER)
    assert await old[0].stop() == 0
    ids += await greet(cluster, 20)
    await cluster.start_worker(**NEWER)
    await old[1].kill()
    await loading
    await cluster.keeps_the_promise()
    assert [cluster.outcomes(id) for id in ids] == [["ok"]] * 40, "waiting for a worker is no attempt"


async def test_a_stock_worker_beside_one_of_ones_own_takes_none_of_its_tasks(cluster: Cluster) -> None:
    await cluster.start_api()
    own = await cluster.start_worker()
    await cluster.start_worker(**STOCK)
    await cluster.echo(40)
    await cluster.until_final()
    assert await own.stop() == 0
    await cluster.echo(20)
    await until(lambda: set_aside(cluster) == 20, "the stock worker to set them aside")
    await cluster.start_worker()
    await cluster.keeps_the_promise()
    assert len(cluster.accepted) == 60


def set_aside(cluster: Cluster) -> int:
    return len(cluster.rows("SELECT 1 FROM task WHERE unknown_since IS NOT NULL"))
