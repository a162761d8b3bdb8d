"""Tasks start at their time, however many wait; a clock that is set back strands and doubles none."""

import asyncio
import uuid
from pathlib import Path
from statistics import median
from typing import Any

import pytest
from tests.faults.cluster import Cluster, Process, until

from taskqueue.message import Message, Priority, encode
from taskqueue.store import now_ms, open_store, verbs
from taskqueue.task import NewTask

pytestmark = pytest.mark.docker

WAITING = 10_000
#: Milliseconds after its time that a task usually starts at the latest: the relay looks once a second.
LATE = 1_500
HOUR, DAY = 3_600_000, 24 * 3_600_000


def new_task(run_at: int) -> NewTask:
    id = str(uuid.uuid4())
    payload = encode(Message(id, "echo", {"value": 1}, now_ms() / 1000))
    return NewTask(id, "echo", payload, now_ms(), run_at, Priority.NORMAL, 3, None)


async def lateness(cluster: Cluster, delay: float) -> int:
    """Run a task with this delay, and tell the milliseconds between its time and its start."""
    id = await cluster.must_submit(data={"value": 1}, expect=1, delay=delay)
    await cluster.until_status(id, "completed")
    task = cluster.row(id)
    return int(task["attempt_started"] - task["run_at"])


async def test_tasks_start_at_their_time_while_10_000_wait_whose_time_comes_after_a_restart(
    cluster: Cluster,
) -> None:
    waiting = [new_task(now_ms() + DAY) for _ in range(WAITING)]
    async with open_store(cluster.database, write_timeout=10) as store:
        await asyncio.gather(*(store.write(verbs.submit, task) for task in waiting))
    for _ in range(2):
        api, worker = await asyncio.gather(cluster.start_api(), cluster.start_worker(relay_interval=1))
        late = await asyncio.gather(*(lateness(cluster, 1 + number / 5) for number in range(7)))
        assert min(late) >= 0
        assert median(late) <= LATE
        assert (await worker.stop(), await api.stop()) == (0, 0)
    untouched = "SELECT count(*) AS n FROM task WHERE status = 'pending' AND dispatch_id IS NULL AND attempt = 0"
    assert cluster.rows(untouched) == [{"n": WAITING}]
    async with open_store(cluster.database, write_timeout=10) as store:
        await asyncio.gather(*(store.write(verbs.cancel, task.id) for task in waiting))
    await cluster.keeps_the_promise()


async def test_a_dispatch_lease_from_the_clocks_future_keeps_no_relay_away(cluster: Cluster) -> None:
    task = new_task(now_ms())
    async with open_store(cluster.database, write_timeout=10, clock=lambda: now_ms() + HOUR) as store:
        await store.write(verbs.submit, task, "never published", lease=2000)
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

    async def start(self, program: str, log: str, **settings: Any) -> Process:
        process = await self._cluster.start("tests.faults.shifted", str(self._file), program, **settings)
        await process.says(log)
        return process


async def hold(cluster: Cluster, folder: Path) -> str:
    """A task that runs until `folder/go` is made."""
    await asyncio.to_thread(folder.mkdir)
    id = await cluster.must_submit("hold", data={"marks": str(folder)}, expect="held")
    await until((folder / f"{id}.1").exists, f"{id} to run")
    return id


async def beat_on(cluster: Cluster, beats: int, *workers: Process) -> None:
    """Wait until each of the workers has beaten that often; there are five beats in a lease."""

    def beaten() -> list[int]:
        rows = {row["pid"]: row["beat"] for row in cluster.rows("SELECT pid, beat FROM workers")}
        return [rows[worker.handle.pid] for worker in workers]

    ends = [beat + beats for beat in beaten()]
    await until(lambda: all(now >= end for now, end in zip(beaten(), ends, strict=True)), f"{beats} more beats")


async def test_a_clock_that_is_set_back_hides_no_lost_worker_and_takes_none_for_lost(cluster: Cluster) -> None:
    clock = Clock(cluster)
    api = await clock.start("taskqueue_api", "serving")
    await cluster.until_ready(api)
    doomed = await clock.start("taskqueue_worker", "worker started", consumers=1)
    lost = await hold(cluster, cluster.folder / "lost")
    workers = await asyncio.gather(*(clock.start("taskqueue_worker", "worker started") for _ in range(2)))
    kept = await hold(cluster, cluster.folder / "kept")

    await doomed.kill()
    await beat_on(cluster, 3, *workers)  # so that they have seen its last beat
    await cluster.echo(40, seconds=0.1)
    clock.set(-3600)
    assert await lateness(cluster, 1) >= 0
    await beat_on(cluster, 15, *workers)
    for id, folder in ((lost, "lost"), (kept, "kept")):
        (cluster.folder / folder / "go").touch()
        await cluster.until_status(id, "completed")
    assert (cluster.outcomes(lost), cluster.outcomes(kept)) == (["worker_lost", "ok"], ["ok"])
    await cluster.keeps_the_promise()
