"""The database: the real SQLite library on a real file, made by the real migrations, with faults around it."""

import asyncio
import contextlib
import shutil
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any, Self
from unittest import mock

from tests.simulation.loop import Process
from tests.simulation.threads import OneThread

from taskqueue.store import StoreBusyError, StoreUnavailableError
from taskqueue.store.engine.sqlite import engine
from taskqueue.store.engine.sqlite.connection import Connection, connect
from taskqueue_migrate.runner import migrate

if TYPE_CHECKING:
    import sqlite3
else:
    from taskqueue.store.engine.sqlite.connection import sqlite3

#: SQLite's codes: another program holds the lock, an error of the disk at its sync, no room.
BUSY, IOERR_FSYNC, FULL = 5, 1034, 13

#: Every change of a status, as it happens.
RECORDER = """
CREATE TABLE history (
    number INTEGER PRIMARY KEY, seq INTEGER NOT NULL, id TEXT NOT NULL,
    -- NULL: there was no such task before, or there is none any more.
    old TEXT, new TEXT,
    -- Begun before its time, and not published either.
    early INTEGER NOT NULL DEFAULT 0,
    -- Which request submitted it, or retried it last; and what was submitted, and by which task.
    request_id TEXT, value INTEGER, tag TEXT, parent TEXT
) STRICT;
CREATE TRIGGER record_new AFTER INSERT ON task
BEGIN
    INSERT INTO history (seq, id, new, request_id, value, tag, parent)
    VALUES (
        NEW.seq, NEW.id, NEW.status, NEW.request_id, NEW.payload ->> '$.data.value', NEW.tags ->> '$[0]',
        NEW.parent
    );
END;
CREATE TRIGGER record_change AFTER UPDATE OF status ON task
BEGIN
    INSERT INTO history (seq, id, old, new, request_id, early) VALUES (
        NEW.seq, NEW.id, OLD.status, NEW.status, NEW.request_id,
        NEW.status = 'running' AND OLD.status = 'pending' AND OLD.dispatch_id IS NULL
            AND NEW.attempt_started < OLD.run_at
    );
END;
CREATE TRIGGER record_end AFTER DELETE ON task
BEGIN INSERT INTO history (seq, id, old) VALUES (OLD.seq, OLD.id, OLD.status); END;
-- How often a running task was asked to stop.
CREATE TABLE asked (id TEXT NOT NULL) STRICT;
CREATE TRIGGER record_asked AFTER UPDATE OF cancel_requested ON task WHEN OLD.status = 'running'
BEGIN INSERT INTO asked VALUES (NEW.id); END;
"""


def make_template(folder: Path) -> Path:
    """An empty database of the present schema, with the recorder; to be copied for each run."""
    template = folder / "template.db"
    migrate(template)
    with contextlib.closing(connect(template, busy_timeout=1)) as db:
        db.executescript(RECORDER)
    return template


@dataclass
class Faults:
    """What is wrong with the store: now, or with so many of its commits."""

    #: Another program holds SQLite's lock.
    busy: bool = False
    #: A process was stopped while it held ours.
    held: bool = False
    full: bool = False
    #: The disk can't be read or written.
    away: bool = False
    #: Of the commits: the chance that one fails, or is done and its answer is lost.
    failing: float = 0
    answer_lost: float = 0


class Database:
    """The file of one run, and its faults."""

    def __init__(self, template: Path, folder: Path, random: Random, note: Callable[[str], None]) -> None:
        self.path = folder / "tasks.db"
        self.faults = Faults()
        self.random = random
        self.note = note
        shutil.copyfile(template, self.path)

    @contextlib.contextmanager
    def in_place(self) -> Iterator[None]:
        """The engine's connections and locks are ours."""

        def faulty_connect(path: Path, **options: Any) -> Any:
            if self.faults.away:
                raise StoreUnavailableError("disk I/O error")
            return _Connection(self, connect(path, **options))

        with (
            mock.patch.object(engine, "connect", faulty_connect),
            mock.patch.object(engine, "reading", lambda path, busy_timeout: _Reader(self, path)),
            mock.patch.object(engine, "WriteLock", lambda path: _Lock(self)),
        ):
            yield

    def go_for(self, seconds: float) -> None:
        """Be away for a moment: what has just happened can't be looked at."""
        self.faults.away = True
        Process.current().loop.world.call_later(seconds, setattr, self.faults, "away", False)

    def raise_if_away(self) -> None:
        if self.faults.away:
            raise error("disk I/O error", IOERR_FSYNC)

    def thread_seconds(self) -> float:
        """How long the next job of a store's thread takes: as long as the lock has to be waited for, too."""
        faults = self.faults
        if faults.held or faults.busy or faults.full or faults.away:
            return self.random.uniform(0.05, 0.3)
        return self.random.expovariate(2000)

    def rows(self, query: str, *values: Any) -> list[dict[str, Any]]:
        with contextlib.closing(connect(self.path, busy_timeout=1)) as db:
            return [dict(row) for row in db.execute(query, values)]

    def left(self) -> list[dict[str, Any]]:
        """The tasks that are not final."""
        return self.rows("SELECT id, status, attempt FROM task WHERE processed_at IS NULL ORDER BY seq")

    def submitted(self) -> list[dict[str, Any]]:
        """The tasks that were ever stored, in their order: which request sent each, its value, its tag and its
        parent."""
        return self.rows(
            "SELECT id, seq, request_id, value, tag, parent FROM history WHERE old IS NULL ORDER BY seq"
        )

    def histories(self) -> dict[str, list[str | None]]:
        """By task, the statuses that it has had, in order; None where it was deleted."""
        histories: defaultdict[str, list[str | None]] = defaultdict(list)
        for row in self.rows("SELECT * FROM history ORDER BY number"):
            histories[row["id"]].append(row["new"])
        return dict(histories)


def error(text: str, code: int) -> Exception:
    raised: Exception = sqlite3.OperationalError(text)
    raised.sqlite_errorcode = code  # type: ignore[attr-defined]
    return raised


class _Connection:
    """A connection whose BEGIN and COMMIT meet faults."""

    def __init__(self, database: Database, connection: Connection) -> None:
        self._database = database
        self._connection = connection

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    def execute(self, sql: str, *values: Any) -> Any:
        if sql == "COMMIT":
            return self._commit()
        if not sql.startswith("PRAGMA"):
            self._database.raise_if_away()
        if sql == "BEGIN IMMEDIATE" and self._database.faults.busy:
            raise error("database is locked", BUSY)
        return self._connection.execute(sql, *values)

    def _commit(self) -> Any:
        faults, chance = self._database.faults, self._database.random.random
        if faults.full:
            raise error("database or disk is full", FULL)
        if faults.away or chance() < faults.failing:
            self._database.note("store: a commit fails, nobody knows")
            self._connection.execute("ROLLBACK")
            raise error("disk I/O error", IOERR_FSYNC)
        done = self._connection.execute("COMMIT")
        if chance() < faults.answer_lost:
            self._database.note("store: a commit's answer is lost")
            if chance() < 0.3:
                self._database.go_for(chance())
            raise error("disk I/O error", IOERR_FSYNC)
        return done


class _Reader:
    """What aiosqlite's connection is: its jobs are done in the process that opens it."""

    def __init__(self, database: Database, path: Path) -> None:
        self._database = database
        self._path = path
        self._thread = OneThread(Process.current(), database.thread_seconds)

    async def __aenter__(self) -> Self:
        self._connection = await self._run(lambda: engine.connect(self._path, busy_timeout=0, read_only=True))
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._run(self._connection.close)

    async def execute_fetchall(self, sql: str, values: dict[str, Any]) -> list[Any]:
        rows: list[Any] = await self._run(lambda: self._connection.execute(sql, values).fetchall())
        return rows

    async def interrupt(self) -> None:
        """Each statement is done in a moment."""

    def _run(self, job: Callable[[], Any]) -> asyncio.Future[Any]:
        return asyncio.wrap_future(self._thread.submit(job))


class _Lock:
    """The lock between processes. Transactions are run one at a time here; it is not free where a process was
    stopped within one, and who would wait for it on a thread has waited when its job begins."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def acquire(self) -> None:
        pass

    def release(self) -> None:
        pass

    @contextlib.contextmanager
    def held(self, timeout: float | None) -> Iterator[None]:
        if self._database.faults.held:
            raise StoreBusyError("another process holds the write lock")
        yield

    def close(self) -> None:
        pass
