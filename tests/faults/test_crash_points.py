"""A process is killed (SIGKILL) between two steps: no accepted task is lost, no outcome recorded twice."""

import aio_pika
import pytest
from tests.conformance.proxy import Proxy
from tests.conformance.server import PASSWORD, USER, free_port
from tests.faults.cluster import Cluster, until

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


@pytest.mark.parametrize(
    ("point", "first_ended", "second_ended"),
    [
        # The claim of the second task is within the transaction that records how the first one ended.
        ("before verbs.claim", ["worker_lost", "ok"], ["ok"]),
        ("after verbs.claim", ["worker_lost", "ok"], ["ok"]),
        ("after store.complete", ["ok"], ["worker_lost", "ok"]),
        ("after store.claim", ["ok"], ["worker_lost", "ok"]),
    ],
)
async def test_a_worker_killed_around_the_commit_of_an_outcome_and_the_next_claim_loses_neither(
    cluster: Cluster, point: str, first_ended: list[str], second_ended: list[str]
) -> None:
    await cluster.start_api()
    doomed = await cluster.start_worker(
        crash_at=point,
        crash_after=1 if "claim" in point else 0,
        consumers=1,
        reconcile_after=3600,
        give_back_after=60,
    )
    first = await cluster.must_submit("hold", data={"marks": str(cluster.folder)}, expect="held")
    await until((cluster.folder / f"{first}.1").exists, "the first task to run")
    second = await cluster.must_submit(data={"value": 7}, expect=7)
    await until_prefetched(cluster)
    (cluster.folder / "go").touch()
    assert await doomed.ended() == -9
    await cluster.start_worker(reconcile_after=3600)
    await cluster.keeps_the_promise()
    assert (cluster.outcomes(first), cluster.outcomes(second)) == (first_ended, second_ended)


async def until_prefetched(cluster: Cluster) -> None:
    """Wait until no message is ready: a consumer has them all."""
    async with await aio_pika.connect(cluster.server.url) as connection:
        channel = await connection.channel()

        async def empty() -> bool:
            queue = await channel.declare_queue(cluster.queue, passive=True)
            return queue.declaration_result.message_count == 0

        await until(empty, "the messages to be prefetched")


@pytest.mark.parametrize("point", ["before broker.publish", "after broker.publish"])
async def test_the_tasks_of_an_api_that_died_are_demoted_while_the_broker_is_away_too(
    cluster: Cluster, point: str
) -> None:
    async with Proxy(free_port(), cluster.server.port) as way:
        cluster.url = f"amqp://{USER}:{PASSWORD}@127.0.0.1:{way.port}/"
        await way.open()
        api = await cluster.start_api(crash_at=point)
        await cluster.echo(1)
        assert await api.ended() == -9
        [row] = cluster.rows("SELECT id, status, dispatch_id IS NOT NULL AS leased FROM task")
        assert (row["status"], row["leased"]) == ("queued", 1)
        await way.shut()
        await cluster.start_worker(reconcile_after=3600)
        await cluster.until_status(row["id"], "pending")
        cluster.accepted[row["id"]] = 0
        await way.open()
        await cluster.keeps_the_promise()
    assert cluster.outcomes(row["id"]) == ["ok"]
