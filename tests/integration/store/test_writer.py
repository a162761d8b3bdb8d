"""Group commit: what gathers shares a transaction, and each write fails, waits and is given up on its own."""

import asyncio
import contextlib
import fcntl
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from taskqueue.store.sqlite import Connection
from taskqueue.store.writer import Writer
from tests.integration.store.given import PATIENCE, beat, claimed, looking, new_task, stored, until

from taskqueue.store import StoreBusyError, StoreError, StoreUnavailableError, TaskStore
from taskqueue_migrate.runner import migrate

#: Seconds that a write may wait in the tests of what happens then.
SHORT = 0.4


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    """A database with a table to write into."""
    path = tmp_path / "notes.db"
    path.touch()
    connection = looking(path)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("CREATE TABLE notes (text TEXT NOT NULL UNIQUE) STRICT")
    connection.close()
    return path


@pytest.fixture
async def writer(notes: Path) -> AsyncIterator[Writer]:
    async with Writer.open(notes, timeout=PATIENCE) as writer:
        yield writer


@pytest.fixture
async def hasty(notes: Path) -> AsyncIterator[Writer]:
    """A writer whose writes wait only shortly."""
    async with Writer.open(notes, timeout=SHORT) as writer:
        yield writer


def note(text: str) -> Callable[[Connection], str]:
    def write(db: Connection) -> str:
        db.execute("INSERT INTO notes VALUES (?)", (text,))
        return text

    return write


def texts(path: Path) -> list[str]:
    return [row["text"] for row in stored(path, "SELECT text FROM notes ORDER BY rowid")]


@contextlib.contextmanager
def file_lock(database: Path) -> Iterator[Callable[[], None]]:
    """Hold the lock that writers take between processes; yields what lets go of it early."""
    with database.with_name(database.name + ".write-lock").open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield lambda: fcntl.flock(file, fcntl.LOCK_UN)


@contextlib.contextmanager
def sqlite_lock(database: Path) -> Iterator[Callable[[], None]]:
    """Hold SQLite's own write lock, as a program does that doesn't know of the other."""
    connection = looking(database)
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield connection.rollback
    finally:
        connection.close()


locks = pytest.mark.parametrize("locked", [file_lock, sqlite_lock])


async def begun(count: int = 1) -> None:
    """Let the tasks made just now take their first steps."""
    for _ in range(count):
        await asyncio.sleep(0)


async def first_in_transaction(writer: Writer) -> tuple[asyncio.Task[None], threading.Event]:
    """Begin a write that stays in its transaction until the event is set."""
    inside, let_go = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def wait(db: Connection) -> None:
        db.execute("INSERT INTO notes VALUES ('held')")
        loop.call_soon_threadsafe(inside.set)
        let_go.wait(PATIENCE)

    writing = asyncio.create_task(writer.write(wait))
    async with asyncio.timeout(PATIENCE):
        await inside.wait()
    return writing, let_go


def can_write_at_once(database: Path) -> bool:
    """Whether nobody is in a write transaction."""
    connection = looking(database)
    try:
        connection.execute("PRAGMA busy_timeout = 0")
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("ROLLBACK")
    except connection.OperationalError:
        return False
    finally:
        connection.close()
    return True


# What shares a transaction


async def test_a_write_returns_what_its_function_returned_once_that_is_committed(
    writer: Writer, notes: Path
) -> None:
    assert await writer.write(note("a")) == "a"
    assert texts(notes) == ["a"]


async def test_writes_that_gather_are_committed_together_and_in_their_order(writer: Writer, notes: Path) -> None:
    seen: list[list[str]] = []

    def last(db: Connection) -> None:
        seen.append(texts(notes))
        seen.append([row["text"] for row in db.execute("SELECT text FROM notes ORDER BY rowid")])

    first, let_go = await first_in_transaction(writer)
    names = [str(n) for n in range(50)]
    writing = asyncio.gather(*(writer.write(note(name)) for name in names), writer.write(last))
    await begun()
    let_go.set()
    await first
    *returned, _ = await writing
    assert returned == names
    # Seen from inside their transaction all are there; seen from outside, none.
    assert seen == [["held"], ["held", *names]]
    assert texts(notes) == ["held", *names]


async def test_more_than_a_batch_is_written_all_the_same(
    writer: Writer, notes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("taskqueue.store.writer._BATCH", 3)
    names = [str(n) for n in range(20)]
    assert await asyncio.gather(*(writer.write(note(name)) for name in names)) == names
    assert texts(notes) == names


@pytest.mark.parametrize("error", [ValueError("mine"), KeyError("mine"), RuntimeError("mine")], ids=repr)
async def test_a_function_that_fails_harms_only_itself(writer: Writer, notes: Path, error: Exception) -> None:
    def fail(db: Connection) -> None:
        db.execute("INSERT INTO notes VALUES ('undone')")
        raise error

    first, let_go = await first_in_transaction(writer)
    writing = asyncio.gather(
        writer.write(note("a")), writer.write(fail), writer.write(note("b")), return_exceptions=True
    )
    await begun()
    let_go.set()
    await first
    assert await writing == ["a", error, "b"]
    assert texts(notes) == ["held", "a", "b"]


async def test_a_broken_constraint_harms_only_its_write(writer: Writer, notes: Path) -> None:
    def fail(db: Connection) -> None:
        db.execute("INSERT INTO notes VALUES ('undone')")
        db.execute("INSERT INTO notes VALUES ('a')")

    first, let_go = await first_in_transaction(writer)
    writing = asyncio.gather(
        writer.write(note("a")), writer.write(fail), writer.write(note("b")), return_exceptions=True
    )
    await begun()
    let_go.set()
    await first
    a, error, b = await writing
    assert (a, b) == ("a", "b")
    assert "UNIQUE" in str(error)
    assert texts(notes) == ["held", "a", "b"]


async def test_a_failed_statement_is_refused_and_the_writer_goes_on(writer: Writer, notes: Path) -> None:
    with pytest.raises(StoreUnavailableError, match="no such table"):
        await writer.write(lambda db: db.execute("INSERT INTO no_such_table VALUES (1)"))
    assert can_write_at_once(notes)
    assert await writer.write(note("a")) == "a"


# Callers that give up


async def test_a_caller_cancelled_while_it_waits_writes_nothing(writer: Writer, notes: Path) -> None:
    first, let_go = await first_in_transaction(writer)
    second, third = (asyncio.create_task(writer.write(note(name))) for name in ("second", "third"))
    await begun()
    second.cancel()
    let_go.set()
    await first
    await third
    with pytest.raises(asyncio.CancelledError):
        await second
    assert texts(notes) == ["held", "third"]


@locks
async def test_a_caller_cancelled_before_the_transaction_began_writes_nothing(
    writer: Writer, notes: Path, locked: Callable[..., Any]
) -> None:
    with locked(notes) as let_go:
        first, second = (asyncio.create_task(writer.write(note(name))) for name in ("first", "second"))
        # Until they are on the writer's thread, which waits for the lock.
        await begun()
        await until(lambda: not writer._waiting)
        first.cancel()
        await begun()
        let_go()
        await second
    assert texts(notes) == ["second"]


async def test_a_write_already_in_a_transaction_is_committed_for_a_cancelled_caller(
    writer: Writer, notes: Path
) -> None:
    first, let_go = await first_in_transaction(writer)
    first.cancel()
    await begun()
    let_go.set()
    await writer.write(note("next"))
    assert texts(notes) == ["held", "next"]
    assert can_write_at_once(notes)


async def test_cancelled_callers_alone_are_no_work(writer: Writer, notes: Path) -> None:
    first, let_go = await first_in_transaction(writer)
    others = [asyncio.create_task(writer.write(note(str(n)))) for n in range(5)]
    await begun()
    for other in others:
        other.cancel()
    let_go.set()
    await first
    assert await writer.write(note("next")) == "next"
    assert texts(notes) == ["held", "next"]


# Locks


@locks
async def test_a_write_that_cannot_have_the_lock_is_refused_at_its_deadline(
    hasty: Writer, notes: Path, locked: Callable[..., Any]
) -> None:
    with locked(notes):
        began = time.monotonic()
        with pytest.raises(StoreBusyError, match="another process holds the write lock"):
            await hasty.write(note("refused"))
        assert SHORT - 0.05 < time.monotonic() - began < SHORT + 2
    assert await hasty.write(note("next")) == "next"
    assert texts(notes) == ["next"]


@locks
async def test_writes_with_time_left_outlive_older_ones_of_their_batch_in_their_order(
    notes: Path, locked: Callable[..., Any]
) -> None:
    async with Writer.open(notes, timeout=1) as writer:
        with locked(notes) as let_go:
            first = asyncio.create_task(writer.write(note("first")))
            await asyncio.sleep(0.4)  # while that one waits, the next batch gathers
            old = asyncio.create_task(writer.write(note("old")))
            await asyncio.sleep(0.4)
            young = [asyncio.create_task(writer.write(note(str(n)))) for n in range(5)]
            for refused in (first, old):
                with pytest.raises(StoreBusyError):
                    await refused
            assert not any(write.done() for write in young)
            younger = [asyncio.create_task(writer.write(note(str(n)))) for n in range(5, 10)]
            await begun()
            let_go()
            await asyncio.gather(*young, *younger)
    assert texts(notes) == [str(n) for n in range(10)]


@locks
async def test_nothing_of_many_refused_writes_is_stored(
    hasty: Writer, notes: Path, locked: Callable[..., Any]
) -> None:
    with locked(notes):
        outcomes = await asyncio.gather(*(hasty.write(note(str(n))) for n in range(300)), return_exceptions=True)
    assert all(isinstance(outcome, StoreBusyError) for outcome in outcomes)
    await hasty.write(note("next"))
    assert texts(notes) == ["next"]
    assert can_write_at_once(notes)


async def test_a_stopped_process_that_holds_the_lock_ends_in_a_refusal_not_in_a_hang(
    hasty: Writer, notes: Path
) -> None:
    program = (
        "import sys, time; from pathlib import Path; from taskqueue.store.locks import WriteLock\n"
        "with WriteLock(Path(sys.argv[1])).held(time.monotonic() + 5): print('held', flush=True); sys.stdin.read()"
    )
    holder = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, notes, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        assert holder.stdout is not None
        assert await holder.stdout.readline() == b"held\n"
        holder.send_signal(signal.SIGSTOP)
        with pytest.raises(StoreBusyError):
            await hasty.write(note("refused"))
    finally:
        holder.kill()  # the lock dies with its process
        await holder.communicate()
    assert await hasty.write(note("next")) == "next"
    assert texts(notes) == ["next"]


async def test_a_long_reader_does_not_hold_a_write_up(hasty: Writer, notes: Path) -> None:
    reader = looking(notes)
    try:
        reader.execute("BEGIN")
        assert reader.execute("SELECT count(*) FROM notes").fetchone()[0] == 0
        await hasty.write(note("a"))
        assert reader.execute("SELECT count(*) FROM notes").fetchone()[0] == 0
    finally:
        reader.close()


# Closing


async def test_closing_writes_what_waits(notes: Path) -> None:
    async with Writer.open(notes, timeout=PATIENCE) as writer:
        first, let_go = await first_in_transaction(writer)
        others = [asyncio.create_task(writer.write(note(str(n)))) for n in range(5)]
        await begun()
        asyncio.get_running_loop().call_later(0.05, let_go.set)
    await first
    assert [await other for other in others] == ["0", "1", "2", "3", "4"]
    assert texts(notes) == ["held", "0", "1", "2", "3", "4"]


async def test_a_closed_writer_refuses_and_has_nothing_open(notes: Path) -> None:
    async with Writer.open(notes, timeout=PATIENCE) as writer:
        await writer.write(note("a"))
    with pytest.raises(StoreUnavailableError, match="closing"):
        await writer.write(note("b"))
    assert texts(notes) == ["a"]
    assert not open_files(notes)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("store-writer")]


async def test_a_writer_closes_although_its_user_is_cancelled(notes: Path) -> None:
    opened = asyncio.Event()

    async def use() -> None:
        async with Writer.open(notes, timeout=PATIENCE) as writer:
            await writer.write(note("a"))
            opened.set()
            await asyncio.Event().wait()

    using = asyncio.create_task(use())
    async with asyncio.timeout(PATIENCE):
        await opened.wait()
    using.cancel()
    with pytest.raises(asyncio.CancelledError):
        await using
    assert not open_files(notes)


async def test_a_writer_whose_user_is_cancelled_again_while_it_closes_settles_what_waits(notes: Path) -> None:
    held: list[tuple[asyncio.Task[None], threading.Event]] = []
    others: list[asyncio.Task[str]] = []

    async def use() -> None:
        async with Writer.open(notes, timeout=PATIENCE) as writer:
            held.append(await first_in_transaction(writer))
            others.extend(asyncio.create_task(writer.write(note(str(n)))) for n in range(3))
            await asyncio.Event().wait()

    using = asyncio.create_task(use())
    await until(lambda: len(others) == 3)
    using.cancel()
    await begun(5)
    threading.Timer(0.05, held[0][1].set).start()  # closing blocks the loop now
    using.cancel()
    with pytest.raises(asyncio.CancelledError):
        await using
    await held[0][0]
    outcomes = await asyncio.gather(*others, return_exceptions=True)
    assert len(outcomes) == 3
    assert texts(notes) == ["held", *(str(n) for n, outcome in enumerate(outcomes) if outcome == str(n))]
    assert not open_files(notes)


async def test_a_writer_that_cannot_be_opened_leaves_nothing_open(notes: Path) -> None:
    (notes.parent / "notes.db.write-lock").mkdir()
    with pytest.raises(StoreError, match="write-lock"):
        async with Writer.open(notes, timeout=1):
            pass
    assert not open_files(notes)


def open_files(database: Path) -> list[str]:
    """The files beside the database that this process has open."""
    targets = []
    for link in os.scandir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            targets.append(os.readlink(link.path))  # noqa: PTH115  # a Path would be opened once more
    return [target for target in targets if target.startswith(str(database))]


# Disks that are full or fail


async def test_a_full_database_refuses_with_nothing_partial_and_recovers(store: TaskStore, database: Path) -> None:
    await store.submit(new_task("before"))

    def limit(pages: int) -> Callable[[Connection], None]:
        return lambda db: db.execute(f"PRAGMA max_page_count = {pages}").fetchone() and None

    await store._write(limit(1))  # no more than it has now
    big = new_task("big", payload="x" * 100_000)
    outcomes = await asyncio.gather(
        store.submit(big), store.submit(new_task("beside", payload="x" * 100_000)), return_exceptions=True
    )
    assert [type(outcome) for outcome in outcomes] == [StoreUnavailableError] * 2
    assert "full" in str(outcomes[0])
    assert [row["id"] for row in stored(database)] == ["before"]
    assert can_write_at_once(database)
    assert await store.get("before") is not None
    await store._write(limit(1_000_000))
    await store.submit(big)
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
    async with TaskStore.open(database, write_timeout=5) as store:
        await beat(store, "w")
        await store.submit(new_task("before", run_at=0))
        claim = await claimed(store, "before")
        filler = small_disk / "filler"
        room = os.statvfs(small_disk)
        filler.write_bytes(b"x" * (room.f_bavail * room.f_frsize))
        with pytest.raises(StoreUnavailableError, match="full"):
            await store.submit(new_task("refused", payload="x" * 50_000))
        with pytest.raises(StoreUnavailableError):
            await store.complete(claim, '{"output":"' + "x" * 50_000 + '"}')
        before = await store.get("before")
        assert before is not None
        assert before.status == "running"
        filler.unlink()
        assert await store.complete(claim, "{}")
        await store.submit(new_task("after"))
        assert await store.get("refused") is None
    assert [row["id"] for row in stored(database)] == ["before", "after"]
    assert stored(database, "PRAGMA integrity_check") == [{"integrity_check": "ok"}]


async def test_a_database_damaged_under_a_running_store_is_told_as_that(database: Path) -> None:
    async with TaskStore.open(database, write_timeout=5) as store:
        for n in range(200):
            await store.submit(new_task(str(n), payload="x" * 1000))
    with database.open("r+b") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(size // 3)
        file.write(b"\xa5" * (size // 2))
    async with TaskStore.open(database, write_timeout=5) as store:
        with pytest.raises(StoreError, match="restore a backup"):
            await store.find(limit=1000)
        with pytest.raises(StoreError, match="restore a backup"):
            await store._write(lambda db: db.execute("UPDATE tasks SET action = 'other'"))
    assert can_write_at_once(database)


# Reads


async def test_a_cancelled_read_does_not_harm_the_next(store: TaskStore) -> None:
    for n in range(300):
        await store.submit(new_task(str(n)))
    for _ in range(20):
        reading = asyncio.create_task(store.find(limit=300))
        await begun()
        reading.cancel()
    assert len((await store.find(limit=300)).tasks) == 300


async def test_reads_do_not_wait_for_a_writer(store: TaskStore, database: Path) -> None:
    await store.submit(new_task())
    with sqlite_lock(database), file_lock(database):
        async with asyncio.timeout(2):
            assert await store.get("t") is not None


async def test_a_closed_store_has_nothing_open(database: Path) -> None:
    async with TaskStore.open(database, write_timeout=5) as store:
        await store.submit(new_task())
        await store.get("t")
    assert not open_files(database)
