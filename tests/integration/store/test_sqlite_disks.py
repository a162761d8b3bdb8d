"""The SQLite engine on disks that are full or fail: a batch fails as one, and what nobody knows is told so."""

import asyncio
import contextlib
import os
import subprocess
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.integration.store.given import (
    ERROR,
    PATIENCE,
    beat,
    claimed,
    looking,
    new_task,
    stored,
    submitted,
    until,
)
from tests.integration.store.notes import QUERIES, Notes, Open, adding

from taskqueue.store import CommitUnknownError, StoreError, StoreUnavailableError, open_store, verbs
from taskqueue.store.engine.protocol import Transaction
from taskqueue.store.engine.sqlite import checkpoints, engine
from taskqueue.store.engine.sqlite.connection import Connection, connect, sqlite3
from taskqueue.task import Outcome, Status
from taskqueue_migrate.runner import migrate

FAULTS = {"busy": sqlite3.SQLITE_BUSY, "full": sqlite3.SQLITE_FULL, "I/O": sqlite3.SQLITE_IOERR}


class Faulty:
    """A connection whose next statement that begins so fails, before it runs or after that."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        #: What the statement begins with, SQLite's code, and whether it runs all the same.
        self.fault: tuple[str, int, bool] | None = None
        #: The one after that.
        self.next_fault: tuple[str, int, bool] | None = None
        self.statements: list[str] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    def execute(self, sql: str, *values: Any) -> Any:
        self.statements.append(sql)
        fault = self.fault
        if fault is None or not sql.startswith(fault[0]):
            return self._connection.execute(sql, *values)
        if fault[1] != sqlite3.SQLITE_BUSY:
            self.fault, self.next_fault = self.next_fault, None
        if fault[2]:
            self._connection.execute(sql, *values)
        error = sqlite3.OperationalError("a fault of the test")
        error.sqlite_errorcode = fault[1]
        raise error


@pytest.fixture
def connections(monkeypatch: pytest.MonkeyPatch) -> list[Faulty]:
    """Those that write, first the one of the group commit."""
    made: list[Faulty] = []

    def connect_faulty(path: Path, *, busy_timeout: float) -> Faulty:
        made.append(Faulty(connect(path, busy_timeout=busy_timeout)))
        return made[-1]

    monkeypatch.setattr(engine, "connect", connect_faulty)
    return made


@pytest.fixture
async def notes(connections: list[Faulty], opened: Open) -> AsyncIterator[Notes]:
    async with opened(1) as notes:
        yield notes


async def together(notes: Notes, *writes: Callable[[Transaction], object]) -> list[object]:
    first, let_go = await notes.hold()
    writing = [notes.write(write) for write in writes]
    let_go.set()
    await first
    return await asyncio.gather(*writing, return_exceptions=True)


# One statement of a batch


@pytest.mark.parametrize("code", [FAULTS["full"], FAULTS["I/O"]], ids=["full", "I/O"])
async def test_a_fault_of_the_disk_fails_the_batch_and_runs_nothing_again(
    notes: Notes, connections: list[Faulty], code: int
) -> None:
    runs: Counter[str] = Counter()

    def counted(text: str) -> Callable[[Transaction], None]:
        def write(tx: Transaction) -> None:
            runs[text] += 1
            if text == "b":
                connections[0].fault = (QUERIES["add"], code, False)
            adding(text)(tx)

        return write

    outcomes = await together(notes, *map(counted, "abc"))
    assert [type(outcome) for outcome in outcomes] == [StoreUnavailableError] * 3
    assert runs == {"a": 1, "b": 1}
    assert await notes.texts() == ["held"]
    assert await notes.add("next") == "next"


async def test_after_a_fault_nothing_runs_before_the_rollback(notes: Notes, connections: list[Faulty]) -> None:
    await notes.add("a")
    [faulty] = connections
    faulty.statements.clear()
    faulty.fault = (QUERIES["add"], FAULTS["I/O"], False)
    with pytest.raises(StoreUnavailableError):
        await notes.add("b")
    with pytest.raises(Exception, match="UNIQUE"):
        await notes.add("a")
    await notes.add("c")
    add = QUERIES["add"]
    failed, done = ["BEGIN IMMEDIATE", add, "ROLLBACK"], ["BEGIN IMMEDIATE", add, "COMMIT"]
    assert faulty.statements == [*failed, *failed, *done]


# The COMMIT


@pytest.mark.parametrize("stored_all_the_same", [False, True])
async def test_nobody_knows_what_a_commit_with_a_failing_disk_stored(
    notes: Notes, connections: list[Faulty], stored_all_the_same: bool
) -> None:
    runs = 0

    def write(tx: Transaction) -> None:
        nonlocal runs
        runs += 1
        adding("a")(tx)
        connections[0].fault = ("COMMIT", FAULTS["I/O"], stored_all_the_same)

    outcomes = await together(notes, write, adding("b"))
    assert [type(outcome) for outcome in outcomes] == [CommitUnknownError] * 2
    assert runs == 1
    assert await notes.texts() == (["held", "a", "b"] if stored_all_the_same else ["held"])
    assert await notes.add("next") == "next"


async def test_a_rollback_that_fails_too_does_not_make_it_known(notes: Notes, connections: list[Faulty]) -> None:
    connections[0].fault = ("COMMIT", FAULTS["I/O"], False)
    connections[0].next_fault = ("ROLLBACK", FAULTS["I/O"], False)
    with pytest.raises(CommitUnknownError):
        await notes.add("a")
    assert await notes.add("next") == "next"
    assert await notes.texts() == ["next"]


async def test_a_commit_without_room_stores_nothing_and_that_is_known(
    notes: Notes, connections: list[Faulty]
) -> None:
    connections[0].fault = ("COMMIT", FAULTS["full"], False)
    with pytest.raises(StoreUnavailableError) as refused:
        await notes.add("a")
    assert not isinstance(refused.value, CommitUnknownError)
    assert await notes.add("next") == "next"
    assert await notes.texts() == ["next"]


@pytest.mark.parametrize("statement", ["BEGIN IMMEDIATE", "COMMIT"])
async def test_what_stays_busy_is_refused_at_its_deadline(
    notes: Notes, connections: list[Faulty], statement: str
) -> None:
    connections[0].fault = (statement, FAULTS["busy"], False)
    with pytest.raises(StoreUnavailableError) as refused:
        await notes.add("a")
    assert not isinstance(refused.value, CommitUnknownError)
    connections[0].fault = None
    assert await notes.add("next") == "next"
    assert await notes.texts() == ["next"]


async def test_an_unknown_commit_on_another_thread_is_told_as_that(
    notes: Notes, connections: list[Faulty]
) -> None:
    def work() -> None:
        with notes.engine.writer() as writer:
            connections[1].fault = ("COMMIT", FAULTS["I/O"], True)
            with pytest.raises(CommitUnknownError):
                writer.write(adding("a"))
            writer.write(adding("b"))

    await asyncio.to_thread(work)
    assert await notes.texts() == ["a", "b"]


# Real disks


async def test_a_full_database_refuses_with_nothing_partial_and_recovers(
    connections: list[Faulty], tmp_path: Path
) -> None:
    database = tmp_path / "tasks.db"
    migrate(database)
    async with open_store(database, write_timeout=5) as store:
        await submitted(store, "before")
        # No more than it has now.
        connections[0].execute("PRAGMA max_page_count = 1").fetchone()
        big = {"payload": "x" * 100_000}
        outcomes = await asyncio.gather(
            submitted(store, "big", **big), submitted(store, "beside", **big), return_exceptions=True
        )
        assert [type(outcome) for outcome in outcomes] == [StoreUnavailableError] * 2
        assert "full" in str(outcomes[0])
        assert [row["id"] for row in stored(database)] == ["before"]
        assert await store.reads.get("before") is not None
        connections[0].execute("PRAGMA max_page_count = 1000000").fetchone()
        await submitted(store, "big", **big)
    assert [row["id"] for row in stored(database)] == ["before", "big"]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A folder with one megabyte of room."""
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("a small disk can't be mounted here")
    yield folder
    subprocess.run(["umount", folder], check=True)


async def test_a_full_disk_refuses_with_nothing_partial_and_a_held_result_is_stored_once_there_is_room(
    small_disk: Path,
) -> None:
    database = small_disk / "tasks.db"
    migrate(database)
    async with open_store(database, write_timeout=5) as store:
        await beat(store, "w")
        await submitted(store, "before", run_at=0)
        claim = await claimed(store, "before")
        filler = small_disk / "filler"
        room = os.statvfs(small_disk)
        filler.write_bytes(b"x" * (room.f_bavail * room.f_frsize))
        with pytest.raises(StoreUnavailableError, match="full"):
            await submitted(store, "refused", payload="x" * 50_000)
        with pytest.raises(StoreUnavailableError):
            await store.write(verbs.complete, claim, '{"output":"' + "x" * 50_000 + '"}')
        before = await store.reads.get("before")
        assert before is not None
        assert before.status == "running"
        filler.unlink()
        assert await store.write(verbs.complete, claim, "{}") is Status.COMPLETED
        await submitted(store, "after")
        assert await store.reads.get("refused") is None
    assert [row["id"] for row in stored(database)] == ["before", "after"]
    assert stored(database, "PRAGMA integrity_check") == [{"integrity_check": "ok"}]


async def test_a_database_damaged_under_a_running_store_is_told_as_that(tmp_path: Path) -> None:
    database = tmp_path / "tasks.db"
    migrate(database)
    async with open_store(database, write_timeout=5) as store:
        await beat(store, "w")
        for n in range(200):
            await submitted(store, str(n), payload="x" * 1000)
        claim = await claimed(store, "150")
    with database.open("r+b") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(size // 2)  # behind what is read to open it
        file.write(b"\xa5" * (size // 3))
    async with open_store(database, write_timeout=5) as store:
        with pytest.raises(StoreError, match="restore a backup"):
            await store.reads.find(limit=1000)
        with pytest.raises(StoreError, match="restore a backup"):
            await store.write(verbs.fail, claim, Outcome.ERROR, ERROR)
    connection = looking(database)
    connection.execute("BEGIN IMMEDIATE")  # nobody is in a transaction
    connection.close()


# Files


def open_files(database: Path) -> list[str]:
    """The files beside the database that this process has open."""
    targets = []
    with os.scandir("/proc/self/fd") as links:
        for link in links:
            with contextlib.suppress(OSError):
                targets.append(os.readlink(link.path))  # noqa: PTH115  # a Path would be opened once more
    return [target for target in targets if target.startswith(str(database))]


async def test_what_is_closed_has_nothing_open(tmp_path: Path) -> None:
    database = tmp_path / "tasks.db"
    migrate(database)
    async with open_store(database, write_timeout=5) as store:
        await store.write(verbs.submit, new_task())
        await store.reads.get("t")
        with store.writer() as writer:
            writer.write(lambda tx: verbs.cancel(tx, "t"))
        assert open_files(database)
    assert not open_files(database)
    await until(lambda: not [it for it in threading.enumerate() if it.name.startswith("store-")])


async def test_what_cannot_be_opened_leaves_nothing_open(opened: Open, file: Path) -> None:
    (file.parent / "notes.db.write-lock").mkdir()
    with pytest.raises(StoreError, match="write-lock"):
        async with opened(1):
            pass
    assert not open_files(file)


# The write-ahead log


def size(file: Path) -> int:
    return file.stat().st_size


async def test_the_log_is_copied_after_every_so_many_commits(
    opened: Open, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoints, "_EVERY", 5)
    before = size(file)
    async with opened(PATIENCE) as notes:
        for n in range(4):
            await notes.add(f"{n} " * 25_000)
        assert size(file) == before
        await notes.add("4 " * 25_000)
        await until(lambda: size(file) > before + 250_000)


async def test_a_log_that_grows_fast_is_copied_after_fewer(
    opened: Open, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoints, "_GROWTH", 200_000)
    before = size(file)
    async with opened(PATIENCE) as notes:
        for n in range(9):
            await notes.add(f"{n} " * 25_000)
        await until(lambda: size(file) > before + 200_000)


async def test_a_log_that_was_copied_is_begun_anew(opened: Open, file: Path) -> None:
    log = file.with_name("notes.db-wal")
    async with opened(PATIENCE) as notes:
        sizes = []
        for n in range(5):
            await notes.add(f"{n} " * 25_000)
            await asyncio.to_thread(checkpoints.copy_log, file)
            sizes.append(size(log))
        assert max(sizes) < 2 * sizes[0]
        assert len(await notes.texts()) == 5
