"""Tasks start at their time, however many wait; a clock that is set back strands and doubles none."""

import asyncio
import uuid
from pathlib import Path

import pytest
from tests.faults.cluster import Cluster, Process, until

from taskqueue.message import Message, Priority, encode
from taskqueue.store import TaskStore, now_ms
from taskqueue.task import NewTask

pytestmark = pytest.mark.docker

WAITING = 10_000
#: Milliseconds that a task may start after its time: the relay looks once a second.
LATE = 1_500
HOUR, DAY = 3_600_000, 24 * 3_600_000


def new_task(run_at: int) -> NewTask:
    id = str(uuid.uuid4())
    payload = encode(Message(id, "echo", {"value": 1}, now_ms() / 1000))
    return NewTask(id, "echo", payload, now_ms(), run_at, Priority.NORMAL, 3, None)


def assert_on_time(cluster: Cluster, id: str) -> None:
    query = "SELECT started_at - run_at AS late FROM attempts JOIN tasks ON seq = task_seq WHERE id = ?"
    [attempt] = cluster.rows(query, id)
    assert 0 <= attempt["late"] <= LATE


async def run_some_later(cluster: Cluster) -> None:
    ids = [await cluster.must_submit(data={"value": n}, expect=n, delay=1 + n / 5) for n in range(6)]
    await asyncio.gather(*(cluster.until_status(id, "completed") for id in ids))
    for id in ids:
        assert_on_time(cluster, id)


async def test_tasks_start_at_their_time_while_10_000_wait_whose_time_comes_after_a_restart(
    cluster: Cluster,
) -> None:
    waiting = [new_task(now_ms() + DAY) for _ in range(WAITING)]
    async with TaskStore.open(cluster.database, write_timeout=10) as store:
        await asyncio.gather(*(store.submit(task) for task in waiting))
    for _ in range(2):
        api, worker = await asyncio.gather(cluster.start_api(), cluster.start_worker(relay_interval=1))
        await run_some_later(cluster)
        assert (await worker.stop(), await api.stop()) == (0, 0)
    untouched = "SELECT count(*) AS n FROM tasks WHERE status = 'pending' AND dispatch_id IS NULL AND attempt = 0"
    assert cluster.rows(untouched) == [{"n": WAITING}]
    async with TaskStore.open(cluster.database, write_timeout=10) as store:
        await asyncio.gather(*(store.cancel(task.id) for task in waiting))
    await cluster.keeps_the_promise()


async def test_a_dispatch_lease_from_the_clocks_future_keeps_no_relay_away(cluster: Cluster) -> None:
    task = new_task(now_ms())
    async with TaskStore.open(cluster.database, write_timeout=10, clock=lambda: now_ms() + HOUR) as store:
        await store.submit(task, dispatch_id="never published", lease=2)
    cluster.accepted[task.id] = 1
    await cluster.start_worker()
    await cluster.keeps_the_promise()


class Clock:
    """The wall clock of the processes that are started with it."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._file = cluster.folder / "clock"
        self.set(0)

    def set(self, offset: float) -> None:
        new = self._file.with_suffix(".new")
        new.write_text(str(offset))
        new.rename(self._file)

    async def start(self, program: str, log: str) -> Process:
        process = await self._cluster.start("tests.faults.shifted", str(self._file), program)
        await process.says(log)
        return process


def beats(cluster: Cluster) -> int:
    """The beat of the worker that has beaten least."""
    return int(cluster.rows("SELECT min(beat) AS beat FROM workers")[0]["beat"])


async def hold(cluster: Cluster, folder: Path) -> str:
    """A task that runs until `folder/go` is made."""
    await asyncio.to_thread(folder.mkdir)
    id = await cluster.must_submit("hold", data={"marks": str(folder)}, expect="held")
    await until((folder / f"{id}.1").exists, f"{id} to run")
    return id


async def test_a_clock_that_is_set_back_takes_no_worker_for_lost_and_no_lost_one_for_alive(
    cluster: Cluster,
) -> None:
    clock = Clock(cluster)
    api = await clock.start("taskqueue_api", "serving")
    workers = await asyncio.gather(*(clock.start("taskqueue_worker", "worker started") for _ in range(2)))
    await cluster.until_ready(api)
    kept, lost = await hold(cluster, cluster.folder / "kept"), await hold(cluster, cluster.folder / "lost")
    clock.set(-3600)
    await cluster.echo(40, seconds=0.1)
    before = beats(cluster)
    later = await cluster.must_submit(data={"value": 1}, expect=1, delay=1)
    await cluster.until_status(later, "completed")
    assert_on_time(cluster, later)

    await until(lambda: beats(cluster) > before + 15, "three leases to pass")
    (cluster.folder / "kept" / "go").touch()
    await cluster.until_status(kept, "completed")
    assert cluster.outcomes(kept) == ["ok"]

    [holder] = cluster.rows(
        "SELECT pid FROM workers JOIN tasks ON worker_id = workers.id WHERE tasks.id = ?", lost
    )
    [doomed] = [worker for worker in workers if worker.handle.pid == holder["pid"]]
    await doomed.kill()
    await cluster.until_status(lost, "pending", "queued", "running")
    (cluster.folder / "lost" / "go").touch()
    await cluster.keeps_the_promise()
    assert cluster.outcomes(lost) == ["worker_lost", "ok"]
