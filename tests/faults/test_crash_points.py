"""A process is killed (SIGKILL) between two steps: no accepted task is lost, no outcome recorded twice."""

import pytest
from tests.faults.cluster import Cluster

pytestmark = pytest.mark.docker


@pytest.mark.parametrize(
    "point",
    [
        "after store.submit_all",  # between the commit and the publish
        "before broker.publish",
        "after broker.publish",  # between the confirm and the settling of its lease
        "before store.settle",
        "after store.settle",
    ],
)
async def test_an_api_killed_on_the_way_into_the_queue_loses_nothing(cluster: Cluster, point: str) -> None:
    await cluster.start_worker()
    api = await cluster.start_api(crash_at=point, crash_after=0 if "settle" in point else 5)
    await cluster.echo(50, concurrency=4)
    assert await api.ended() == -9
    assert len(cluster.rows("SELECT id FROM task")) > 5
    await cluster.keeps_the_promise()


@pytest.mark.parametrize(
    ("point", "attempts"),
    [
        ("before store.claim", ["ok"]),
        ("after store.claim", ["worker_lost", "ok"]),  # between the claim's commit and the ack
        ("before delivery.ack", ["worker_lost", "ok"]),
        ("after delivery.ack", ["worker_lost", "ok"]),
        ("before run.ending", ["worker_lost", "ok"]),
        ("before store.complete", ["worker_lost", "ok"]),
        ("after store.complete", ["ok"]),
    ],
)
async def test_a_worker_killed_at_any_point_of_a_task_has_it_completed_once(
    cluster: Cluster, point: str, attempts: list[str]
) -> None:
    await cluster.start_api()
    # Without reconciling: the message itself must come back.
    doomed = await cluster.start_worker(crash_at=point, consumers=1, reconcile_after=3600)
    id = await cluster.must_submit(data={"value": 7}, expect=7)
    assert await doomed.ended() == -9
    await cluster.echo(20, concurrency=4)
    await cluster.start_worker(reconcile_after=3600)
    await cluster.keeps_the_promise()
    assert cluster.outcomes(id) == attempts
