"""The store locked by another process, or damaged: 503s and no hang, nothing half accepted, no result lost."""

import asyncio
import contextlib
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from aiohttp import ClientTimeout
from tests.conformance.waiting import eventually
from tests.integration import actions
from tests.integration.system import System, quick_settings

from taskqueue.store.engine.sqlite.connection import connect
from taskqueue.store.schema import SCHEMA_VERSION
from taskqueue.task import Status
from taskqueue.telemetry import SweepPutOff, TaskRefused
from taskqueue_worker import heartbeat


@contextlib.contextmanager
def locked(database: Path) -> Iterator[None]:
    """Hold the write lock, as a long transaction of another process does."""
    with contextlib.closing(connect(database, busy_timeout=5)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield
        connection.execute("ROLLBACK")


async def test_a_post_to_a_locked_store_is_refused_in_time_and_never_stored(system: System) -> None:
    with locked(system.settings.database):
        started = time.monotonic()
        answers = await asyncio.gather(
            *(system.post("/tasks", json={"action": "refused", "data": {"n": n}}) for n in range(20))
        )
        assert time.monotonic() - started < system.settings.write_timeout + 1
    for answer in answers:
        assert (answer.status, answer.body) == (503, {"error": "failed to queue task"})
        assert int(answer.headers["Retry-After"]) > 0
    # Writes keep their order: had one of those been kept, it would be stored by now.
    accepted = await system.submit("accepted")
    assert [task["id"] for task in (await system.get("/tasks")).body["tasks"]] == [accepted]
    assert await system.broker.ready_count() == 1


async def test_a_post_that_its_client_gave_up_on_is_not_stored_if_it_was_still_waiting(system: System) -> None:
    """The server goes on with it; here it ends in the 503 that nobody reads."""
    with locked(system.settings.database):
        refused = asyncio.create_task(system.told(TaskRefused))
        with pytest.raises(TimeoutError):
            await system.post("/tasks", json={"action": "given-up"}, timeout=ClientTimeout(0.1))
        await refused
    accepted = await system.submit("accepted")
    assert [task["id"] for task in (await system.get("/tasks")).body["tasks"]] == [accepted]


async def test_a_post_waits_for_a_lock_that_is_given_back_in_time(system: System) -> None:
    with locked(system.settings.database):
        posting = asyncio.create_task(system.post("/tasks", json={"action": "x"}))
        await asyncio.sleep(system.settings.write_timeout / 3)
        assert not posting.done()
    assert (await posting).status == 202


async def test_a_locked_store_is_read(system: System) -> None:
    id = await system.submit("x")
    with locked(system.settings.database):
        assert (await system.task(id))["id"] == id
        assert (await system.get("/tasks")).body["count"] == 1
        assert (await system.get("/readyz")).status == 200


async def test_a_cancel_in_a_locked_store_is_answered_503(system: System) -> None:
    id = await system.submit("x")
    with locked(system.settings.database):
        answer = await system.post(f"/tasks/{id}/cancel")
    assert (answer.status, answer.body) == (503, {"error": "database unavailable"})
    assert int(answer.headers["Retry-After"]) > 0
    assert not (await system.task(id))["cancel_requested"]


async def test_a_result_is_recorded_once_the_lock_is_given_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also when the task is past its timeout by then: it was the store that took long, not the handler."""
    ended: list[int] = []
    monkeypatch.setattr(heartbeat, "GRACE", 0.1)
    monkeypatch.setattr(os, "_exit", ended.append)
    async with System.open(quick_settings(tmp_path, write_timeout=0.3)) as system, system.worker() as worker:
        id = await system.submit("hold", {"name": "result"}, timeout=0.5)
        await actions.started("result")
        with locked(system.settings.database):
            actions.let_go("result")
            await asyncio.sleep(1.5)
            assert not worker.running.done()
            assert (await system.task(id))["status"] == "running"
        task = await system.until(id)
    assert task["result"] == {"output": "result"}
    assert [attempt["outcome"] for attempt in task["attempts"]] == ["ok"]
    assert not ended, "the worker ended itself"


async def test_a_task_is_claimed_once_the_lock_is_given_back(tmp_path: Path) -> None:
    async with System.open(quick_settings(tmp_path, write_timeout=0.2)) as system, system.worker():
        await eventually(system.store.reads.worker_beats)  # it can't start while the lock is held
        id = await system.submit("uppercase", {"text": "x"}, delay=0.2)
        with locked(system.settings.database):
            for _ in range(2):
                await system.told(SweepPutOff)
        task = await system.until(id)
    assert (task["status"], task["attempt"]) == ("completed", 1)


# Damage


def lose_its_content(database: Path) -> None:
    """What a broken disk does."""
    for file in (database, database.with_name("tasks.db-wal"), database.with_name("tasks.db-shm")):
        with file.open("r+b") as open_file:  # not cut, even for a moment: it is mapped into memory
            open_file.write(b"\xff" * file.stat().st_size)


def lose_its_tables(database: Path) -> None:
    with contextlib.closing(connect(database, busy_timeout=5)) as connection:
        for table in ("attempts", "task", "schema_migrations"):
            connection.execute(f"DROP TABLE {table}")


@pytest.mark.parametrize(
    ("damage", "cause"), [(lose_its_content, "restore a backup"), (lose_its_tables, "schema 0, needed is")]
)
async def test_a_store_that_cannot_be_read_is_told_and_nothing_is_accepted(
    system: System, damage: Callable[[Path], None], cause: str
) -> None:
    id = await system.submit("x")
    await system.until(id, Status.QUEUED)  # no write is under way
    damage(system.settings.database)
    for path in ("/tasks", "/tasks?status=failed", f"/tasks/{id}"):
        answer = await system.get(path)
        assert (answer.status, answer.body) == (503, {"error": "database unavailable"})
        assert int(answer.headers["Retry-After"]) > 0
    answer = await system.post("/tasks", json={"action": "x"})
    assert (answer.status, answer.body) == (503, {"error": "failed to queue task"})
    answer = await system.get("/readyz")
    assert answer.status == 503
    assert cause in answer.body["error"]
    assert (await system.get("/livez")).status == 200


async def test_a_store_that_another_version_has_migrated_is_not_ready(system: System) -> None:
    with contextlib.closing(connect(system.settings.database, busy_timeout=5)) as connection:
        connection.execute("INSERT INTO schema_migrations VALUES (?, 'later', '', 0)", (SCHEMA_VERSION + 1,))
    answer = await system.get("/readyz")
    assert answer.status == 503
    assert answer.body["error"] == f"schema {SCHEMA_VERSION + 1}, needed is {SCHEMA_VERSION}"


async def test_a_worker_whose_store_is_damaged_ends_and_says_why(system: System) -> None:
    async with system.worker() as worker:
        await eventually(worker_has_started(system))
        lose_its_content(system.settings.database)
        with pytest.raises(Exception, match="restore a backup"):
            await asyncio.wait_for(worker.running, 10)


def worker_has_started(system: System) -> Callable[[], bool]:
    def started() -> bool:
        with contextlib.closing(connect(system.settings.database, busy_timeout=5)) as connection:
            return bool(connection.execute("SELECT count(*) FROM workers").fetchone()[0])

    return started
