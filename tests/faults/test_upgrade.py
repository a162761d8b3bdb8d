"""Processes of the version before are alive while the migration runs: they hurt nothing, and nothing is lost."""

import asyncio
import contextlib
import io
import os
import subprocess
import sys
import tarfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.conformance.server import RabbitServer
from tests.faults.cluster import LEASE, RECORDER, ROOT, Cluster, until

pytestmark = pytest.mark.docker

#: The last commit whose schema is 3.
BEFORE = "277d0e4"


@pytest.fixture
def sources(tmp_path: Path) -> tuple[Path, ...]:
    """The folders of the version before."""
    archive = ["git", "-C", str(ROOT), "archive", BEFORE, "shared", "services"]
    archiving = subprocess.run(archive, capture_output=True, check=False)
    if archiving.returncode:
        reason = f"the version before is not in this copy's history: {archiving.stderr.decode().strip()}"
        pytest.skip(reason)
    folder = tmp_path / "before"
    with tarfile.open(fileobj=io.BytesIO(archiving.stdout)) as tar:
        tar.extractall(folder, filter="data")
    # It imports what is no dependency any more, and does not use it: these tests log text.
    formatter = folder / "shared" / "pythonjsonlogger" / "json.py"
    formatter.parent.mkdir()
    formatter.write_text("JsonFormatter = None\n")
    # It was installed by another name, and asks for its version.
    metadata = folder / "shared" / "taskqueue-0.1.0.dist-info" / "METADATA"
    metadata.parent.mkdir()
    metadata.write_text("Metadata-Version: 2.1\nName: taskqueue\nVersion: 0.1.0\n")
    return tuple(folder / name for name in ("shared", "services/api", "services/worker", "services/migrate"))


@pytest.fixture
def old_database(tmp_path: Path, sources: tuple[Path, ...]) -> None:
    """A database of the version before, where the cluster's is."""
    (tmp_path / "data").mkdir()
    env = {"TASKQUEUE_DATA_DIR": str(tmp_path / "data"), "PYTHONPATH": os.pathsep.join(map(str, sources))}
    subprocess.run(
        [sys.executable, "-m", "taskqueue_migrate"],
        env=os.environ | env | {"TASKQUEUE_LOG_FORMAT": "text"},
        check=True,
    )


@pytest.fixture
async def cluster(rabbit: RabbitServer, tmp_path: Path, old_database: None) -> AsyncIterator[Cluster]:
    async with Cluster.open(rabbit, tmp_path) as cluster:
        with contextlib.closing(cluster.connect()) as db:
            db.executescript(RECORDER.replace("ON task", "ON tasks"))
        yield cluster


def everything(cluster: Cluster) -> dict[str, list[dict[str, Any]]]:
    """All that the programs write, but for the workers' beats."""
    tables = ("task", "attempts", "events", "status_counts", "minute_counts", "minute_times", "created_ranges")
    return {table: cluster.rows(f"SELECT * FROM {table}") for table in (*tables, "recordings", "idempotency_keys")}


async def test_old_processes_that_outlive_the_migration_write_nothing_and_lose_nothing(
    cluster: Cluster, sources: tuple[Path, ...]
) -> None:
    old: dict[str, Any] = {"sources": sources, "reconcile_after": 3600}
    api = await cluster.start_api(**old)
    workers, held = [], []
    for consumers in (1, 3):  # each holds a task, as the first has no consumer left for the second task
        workers.append(await cluster.start_worker(consumers=consumers, **old))
        held.append(await cluster.must_submit("hold", data={"marks": str(cluster.folder)}, expect="held"))
        await until((cluster.folder / f"{held[-1]}.1").exists, "a task to run")
    later = await cluster.must_submit(data={"value": 1}, expect=1, delay=20)
    failing = await cluster.must_submit("come_back", data={"after": 15}, expect="came back")
    loading = asyncio.create_task(cluster.echo(400, concurrency=10, seconds=0.02))
    await until(lambda: cluster.rows("SELECT 1 FROM tasks WHERE failures = 1"), "an attempt to fail")
    await until(lambda: len(cluster.accepted) > 100, "some load")
    job = await cluster.start("taskqueue_migrate")
    assert await job.ended() == 0, job.log.read_text()
    with contextlib.closing(cluster.connect()) as db:
        db.executescript(RECORDER)
    await loading
    before = everything(cluster)
    assert {"pending", "running", "completed"} <= {row["status"] for row in before["task"]}

    (cluster.folder / "go").touch()  # so that old workers have outcomes that they can't record
    for worker in workers:
        await worker.says("an outcome waits for the store")
    for path in ("/tasks", f"/tasks/{later}"):
        async with cluster.http.get(path) as response:
            assert response.status == 503
    async with cluster.http.post("/tasks", json={"action": "echo"}) as response:
        assert (response.status, await response.json()) == (503, {"error": "failed to queue task"})
    assert await cluster.cancel(later) == 503
    await asyncio.sleep(2 * LEASE)  # in which each of their sweeps has run
    assert [process.handle.returncode for process in (api, *workers)] == [None] * 3
    assert everything(cluster) == before, "an old process wrote past the ledger"

    for process in (api, *workers):
        await process.kill()
    await cluster.start_api()
    await cluster.start_worker()
    await cluster.keeps_the_promise()
    assert [cluster.outcomes(id) for id in held] == [["worker_lost", "ok"]] * 2
    assert (cluster.outcomes(later), cluster.outcomes(failing)) == (["ok"], ["error", "ok"])
