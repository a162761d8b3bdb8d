"""The SQLite engine on files that are deleted, moved or replaced while they are open: nothing goes into a file
that nobody else will read."""

import asyncio
import contextlib
import logging
import shutil
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from tests.integration.store.given import PATIENCE, looking, until
from tests.integration.store.notes import Notes, Open, adding

from taskqueue.store import CommitUnknownError, StoreUnavailableError
from taskqueue.store.engine.protocol import Transaction
from taskqueue.store.engine.sqlite import engine
from taskqueue.store.engine.sqlite.connection import Connection, connect, sqlite3
from taskqueue.store.engine.sqlite.files import Files


@pytest.fixture
async def notes(opened: Open) -> AsyncIterator[Notes]:
    async with opened(1) as notes:
        yield notes


def beside(file: Path, end: str) -> Path:
    return file.with_name(file.name + end)


def replace(file: Path) -> None:
    """Put another database in its place, as for a backup that is restored, and leave it open."""
    for name in ("-wal", "-shm"):
        beside(file, name).unlink()
    shutil.copy(file, beside(file, ".other"))
    beside(file, ".other").rename(file)


def move(file: Path) -> None:
    file.rename(beside(file, ".moved"))


def texts_of_the_file_itself(file: Path) -> set[str]:
    """What is in the file, without its log."""
    with contextlib.closing(sqlite3.connect(f"file:{file}?immutable=1", uri=True)) as db:
        return {text for (text,) in db.execute("SELECT text FROM notes")}


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (move, "notes.db is gone"),
        (replace, "notes.db was replaced"),
        (lambda file: beside(file, "-wal").unlink(), "notes.db-wal is gone"),
        (lambda file: beside(file, "-shm").unlink(), "notes.db-shm is gone"),
        (lambda file: shutil.rmtree(file.parent), "notes.db is gone"),
    ],
    ids=["moved", "replaced", "no log", "no index", "no folder"],
)
async def test_a_file_that_is_not_there_any_more_is_neither_written_nor_read(
    notes: Notes, file: Path, change: Callable[[Path], object], what: str, caplog: pytest.LogCaptureFixture
) -> None:
    with notes.engine.writer() as writer:
        await notes.add("before")
        change(file)
        with pytest.raises(StoreUnavailableError, match=what):
            await notes.add("after")
        with pytest.raises(StoreUnavailableError, match=what):
            writer.write(adding("after"))
        with pytest.raises(StoreUnavailableError, match=what):
            await notes.texts()
    with pytest.raises(StoreUnavailableError, match=what), notes.engine.writer():
        pass
    await until(lambda: what in caplog.text)


async def test_who_only_reads_is_told_within_a_second(notes: Notes, file: Path) -> None:
    move(file)
    async with asyncio.timeout(1):
        with pytest.raises(StoreUnavailableError, match="is gone"):
            while True:
                await notes.texts()


async def test_once_the_file_is_back_work_goes_on(
    notes: Notes, file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    await notes.add("before")
    for _ in range(2):
        caplog.clear()
        move(file)
        with pytest.raises(StoreUnavailableError):
            await notes.add("meanwhile")
        await until(lambda: "is gone" in caplog.text)
        beside(file, ".moved").rename(file)
        await until(lambda: "work goes on" in caplog.text)
        assert [record.levelno for record in caplog.records] == [logging.ERROR, logging.WARNING]
    await notes.add("after")
    assert await notes.texts() == ["before", "after"]


async def test_a_commit_into_a_file_that_was_replaced_meanwhile_is_unknown(notes: Notes, file: Path) -> None:
    def write(tx: Transaction) -> None:
        tx.change("add", text="lost")
        replace(file)

    with pytest.raises(CommitUnknownError, match="was replaced"):
        await notes.write(write)
    assert texts_of_the_file_itself(file) == set()


async def test_what_was_refused_by_itself_is_told_so_although_the_commit_is_unknown(
    notes: Notes, file: Path
) -> None:
    def write(tx: Transaction) -> None:
        tx.change("add", text="lost")
        move(file)

    def fail(tx: Transaction) -> None:
        raise LookupError("on purpose")

    told = await asyncio.gather(notes.write(fail), notes.write(write), return_exceptions=True)
    assert [type(error) for error in told] == [LookupError, CommitUnknownError]


async def test_however_many_writes_wait_all_are_refused_once_the_file_is_gone(notes: Notes, file: Path) -> None:
    writing, let_go = await notes.hold()
    waiting = [notes.add(f"{number}") for number in range(1000)]
    move(file)
    let_go.set()
    with pytest.raises(CommitUnknownError, match="is gone"):
        await writing
    async with asyncio.timeout(PATIENCE):
        refused = await asyncio.gather(*waiting, return_exceptions=True)
    assert {type(error) for error in refused} == {StoreUnavailableError}
    beside(file, ".moved").rename(file)
    await notes.add("after")
    assert await notes.texts() == ["held", "after"]


async def test_another_file_in_its_place_and_its_log_are_left_alone_also_at_the_end(
    opened: Open, file: Path
) -> None:
    with contextlib.ExitStack() as stack:
        async with opened(1) as notes:
            await notes.add("old")
            replace(file)
            other = stack.enter_context(contextlib.closing(looking(file)))
            other.execute("INSERT INTO notes (text) VALUES ('new')")
            log = beside(file, "-wal").stat()
            with pytest.raises(StoreUnavailableError):
                await notes.add("refused")
        # Closed by now: SQLite deletes a log by its name.
        assert beside(file, "-wal").stat() == log
    async with opened(1) as notes:
        assert await notes.texts() == ["new"]


@pytest.mark.parametrize("names", [["-wal"], ["-wal", "-shm"]])
async def test_what_is_in_a_log_that_was_deleted_is_copied_into_the_database(
    notes: Notes, file: Path, names: list[str]
) -> None:
    await notes.add("before")
    assert texts_of_the_file_itself(file) == set()
    for name in names:
        beside(file, name).unlink()
    await until(lambda: texts_of_the_file_itself(file) == {"before"})
    with pytest.raises(StoreUnavailableError, match="is gone"):
        await notes.add("after")
    assert not beside(file, "-wal").exists()


async def test_a_log_that_was_replaced_is_not_copied_over_what_others_write(
    opened: Open, file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    saved: list[str] = []

    async def save() -> None:
        saved.append("saved")

    async with opened(1):
        files = Files(file)
        files.opened(logged=True)
        beside(file, "-wal").rename(beside(file, ".moved"))
        beside(file, "-wal").touch()
        watching = asyncio.create_task(files.watch(save))
        await until(lambda: "notes.db-wal was replaced" in caplog.text)
        assert not saved
        beside(file, "-wal").unlink()
        await until(lambda: bool(saved))
        watching.cancel()


async def test_a_file_that_is_replaced_while_it_is_opened_is_refused(
    opened: Open, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def connect_and_replace(path: Path, *, busy_timeout: float) -> Connection:
        connection = connect(path, busy_timeout=busy_timeout)
        shutil.copy(file, beside(file, ".other"))
        beside(file, ".other").rename(file)
        return connection

    monkeypatch.setattr(engine, "connect", connect_and_replace)
    with pytest.raises(StoreUnavailableError, match="was replaced"):
        async with opened(1):
            pass


class LookedAtElsewhere(Files):
    """Another thread, which has looked while all was well, is always a moment later to say so."""

    @property
    def problem(self) -> str | None:
        return None

    @problem.setter
    def problem(self, value: str | None) -> None:
        pass


def test_what_a_look_has_found_is_not_taken_back_by_another_thread(file: Path) -> None:
    file.touch()
    files = LookedAtElsewhere(file)
    files.look()
    file.unlink()
    with pytest.raises(StoreUnavailableError, match="is gone"):
        files.look()
