"""The database's files are moved, replaced or deleted while everything runs: nothing is accepted that nobody will
find, and what was accepted is there afterwards."""

import asyncio
import contextlib
import signal
import time
from pathlib import Path

import aiohttp
import pytest
from tests.faults.cluster import Cluster, Process, until
from tests.faults.test_store_faults import hold, post, values

from taskqueue.store.engine.sqlite.connection import sqlite3
from taskqueue_migrate.backup import backup

pytestmark = pytest.mark.docker


async def is_told(cluster: Cluster, processes: list[Process], what: str) -> None:
    """Health tells it within a second, and each process logs it."""
    started = time.monotonic()
    async with cluster.http.get("/readyz") as response:
        ready = await response.json()
    assert time.monotonic() - started < 1
    assert (response.status, ready["status"]) == (503, "not ready")
    assert what in ready["error"]
    for process in processes:
        await process.says(f"nothing is read or written: {cluster.database.parent}/{what}")
        assert process.handle.returncode is None


async def test_a_database_that_is_moved_away_costs_503s_and_no_result_until_it_is_back(cluster: Cluster) -> None:
    processes = [await cluster.start_api(), await cluster.start_worker(), await cluster.start_worker()]
    await cluster.echo(50)
    held = await hold(cluster)
    for number in range(3):
        moved = cluster.database.with_name("moved.db")
        cluster.database.rename(moved)
        # From the very next one on.
        assert not any([await post(cluster, 1000 + 10 * number + value) for value in range(10)])
        await is_told(cluster, processes, "tasks.db is gone")
        (cluster.folder / "go").touch()
        await until(lambda: any(map(waits, processes)), "the outcome to wait")
        async with cluster.http.get("/tasks") as response:
            assert (response.status, await response.json()) == (503, {"error": "database unavailable"})
        moved.rename(cluster.database)
        await until(lambda number=number: post(cluster, 2000 + number), "a POST to be accepted")
    await cluster.keeps_the_promise()
    assert cluster.outcomes(held) == ["ok"]
    assert not cluster.attempts_with("worker_lost")
    assert not values(cluster) & set(range(1000, 1100)), "refused with 503, and stored"


def waits(process: Process) -> bool:
    return "an outcome waits for the store" in process.log.read_text()


async def test_a_backup_restored_while_all_runs_is_left_alone_until_they_are_started_anew(
    cluster: Cluster,
) -> None:
    processes = [await cluster.start_api(), await cluster.start_worker()]
    await cluster.echo(50)
    kept = dict(cluster.accepted)
    restored = cluster.database.with_name("restored.db")
    backup(cluster.database, restored)
    await cluster.echo(20)
    for name in ("tasks.db-wal", "tasks.db-shm"):
        cluster.database.with_name(name).unlink()
    restored.rename(cluster.database)
    assert not any([await post(cluster, 1000 + value) for value in range(10)])
    await is_told(cluster, processes, "tasks.db was replaced")
    # One after the other: the ends of the old ones must not take the new one's log away.
    cluster.accepted = kept
    await processes[0].stop()
    job = await cluster.start("taskqueue_migrate")
    assert await job.ended() == 0, job.log.read_text()
    api = await cluster.start_api()
    await cluster.echo(20)
    assert await processes[1].stop() == 0
    assert cluster.database.with_name("tasks.db-wal").exists()
    await cluster.echo(20)
    await cluster.start_worker()
    await cluster.keeps_the_promise()
    assert "nothing is read" not in api.log.read_text()


@pytest.mark.parametrize("names", [["-wal"], ["-shm"], ["-wal", "-shm"]], ids=["log", "index", "both"])
async def test_of_a_log_that_is_deleted_nothing_is_lost_whose_processes_are_killed(
    cluster: Cluster, names: list[str]
) -> None:
    processes = [await cluster.start_api(), await cluster.start_worker()]
    held = await hold(cluster)
    await cluster.echo(20)
    for name in names:
        cluster.database.with_name(f"tasks.db{name}").unlink()
    assert not any([await post(cluster, 1000 + value) for value in range(10)])
    await is_told(cluster, processes, f"tasks.db{names[0]} is gone")
    if "-wal" in names:
        await until(
            lambda: set(cluster.accepted) <= ids_in_the_file_itself(cluster.database), "the log to be copied"
        )
    for process in processes:
        await process.kill()
    (cluster.folder / "go").touch()
    await cluster.start_api()
    await cluster.start_worker()
    await cluster.echo(20)
    await cluster.keeps_the_promise()
    assert not values(cluster) & set(range(1000, 1100)), "refused with 503, and stored"
    assert cluster.outcomes(held)[-1] == "ok"


def ids_in_the_file_itself(database: Path) -> set[str]:
    """The tasks in the file, without its log."""
    with contextlib.closing(sqlite3.connect(f"file:{database}?immutable=1", uri=True)) as db:
        return {id for (id,) in db.execute("SELECT id FROM task")}


async def send(cluster: Cluster) -> None:
    async with cluster.http.post("/tasks", json={"action": "echo", "data": {"value": 7}}):
        pass


async def test_a_post_whose_commit_went_into_a_file_that_was_moved_meanwhile_gets_no_answer(
    cluster: Cluster,
) -> None:
    api = await cluster.start_api(crash_at="after verbs.submit", crash_by=signal.SIGSTOP)
    posting = asyncio.create_task(send(cluster))
    await api.stopped()
    moved = cluster.database.with_name("moved.db")
    cluster.database.rename(moved)
    api.send(signal.SIGCONT)
    with pytest.raises(aiohttp.ServerDisconnectedError):
        await posting
    moved.rename(cluster.database)
    [row] = cluster.rows("SELECT id FROM task")
    cluster.accepted[row["id"]] = 7
    await cluster.start_worker()
    await cluster.keeps_the_promise()
