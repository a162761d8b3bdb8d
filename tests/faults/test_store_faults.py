"""The database is locked, full, read for long, damaged or restored: no result is lost, nothing stored in part."""

import asyncio
import contextlib
import json
import os
import shutil
import signal
import struct
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tests.conformance.server import RabbitServer
from tests.faults.cluster import LEASE, SETTINGS, Cluster, until

from taskqueue.store.engine.sqlite.connection import connect

pytestmark = pytest.mark.docker

#: Seconds within which a POST is answered, whatever holds the write lock.
PROMPT = float(SETTINGS["WRITE_TIMEOUT"]) + 1  # type: ignore[arg-type]  # a table of settings of any type
MIB = 1024 * 1024


async def hold(cluster: Cluster, **body: Any) -> str:
    """POST a task that runs until the file `go` is made, and wait until it runs."""
    id = await cluster.must_submit("hold", data={"marks": str(cluster.folder)}, expect="held", **body)
    await until((cluster.folder / f"{id}.1").exists, "the task to run")
    return id


async def post(cluster: Cluster, value: int, **data: Any) -> bool:
    """POST an echo task, and tell whether it was accepted: it must be, or be answered 503, in time."""
    started = time.monotonic()
    body = {"action": "echo", "data": {"value": value, **data}}
    async with cluster.http.post("/tasks", json=body) as response:
        answer = await response.json()
        retry_after = response.headers.get("Retry-After")
    assert time.monotonic() - started <= PROMPT
    if response.status == 202:
        cluster.accepted[answer["id"]] = value
        return True
    assert (response.status, answer, bool(retry_after)) == (503, {"error": "failed to queue task"}, True)
    return False


def values(cluster: Cluster) -> set[int]:
    """The values of all echo tasks that are stored."""
    rows = cluster.rows("SELECT payload FROM task WHERE action = 'echo'")
    return {json.loads(row["payload"])["data"]["value"] for row in rows}


def beats(cluster: Cluster) -> dict[str, int]:
    return {row["id"]: row["beat"] for row in cluster.rows("SELECT id, beat FROM workers")}


def have_all_beaten(cluster: Cluster, before: dict[str, int]) -> bool:
    return all(beat > before.get(worker, -1) for worker, beat in beats(cluster).items())


# Locks


async def test_a_write_lock_held_for_30_s_costs_503s_and_no_result_and_no_worker(cluster: Cluster) -> None:
    await cluster.start_api()
    workers = [await cluster.start_worker() for _ in range(2)]
    # Its result waits far longer for the store than it may run.
    held = await hold(cluster, timeout=4)
    await cluster.echo(100)
    refused: list[int] = []
    over = asyncio.Event()

    async def client(value: int) -> None:
        while not over.is_set():
            value += 1
            if not await post(cluster, value):
                refused.append(value)

    async with asyncio.TaskGroup() as clients:
        with contextlib.closing(cluster.connect()) as intruder:
            intruder.execute("BEGIN IMMEDIATE")
            (cluster.folder / "go").touch()
            for number in range(10):
                clients.create_task(client(1_000_000 * (number + 1)))
            ends = time.monotonic() + 30
            while time.monotonic() < ends:
                assert (await cluster.get(held))["status"] == "running"
                await asyncio.sleep(1)
            intruder.execute("ROLLBACK")
        for worker in workers:
            assert worker.handle.returncode is None, worker.log.read_text()
            assert "heartbeat not written" in worker.log.read_text()
        recovered = len(cluster.accepted)
        await until(lambda: len(cluster.accepted) > recovered + 20, "POSTs to be accepted again")
        over.set()
    await cluster.keeps_the_promise()
    assert len(refused) > 50
    assert not values(cluster) & set(refused), "refused with 503, and stored"
    assert cluster.outcomes(held) == ["ok"]
    assert not cluster.attempts_with("worker_lost")


async def test_workers_that_can_not_beat_for_a_lease_do_not_take_each_other_for_lost(cluster: Cluster) -> None:
    """Once the lock is free a rescue and the other's beat would race: several times, since either may win."""
    await cluster.start_api()
    workers = await asyncio.gather(*(cluster.start_worker(consumers=1) for _ in range(3)))
    held = [await hold(cluster) for _ in workers]
    with contextlib.closing(cluster.connect()) as intruder:
        for _ in range(4):
            intruder.execute("BEGIN IMMEDIATE")
            before = beats(cluster)
            await asyncio.sleep(1.5 * LEASE)
            assert beats(cluster) == before
            intruder.execute("ROLLBACK")
            await until(partial(have_all_beaten, cluster, before), "all to beat again")
    (cluster.folder / "go").touch()
    await cluster.keeps_the_promise()
    assert [cluster.outcomes(id) for id in held] == [["ok"]] * 3


@pytest.mark.parametrize("then", ["continued", "killed"])
async def test_a_process_stopped_inside_a_write_transaction_costs_503s_until_it_is_gone(
    cluster: Cluster, then: str
) -> None:
    await cluster.start_api()
    holder = await cluster.start_worker(consumers=1, crash_at="after verbs.claim", crash_by=signal.SIGSTOP)
    id = await cluster.must_submit(data={"value": 7}, expect=7)
    await holder.stopped()
    assert not any(await asyncio.gather(*(post(cluster, 1000 + number) for number in range(20))))
    assert (await cluster.get(id))["attempt"] == 0
    if then == "continued":
        holder.send(signal.SIGCONT)
    else:
        await holder.kill()
    await until(lambda: post(cluster, 2000), "a POST to be accepted")
    await cluster.start_worker()
    await cluster.echo(20)
    await cluster.keeps_the_promise()
    assert not values(cluster) & set(range(1000, 1020)), "refused with 503, and stored"
    assert cluster.outcomes(id) == ["ok"]


async def test_an_api_killed_inside_the_transaction_of_a_post_stores_nothing_of_that_one(cluster: Cluster) -> None:
    await cluster.start_worker()
    api = await cluster.start_api(crash_at="after verbs.submit", crash_after=5)
    await cluster.echo(6, concurrency=1)
    assert await api.ended() == -signal.SIGKILL
    assert len(cluster.accepted) == 5
    assert values(cluster) == {0, 1, 2, 3, 4}
    await cluster.keeps_the_promise()


@pytest.mark.parametrize("point", ["before verbs.complete", "after verbs.complete"])
async def test_a_worker_killed_inside_the_transaction_of_a_completion_has_the_task_completed_once(
    cluster: Cluster, point: str
) -> None:
    await cluster.start_api()
    doomed = await cluster.start_worker(consumers=1, crash_at=point)
    id = await cluster.must_submit(data={"value": 7}, expect=7)
    assert await doomed.ended() == -signal.SIGKILL
    await cluster.start_worker()
    await cluster.keeps_the_promise()
    assert cluster.outcomes(id) == ["worker_lost", "ok"]


# The volume


@pytest.fixture
def small_volume(tmp_path: Path) -> Iterator[Path]:
    """The data folder as a volume of its own, of 8 MiB."""
    folder = tmp_path / "data"
    folder.mkdir()
    mounting = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    if mounting.returncode:
        reason = f"a small volume can't be mounted: {mounting.stderr.strip()}"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.fixture
async def cluster_on_small_volume(
    rabbit: RabbitServer, small_volume: Path, tmp_path: Path
) -> AsyncIterator[Cluster]:
    async with Cluster.open(rabbit, tmp_path) as cluster:
        yield cluster


def fill(folder: Path) -> Path:
    """Leave no room in a folder's volume."""
    ballast = folder / "ballast"
    with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        for size in (64 * 1024, 1024, 1):
            with contextlib.suppress(OSError):
                while file.write(bytes(size)):
                    pass
    assert shutil.disk_usage(folder).free == 0
    return ballast


async def test_a_full_volume_costs_503s_and_workers_keep_their_results_until_there_is_room(
    cluster_on_small_volume: Cluster, small_volume: Path
) -> None:
    cluster = cluster_on_small_volume
    await cluster.start_api()
    worker = await cluster.start_worker()
    other = await cluster.start_worker()
    await cluster.echo(20)
    await cluster.until_final()
    held = await hold(cluster)
    ballast = fill(small_volume)
    await worker.says("heartbeat not written")
    (cluster.folder / "go").touch()
    full_until = time.monotonic() + 2 * LEASE
    refused: list[int] = []
    while time.monotonic() < full_until:
        refused += [len(refused) + number for number in range(1000, 1010)]
        posts = (post(cluster, value, seconds=0) for value in refused[-10:])
        assert not any(await asyncio.gather(*posts))
        assert (await cluster.get(held))["status"] == "running"
        async with cluster.http.get("/tasks") as response:
            assert (await response.json())["count"] == 21
    assert len(cluster.rows("SELECT 1 FROM task")) == 21
    ballast.unlink()
    await until(lambda: post(cluster, 2000), "a POST to be accepted")
    await cluster.keeps_the_promise()
    assert values(cluster) == {*range(20), 2000}
    assert cluster.outcomes(held) == ["ok"]
    assert not cluster.attempts_with("worker_lost")
    assert "an outcome waits for the store" in worker.log.read_text() + other.log.read_text()


# The write-ahead log


class WriteAheadLog:
    """The write-ahead log of a cluster's database, looked at from outside: SQLite would tidy up when asked."""

    def __init__(self, cluster: Cluster) -> None:
        self._log = cluster.database.with_name("tasks.db-wal")
        self._index = cluster.database.with_name("tasks.db-shm")
        self.largest = 0

    @property
    def size(self) -> int:
        return self._log.stat().st_size

    @property
    def frames(self) -> int:
        """How many pages of it are in use (https://sqlite.org/walformat.html#the_wal_index_header)."""
        with self._index.open("rb") as file:
            return int(struct.unpack("=I", file.read(20)[16:])[0])

    @contextlib.asynccontextmanager
    async def watched(self) -> AsyncIterator[None]:
        """Take note of the largest size meanwhile."""

        async def watch() -> None:
            while True:
                self.largest = max(self.largest, self.size)
                await asyncio.sleep(0.05)

        self.largest = 0
        watching = asyncio.create_task(watch())
        try:
            yield
        finally:
            watching.cancel()


async def test_the_write_ahead_log_stays_small_and_is_cut_back_after_a_long_reader(cluster: Cluster) -> None:
    await cluster.start_api()
    await cluster.start_worker()
    await cluster.start_worker()
    log = WriteAheadLog(cluster)
    async with log.watched():
        await cluster.echo(2_500, concurrency=50)
        await cluster.until_final()
    assert log.largest < 16 * MIB  # each process copies it after some dozens of commits of its own
    with contextlib.closing(cluster.connect()) as reader:
        reader.execute("BEGIN")
        assert reader.execute("SELECT count(*) FROM task").fetchone()[0] == 2_500
        while log.size <= 64 * MIB or len(cluster.accepted) < 5_000:
            assert len(cluster.accepted) < 15_000, "the reader was not in the way"
            await cluster.echo(500, concurrency=50)
        await cluster.until_final()
        assert reader.execute("SELECT count(*) FROM task").fetchone()[0] == 2_500
    await cluster.echo(100)
    await until(lambda: log.frames * 4096 < 16 * MIB, "the log to be begun anew")
    assert log.size <= 64 * MIB
    await cluster.keeps_the_promise()


# Damage and backups


@pytest.mark.parametrize("damage", ["header", "pages", "truncated"])
async def test_a_damaged_database_is_refused_at_the_start(cluster: Cluster, damage: str) -> None:
    with contextlib.closing(cluster.connect()) as db:
        db.execute(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2000) "
            "INSERT INTO task (id, action, payload, status, created_at, run_at, priority, max_attempts) "
            "SELECT 'task-' || i, 'echo', '{\"data\": {}}', 'pending', 0, 0, 4, 1 FROM n"
        )
    size = cluster.database.stat().st_size
    with cluster.database.open("r+b") as file:
        match damage:
            case "header":
                file.write(b"no database")
            case "pages":
                file.seek(size // 2 // 4096 * 4096)
                file.write(os.urandom(8 * 4096))
            case _:
                file.truncate(size // 2)
    job = await cluster.start("taskqueue_migrate")
    assert await job.ended() == 1
    assert "restore a backup" in job.log.read_text()


async def test_a_backup_taken_under_load_and_restored_brings_its_tasks_to_their_end(cluster: Cluster) -> None:
    processes = [await cluster.start_api(), await cluster.start_worker()]
    copy = cluster.folder / "backup.db"
    copied = asyncio.Event()

    async def load() -> None:
        while not copied.is_set():
            await cluster.echo(20, concurrency=5, seconds=0.02)

    await hold(cluster)
    loading = asyncio.create_task(load())
    await until(lambda: len(cluster.accepted) > 200, "some load")
    accepted_before = set(cluster.accepted)
    job = await cluster.start("taskqueue_migrate", "backup", str(copy))
    assert await job.ended() == 0, job.log.read_text()
    copied.set()
    await loading
    for process in processes:
        await process.kill()
    with contextlib.closing(connect(copy, busy_timeout=1, read_only=True)) as db:
        assert db.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
        kept = {row["id"]: row["status"] for row in db.execute("SELECT id, status FROM task")}
    assert accepted_before <= kept.keys()
    assert {"running", "queued", "completed"} <= set(kept.values())
    cluster.accepted = {id: cluster.accepted[id] for id in kept}
    # As docs/operations.md says.
    restored = cluster.database.with_name("restored.db")
    shutil.copy(copy, restored)
    for name in ("tasks.db-wal", "tasks.db-shm"):
        cluster.database.with_name(name).unlink(missing_ok=True)
    restored.rename(cluster.database)
    job = await cluster.start("taskqueue_migrate")
    assert await job.ended() == 0, job.log.read_text()
    (cluster.folder / "go").touch()
    await cluster.start_api()
    await cluster.start_worker(consumers=10)
    await cluster.keeps_the_promise()
    assert len(cluster.rows("SELECT 1 FROM task")) == len(kept)


# Clients


async def test_clients_that_disconnect_in_the_middle_of_a_request_leave_nothing_behind(cluster: Cluster) -> None:
    api = await cluster.start_api()
    await cluster.start_worker()

    async def disconnecting_client(number: int) -> None:
        """Goes away after half of the body, or after all of it and before the answer: impolitely before the API
        may have seen it, or politely once it has begun with the request."""
        reader, writer = await asyncio.open_connection("127.0.0.1", cluster.port)
        body = json.dumps({"action": "echo", "data": {"value": 1000 + number}}).encode()
        sent = body[: len(body) // 2] if number % 2 else body
        head = f"POST /tasks HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n".encode()
        if number % 4 < 2:
            writer.write(head + b"\r\n" + sent)
            await writer.drain()
            writer.transport.abort()
        else:
            # With a key, as whether there are too many tasks is then asked after the body has come.
            writer.write(head + f"Idempotency-Key: {number}\r\nExpect: 100-continue\r\n\r\n".encode())
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 100 ")
            writer.write(sent)
            await writer.drain()
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()

    async with asyncio.TaskGroup() as clients:
        clients.create_task(cluster.echo(200))
        for number in range(200):
            clients.create_task(disconnecting_client(number))
    assert len(cluster.accepted) == 200, "others' requests suffered"
    assert await post(cluster, 500)
    await cluster.keeps_the_promise()
    stored = {value - 1000 for value in values(cluster) if value >= 1000}
    assert {number for number in range(200) if number % 4 == 2} <= stored, "these requests arrived"
    assert not {number for number in stored if number % 2}, "half a request was taken for a whole one"
    assert "Traceback" not in api.log.read_text()
