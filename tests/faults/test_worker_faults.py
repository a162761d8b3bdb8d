"""Workers die, stop, hang and come and go: every accepted task ends once, and as it should."""

import asyncio
import contextlib
import signal
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.faults.cluster import LEASE, Cluster, Process, until

pytestmark = pytest.mark.docker


async def hold(cluster: Cluster, **body: object) -> str:
    """POST a task that runs until `let_go`."""
    return await cluster.must_submit("hold", data={"marks": str(cluster.folder)}, expect="held", **body)


def let_go(cluster: Cluster) -> None:
    (cluster.folder / "go").touch()


async def until_marked(cluster: Cluster, id: str, mark: str = "1") -> None:
    """Wait until a handler has left a mark: the number of its attempt, when it begins."""
    await until((cluster.folder / f"{id}.{mark}").exists, f"the handler's mark {mark}")


@contextlib.asynccontextmanager
async def supervised_worker(cluster: Cluster) -> AsyncIterator[list[int]]:
    """A worker that is started again whenever it ends, as compose does. Yields its exit codes so far."""
    codes: list[int] = []

    async def supervise() -> None:
        while True:
            worker = await cluster.start("taskqueue_worker")
            codes.append(await worker.handle.wait())

    supervising = asyncio.create_task(supervise())
    try:
        yield codes
    finally:
        supervising.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await supervising


async def stop_all(workers: list[Process]) -> list[int]:
    return await asyncio.gather(*(worker.stop() for worker in workers))


# Marks, retries and cancels


async def test_a_mark_that_arrives_after_the_task_has_failed_into_its_backoff_does_not_strand_it(
    cluster: Cluster,
) -> None:
    # Without reconciliation: a task that is marked `queued` and has no message would stay so. Nor is anybody to be
    # taken for lost meanwhile.
    patient = {"reconcile_after": 3600, "lease": 60}
    await cluster.start_api()
    marking = await cluster.start_worker(
        consumers=1, crash_at="before store.mark_queued", crash_by=signal.SIGSTOP, **patient
    )
    held = await hold(cluster)  # so that it takes no other task
    await until_marked(cluster, held)
    data = {"after": 3}
    id = await cluster.must_submit("come_back", data=data, expect="came back", max_attempts=2, delay=1.5)
    await cluster.start_worker(relay_interval=60, **patient)
    await marking.stopped()
    await until(lambda: cluster.row(id)["failures"] == 1, "the first attempt to fail")
    marking.send(signal.SIGCONT)
    let_go(cluster)
    await cluster.keeps_the_promise(30)
    assert cluster.outcomes(id) == ["error", "ok"]


async def test_a_task_that_always_fails_is_tried_max_attempts_times_and_fails_once(cluster: Cluster) -> None:
    await cluster.start_api()
    await cluster.start_worker()
    ids = [await cluster.must_submit("fail", max_attempts=3) for _ in range(10)]
    await cluster.keeps_the_promise()
    for id in ids:
        task = await cluster.get(id)
        assert (task["status"], task["failures"]) == ("failed", 3)
        assert task["error"]["message"] == "on purpose"
        assert cluster.outcomes(id) == ["error"] * 3


async def test_a_cancel_asked_of_a_task_whose_worker_then_dies_ends_it_cancelled_once(cluster: Cluster) -> None:
    await cluster.start_api()
    doomed = await cluster.start_worker()
    id = await cluster.must_submit("hold", data={"marks": str(cluster.folder)})
    await until_marked(cluster, id)
    doomed.send(signal.SIGSTOP)  # so that it doesn't hear of the cancel
    await doomed.stopped()
    assert await cluster.cancel(id) == 202
    await doomed.kill()
    await cluster.start_worker()
    await cluster.keeps_the_promise()
    assert cluster.row(id)["status"] == "cancelled"
    assert cluster.outcomes(id) == ["cancelled"]
    assert await cluster.cancel(id) == 409


async def test_a_running_async_handler_that_is_cancelled_cleans_up_within_a_heartbeat(cluster: Cluster) -> None:
    await cluster.start_api()
    await cluster.start_worker()
    id = await cluster.must_submit("tidy", data={"marks": str(cluster.folder)})
    await until_marked(cluster, id)
    asked_at = time.time()
    assert await cluster.cancel(id) == 202
    await cluster.keeps_the_promise()
    assert (cluster.folder / f"{id}.tidied").exists()
    task = await cluster.get(id)
    assert task["status"] == "cancelled"
    assert task["processed_at"] - asked_at < LEASE  # five heartbeats: the machine may be slow
    assert cluster.outcomes(id) == ["cancelled"]
    assert await cluster.cancel(id) == 409


async def test_a_running_thread_that_is_cancelled_sees_the_flag_within_a_heartbeat(cluster: Cluster) -> None:
    await cluster.start_api()
    await cluster.start_worker()
    id = await cluster.must_submit("heed", data={"marks": str(cluster.folder)})
    await until_marked(cluster, id)
    asked_at = time.time()
    assert await cluster.cancel(id) == 202
    await cluster.keeps_the_promise()
    assert (cluster.folder / f"{id}.heeded").exists()
    task = await cluster.get(id)
    assert task["status"] == "cancelled"
    assert task["processed_at"] - asked_at < LEASE
    assert cluster.outcomes(id) == ["cancelled"]


async def test_a_completed_and_a_failed_task_can_not_be_cancelled(cluster: Cluster) -> None:
    await cluster.start_api()
    await cluster.start_worker()
    completed = await cluster.must_submit(data={"value": 7}, expect=7)
    failed = await cluster.must_submit("fail", max_attempts=1)
    await cluster.until_final()
    assert [await cluster.cancel(id) for id in (completed, failed)] == [409, 409]
    await cluster.keeps_the_promise()
    assert cluster.row(failed)["status"] == "failed"


# Workers that hold what others could have


async def test_tasks_prefetched_behind_a_long_one_complete_on_an_idle_worker_meanwhile(cluster: Cluster) -> None:
    await cluster.start_api()
    # Without reconciliation, which would bring the others a second message.
    await cluster.start_worker(consumers=1, give_back_after=2, reconcile_after=3600)
    long = await hold(cluster)
    await until_marked(cluster, long)
    await cluster.echo(5, concurrency=1)
    await cluster.start_worker(reconcile_after=3600)
    others = f"SELECT 1 FROM task WHERE id <> '{long}' AND status = 'completed'"
    await until(lambda: len(cluster.rows(others)) == 5, "the others to complete")
    assert cluster.row(long)["status"] == "running"
    let_go(cluster)
    await cluster.keeps_the_promise()


async def test_the_late_result_of_a_worker_that_was_stopped_beyond_its_lease_is_refused(cluster: Cluster) -> None:
    await cluster.start_api()
    stopped = await cluster.start_worker(consumers=1)
    id = await hold(cluster)
    await until_marked(cluster, id)
    await cluster.echo(5)  # prefetched behind it
    stopped.send(signal.SIGSTOP)
    heir = await cluster.start_worker()
    await until_marked(cluster, id, "2")
    stopped.send(signal.SIGCONT)
    let_go(cluster)
    await stopped.says("outcome refused")
    await cluster.until_final()
    assert cluster.outcomes(id) == ["worker_lost", "ok"]
    assert await heir.stop() == 0
    await cluster.echo(20)  # by the one that had been stopped: nobody else is there
    await cluster.keeps_the_promise()


async def test_a_worker_that_gets_its_own_task_again_after_it_was_taken_for_lost_completes_it_once(
    cluster: Cluster,
) -> None:
    await cluster.start_api()
    stopped = await cluster.start_worker(consumers=2)
    id = await hold(cluster)
    await until_marked(cluster, id)
    stopped.send(signal.SIGSTOP)
    heir = await cluster.start_worker(drain_timeout=0.5)
    await until_marked(cluster, id, "2")
    stopped.send(signal.SIGCONT)
    assert await heir.stop() == 0
    await until_marked(cluster, id, "3")  # beside the first attempt, in the same process
    let_go(cluster)
    await stopped.says("outcome refused")
    await cluster.until_final()
    assert cluster.outcomes(id) == ["worker_lost", "shutdown", "ok"]
    await cluster.echo(20)
    await cluster.keeps_the_promise()
    assert await stopped.stop() == 0


# Workers that are told to stop


async def test_a_worker_told_to_stop_in_a_task_longer_than_its_drain_gives_it_back_at_no_cost(
    cluster: Cluster,
) -> None:
    await cluster.start_api()
    worker = await cluster.start_worker(drain_timeout=1)
    id = await hold(cluster)
    await until_marked(cluster, id)
    assert await worker.stop() == 0
    task = await cluster.get(id)
    assert (task["status"], task["failures"]) == ("pending", 0)
    let_go(cluster)
    await cluster.start_worker()
    await cluster.keeps_the_promise()
    assert cluster.outcomes(id) == ["shutdown", "ok"]
    assert cluster.row(id)["failures"] == 0


async def test_a_worker_told_to_stop_finishes_a_short_task_and_gives_back_the_rest(cluster: Cluster) -> None:
    await cluster.start_api()
    worker = await cluster.start_worker(consumers=1, drain_timeout=30)
    id = await hold(cluster)
    await until_marked(cluster, id)
    await cluster.echo(5)
    worker.send(signal.SIGTERM)
    await worker.says("stopping")
    let_go(cluster)
    assert await worker.ended() == 0
    assert cluster.outcomes(id) == ["ok"]
    left = cluster.rows("SELECT DISTINCT status, attempt FROM task WHERE action = 'echo'")
    assert left == [{"status": "queued", "attempt": 0}]
    await cluster.start_worker(reconcile_after=3600)
    await cluster.keeps_the_promise()


@pytest.mark.parametrize("action", ["hang_first", "ignore_first", "hang_in_a_thread_first"])
async def test_a_handler_that_hangs_delays_neither_the_stop_nor_the_task(cluster: Cluster, action: str) -> None:
    await cluster.start_api()
    worker = await cluster.start_worker(drain_timeout=1)
    id = await cluster.must_submit(action, expect="did not hang")
    await cluster.until_status(id, "running")
    started = time.monotonic()
    assert await worker.stop() == 0
    assert time.monotonic() - started < 20
    await cluster.start_worker()
    await cluster.keeps_the_promise()
    assert cluster.outcomes(id) == ["shutdown", "ok"]
    assert cluster.row(id)["failures"] == 0


# Handlers that harm their worker


@pytest.mark.parametrize(
    ("action", "data", "code"), [("die", {}, 3), ("die_of_its_data", {"value": 1}, 4)], ids=["at work", "unread"]
)
async def test_a_task_that_kills_its_worker_fails_after_its_attempts_and_its_neighbours_complete(
    cluster: Cluster, action: str, data: dict[str, Any], code: int
) -> None:
    await cluster.start_api()
    async with supervised_worker(cluster) as codes:
        await cluster.echo(4, seconds=0.5)
        id = await cluster.must_submit(action, data=data, max_attempts=2)
        await cluster.echo(10, seconds=0.2)
        await cluster.keeps_the_promise()
    assert codes == [code, code]
    task = await cluster.get(id)
    assert (task["status"], task["error"]["type"]) == ("failed", "WorkerLost")
    assert cluster.outcomes(id) == ["worker_lost", "worker_lost"]


async def test_a_handler_that_blocks_the_loop_longer_than_a_lease_is_not_run_elsewhere(cluster: Cluster) -> None:
    await cluster.start_api()
    await cluster.start_worker()
    id = await cluster.must_submit("block", data={"seconds": 3 * LEASE}, expect="blocked", timeout=60)
    await cluster.until_status(id, "running")
    await cluster.start_worker()
    await cluster.echo(10)
    await cluster.keeps_the_promise()
    assert cluster.outcomes(id) == ["ok"]
    assert not cluster.attempts_with("worker_lost")


async def test_a_handler_that_blocks_the_loop_beyond_its_timeout_ends_its_worker_and_fails(
    cluster: Cluster,
) -> None:
    await cluster.start_api()
    worker = await cluster.start_worker()
    id = await cluster.must_submit("block", data={"seconds": 60}, timeout=1, max_attempts=1)
    await cluster.until_status(id, "running")
    await cluster.start_worker()
    await cluster.echo(10)
    assert await worker.ended() == 70
    await cluster.keeps_the_promise()
    task = await cluster.get(id)
    assert (task["status"], task["error"]["type"]) == ("failed", "WorkerLost")
    assert cluster.outcomes(id) == ["worker_lost"]


async def test_a_worker_whose_slots_are_all_lost_to_hung_threads_ends_and_others_complete_the_tasks(
    cluster: Cluster,
) -> None:
    await cluster.start_api()
    worker = await cluster.start_worker(consumers=2)
    ids = [await cluster.must_submit("hang_first", timeout=0.5, expect="did not hang") for _ in range(2)]
    await cluster.echo(10)
    started = time.monotonic()
    assert await worker.ended() == 1
    assert time.monotonic() - started < 20  # the threads hang far longer
    assert [cluster.outcomes(id)[0] for id in ids] == ["timeout", "timeout"]
    await cluster.start_worker()
    await cluster.keeps_the_promise()
    assert [cluster.outcomes(id) for id in ids] == [["timeout", "ok"]] * 2


# Scaling


@pytest.mark.parametrize("how", ["SIGTERM", "SIGKILL"])
async def test_scaling_from_one_worker_to_six_and_back_under_load_loses_nothing(
    cluster: Cluster, how: str
) -> None:
    await cluster.start_api()
    workers = [await cluster.start_worker()]
    loading = asyncio.create_task(cluster.echo(400, concurrency=10, seconds=0.02))
    workers += await asyncio.gather(*(cluster.start_worker() for _ in range(5)))
    more = asyncio.create_task(cluster.echo(200, concurrency=5, seconds=0.05))
    gone = workers[1:]
    if how == "SIGTERM":
        assert await stop_all(gone) == [0] * 5
    else:
        for worker in gone:
            await worker.kill()
    await asyncio.gather(loading, more)
    await cluster.keeps_the_promise()
    assert len(cluster.accepted) == 600
    failures = cluster.rows("SELECT 1 FROM task WHERE failures > 0")
    assert not failures or how == "SIGKILL", "a clean stop cost attempts"
