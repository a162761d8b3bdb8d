"""Child processes die, and workers that have some at work: each task ends once, and no process is left behind."""

import os
import signal

import pytest
from tests.faults.cluster import Cluster, until
from tests.integration.programs import is_running

pytestmark = pytest.mark.docker

HANDLERS = "tests.faults.actions,tests.faults.process_actions"


async def process_of(cluster: Cluster, id: str, attempt: int) -> int:
    """Wait until a handler has begun; its process."""
    mark = cluster.folder / f"{id}.{attempt}"
    await until(mark.exists, f"attempt {attempt} to begin")
    return int(mark.read_text())


async def test_a_task_survives_the_death_of_its_process_and_that_of_its_worker(cluster: Cluster) -> None:
    await cluster.start_api()
    doomed = await cluster.start_worker(handlers=HANDLERS, processes=2)
    data = {"marks": str(cluster.folder)}
    id = await cluster.must_submit("hold_in_process", data=data, expect="held")
    first = await process_of(cluster, id, 1)
    for number in range(5):
        await cluster.must_submit("echo_in_process", data={"value": number}, expect=number)
    os.kill(first, signal.SIGKILL)
    second = await process_of(cluster, id, 2)
    assert second != first
    await doomed.kill()
    await until(lambda: not is_running(second), "the process to end with its worker")
    await cluster.start_worker(handlers=HANDLERS, processes=2)
    await process_of(cluster, id, 3)
    (cluster.folder / "go").touch()
    await cluster.keeps_the_promise()
    assert cluster.outcomes(id) == ["error", "worker_lost", "ok"]
    assert (await cluster.get(id))["failures"] == 2


async def test_a_worker_told_to_stop_ends_its_processes_and_gives_their_tasks_back_at_no_cost(
    cluster: Cluster,
) -> None:
    await cluster.start_api()
    worker = await cluster.start_worker(handlers=HANDLERS, processes=2, drain_timeout=0.5)
    ids = [
        await cluster.must_submit("hold_in_process", data={"marks": str(cluster.folder)}, expect="held")
        for _ in range(2)
    ]
    pids = [await process_of(cluster, id, 1) for id in ids]
    assert await worker.stop() == 0
    assert not any(map(is_running, pids))
    assert [(await cluster.get(id))["failures"] for id in ids] == [0, 0]
    (cluster.folder / "go").touch()
    await cluster.start_worker(handlers=HANDLERS, processes=2)
    await cluster.keeps_the_promise()
    assert [cluster.outcomes(id) for id in ids] == [["shutdown", "ok"]] * 2
