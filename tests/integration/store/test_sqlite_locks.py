"""The SQLite engine among other programs: whoever holds a lock, each write is refused at its own deadline, and is
never stored after that."""

import asyncio
import contextlib
import fcntl
import signal
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from tests.conformance.waiting import at_most
from tests.integration.store.given import PATIENCE, looking, until
from tests.integration.store.notes import Notes, Open, adding, on_sqlite

from taskqueue.store import StoreBusyError
from taskqueue.store.engine.sqlite import engine

#: Seconds that a write may wait in the tests of what happens then.
SHORT = 0.4
#: Seconds of room for a busy machine.
SLACK = 2

Lock = Callable[[Path], AbstractContextManager[Callable[[], None]]]


@pytest.fixture
async def notes(opened: Open) -> AsyncIterator[Notes]:
    async with opened(PATIENCE) as notes:
        yield notes


@pytest.fixture
async def hasty(opened: Open) -> AsyncIterator[Notes]:
    """Notes whose writes wait only shortly."""
    async with opened(SHORT) as notes:
        yield notes


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


each_lock = pytest.mark.parametrize("lock", [file_lock, sqlite_lock])


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


def writers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("store-writer")]


@each_lock
async def test_a_write_that_cannot_have_the_lock_is_refused_at_its_deadline_and_never_stored(
    hasty: Notes, file: Path, lock: Lock
) -> None:
    with lock(file) as let_go:
        began = time.monotonic()
        with pytest.raises(StoreBusyError, match="another process holds the write lock"):
            await hasty.add("refused")
        assert SHORT - 0.05 < time.monotonic() - began < SHORT + SLACK
        let_go()
    assert await hasty.add("next") == "next"
    assert await hasty.texts() == ["next"]


@each_lock
async def test_each_write_is_refused_at_its_own_deadline_and_later_ones_outlive_it_in_their_order(
    opened: Open, file: Path, lock: Lock
) -> None:
    async with opened(2) as notes:
        with lock(file) as let_go:
            first = notes.add("first")
            await asyncio.sleep(0.5)  # while that one waits, the next ones gather
            old = notes.add("old")
            await asyncio.sleep(1)
            young = [notes.add(str(n)) for n in range(5)]
            for refused in (first, old):
                with pytest.raises(StoreBusyError):
                    await refused
            assert not any(write.done() for write in young)
            young += [notes.add(str(n)) for n in range(5, 10)]
            let_go()
            await asyncio.gather(*young)
        assert await notes.texts() == [str(n) for n in range(10)]


@each_lock
async def test_nothing_of_many_refused_writes_is_stored(hasty: Notes, file: Path, lock: Lock) -> None:
    with lock(file):
        outcomes = await asyncio.gather(*(hasty.add(str(n)) for n in range(600)), return_exceptions=True)
    assert all(isinstance(outcome, StoreBusyError) for outcome in outcomes)
    await hasty.add("next")
    assert await hasty.texts() == ["next"]
    assert can_write_at_once(file)


@each_lock
async def test_a_write_cancelled_before_its_transaction_began_is_not_written(
    notes: Notes, file: Path, lock: Lock
) -> None:
    with lock(file) as let_go:
        first, second = notes.add("first"), notes.add("second")
        await asyncio.sleep(0.05)  # until they are on the writer's thread, which waits for the lock
        first.cancel()
        let_go()
        await second
    assert await notes.texts() == ["second"]


async def test_a_stopped_process_that_holds_the_lock_ends_in_a_refusal_not_in_a_hang(
    hasty: Notes, file: Path
) -> None:
    program = (
        "import sys; from pathlib import Path; from taskqueue.store.engine.sqlite.locks import WriteLock\n"
        "with WriteLock(Path(sys.argv[1])).held(5): print('held', flush=True); sys.stdin.read()"
    )
    holder = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, file, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        assert holder.stdout is not None
        assert await holder.stdout.readline() == b"held\n"
        holder.send_signal(signal.SIGSTOP)
        with pytest.raises(StoreBusyError):
            await hasty.add("refused")
    finally:
        holder.kill()  # the lock dies with its process
        await holder.communicate()
    assert await hasty.add("next") == "next"
    assert await hasty.texts() == ["next"]


@each_lock
async def test_a_writer_on_another_thread_is_refused_at_its_deadline(hasty: Notes, file: Path, lock: Lock) -> None:
    def work() -> None:
        with hasty.engine.writer() as writer:
            with lock(file):
                began = time.monotonic()
                with pytest.raises(StoreBusyError):
                    writer.write(adding("refused"))
                assert SHORT - 0.05 < time.monotonic() - began < SHORT + SLACK
            writer.write(adding("next"))

    await asyncio.to_thread(work)
    assert await hasty.texts() == ["next"]


async def test_reads_do_not_wait_for_a_lock(notes: Notes, file: Path) -> None:
    await notes.add("a")
    with sqlite_lock(file), file_lock(file), at_most(SLACK):
        assert await notes.texts() == ["a"]


async def test_a_long_reader_does_not_hold_a_write_up(hasty: Notes, file: Path) -> None:
    reader = looking(file)
    try:
        reader.execute("BEGIN")
        assert reader.execute("SELECT count(*) FROM notes").fetchone()[0] == 0
        await hasty.add("a")
        assert reader.execute("SELECT count(*) FROM notes").fetchone()[0] == 0
    finally:
        reader.close()


async def test_what_comes_while_the_lock_is_waited_for_shares_the_transaction(notes: Notes, file: Path) -> None:
    with file_lock(file) as let_go:
        writing = [notes.add("first")]
        await asyncio.sleep(0.05)  # until it waits
        writing += [notes.add(str(n)) for n in range(5)]
        let_go()
        await asyncio.gather(*writing)
    assert notes.committed == [6]
    assert 0.02 < notes.waits[0] < 5, "it is told how long they waited"


# Closing


@each_lock
async def test_it_closes_while_the_lock_is_held_and_nothing_is_stored_later(
    opened: Open, file: Path, lock: Lock
) -> None:
    with lock(file) as let_go:
        with at_most(SHORT + SLACK):
            async with opened(SHORT) as notes:
                refused = [notes.add(str(n)) for n in range(3)]
        for write in refused:
            assert isinstance(write.exception(), StoreBusyError)
        let_go()
        await until(lambda: not writers())
    async with opened(PATIENCE) as notes:
        assert await notes.add("next") == "next"
        assert await notes.texts() == ["next"]


async def test_it_closes_at_once_where_a_lock_is_held_and_nobody_waits(opened: Open, file: Path) -> None:
    with file_lock(file) as let_go:
        with at_most(SLACK):
            async with opened(PATIENCE) as notes:
                abandoned = notes.add("abandoned")
                await asyncio.sleep(0.05)  # until its batch waits for the lock
                abandoned.cancel()
        let_go()
        await until(lambda: not writers())
    async with opened(PATIENCE) as notes:
        assert await notes.texts() == []


async def test_it_closes_quietly_where_many_have_given_up(opened: Open, file: Path) -> None:
    """More than a transaction holds: what waits then is nobody's."""
    errors: list[dict[str, object]] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: errors.append(context))
    with file_lock(file) as let_go:
        async with opened(PATIENCE) as notes:
            for n in range(600):
                notes.add(str(n)).cancel()
            await asyncio.sleep(0.05)  # until the first wait for the lock
        let_go()
        await until(lambda: not writers())
    await asyncio.sleep(0.05)  # until what the thread told the loop is done
    assert errors == []
    async with opened(PATIENCE) as notes:
        assert await notes.texts() == []


async def test_it_is_opened_and_closed_while_the_lock_is_held(opened: Open, file: Path) -> None:
    with file_lock(file), at_most(SLACK):
        async with opened(PATIENCE) as notes:
            assert await notes.texts() == []


# With a rollback journal, where a log is not safe: readers and the commit wait for each other


@pytest.fixture
def rolling_back(file: Path, monkeypatch: pytest.MonkeyPatch) -> Open:
    monkeypatch.setattr(engine, "journal_mode", lambda: "delete")
    opened = on_sqlite(file)
    connection = looking(file)
    connection.execute("PRAGMA journal_mode = DELETE")
    connection.close()
    return opened


async def test_a_commit_waits_for_a_reader(rolling_back: Open, file: Path) -> None:
    runs = 0

    def write(tx: object) -> str:
        nonlocal runs
        runs += 1
        return adding("a")(tx)

    async with rolling_back(PATIENCE) as notes:
        reader = looking(file)
        try:
            reader.execute("BEGIN")
            reader.execute("SELECT * FROM notes").fetchall()
            writing = notes.write(write)
            await until(lambda: runs > 0)
            await asyncio.sleep(0.2)
            assert not writing.done()
            reader.execute("COMMIT")
            await writing
        finally:
            reader.close()
        assert runs == 1, "it waits, and isn't tried again and again"
        assert await notes.texts() == ["a"]


async def test_a_commit_that_a_reader_holds_up_for_too_long_is_refused(rolling_back: Open, file: Path) -> None:
    async with rolling_back(SHORT) as notes:
        reader = looking(file)
        try:
            reader.execute("BEGIN")
            reader.execute("SELECT * FROM notes").fetchall()
            with pytest.raises(StoreBusyError), at_most(SHORT + SLACK):
                await notes.add("refused")
        finally:
            reader.close()
        assert await notes.add("next") == "next"
        assert await notes.texts() == ["next"]
