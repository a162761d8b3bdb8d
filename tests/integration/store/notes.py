"""A database of notes, to try an engine with: nothing here knows of tasks."""

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.integration.store.given import PATIENCE, looking

from taskqueue.store.clock import now_ms
from taskqueue.store.engine.protocol import Engine, Transaction
from taskqueue.store.engine.sqlite.engine import open_sqlite

QUERIES = {
    "add": "INSERT INTO notes (text) VALUES (:text)",
    "texts": "SELECT text FROM notes ORDER BY place",
    "rename": "UPDATE notes SET text = :new WHERE text = :old",
    "wrong": "INSERT INTO no_such_table VALUES (1)",
}


@dataclass
class Notes:
    """An open engine."""

    engine: Engine
    #: What each transaction owed at its end.
    settled: list[list[Any]] = field(default_factory=list)
    #: How many writes each transaction held.
    committed: list[int] = field(default_factory=list)
    #: How many seconds each transaction waited for the lock.
    waits: list[float] = field(default_factory=list)

    def write(self, function: Callable[[Transaction], Any]) -> asyncio.Future[Any]:
        return self.engine.write(function)

    def add(self, text: str) -> asyncio.Future[str]:
        return self.engine.write(adding(text))

    async def texts(self) -> list[str]:
        """What others see."""
        return [row["text"] for row in await self.engine.read("texts")]

    async def hold(self) -> tuple[asyncio.Future[None], threading.Event]:
        """Begin a write that stays in its transaction until the event is set: what comes meanwhile gathers."""
        inside, let_go = asyncio.Event(), threading.Event()
        loop = asyncio.get_running_loop()

        def wait(tx: Transaction) -> None:
            tx.change("add", text="held")
            loop.call_soon_threadsafe(inside.set)
            let_go.wait(PATIENCE)

        writing = self.engine.write(wait)
        async with asyncio.timeout(PATIENCE):
            await inside.wait()
        return writing, let_go


def adding(text: str) -> Callable[[Transaction], str]:
    def add(tx: Transaction) -> str:
        tx.change("add", text=text)
        return text

    return add


#: Opens the notes; its argument is how many seconds a write may wait for other processes.
Open = Callable[[float], AbstractAsyncContextManager[Notes]]


def on_sqlite(path: Path) -> Open:
    """A new file of notes."""
    path.touch()
    connection = looking(path)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("CREATE TABLE notes (place INTEGER PRIMARY KEY, text TEXT NOT NULL UNIQUE) STRICT")
    connection.close()

    @contextlib.asynccontextmanager
    async def opened(timeout: float) -> AsyncIterator[Notes]:
        settled: list[list[Any]] = []
        committed: list[int] = []
        waits: list[float] = []

        def settle(tx: Transaction) -> None:
            settled.append(list(tx.owed))
            for text in tx.owed:
                tx.change("add", text=text)

        def count(writes: int, seconds: float, waited: float) -> None:
            assert seconds >= 0
            committed.append(writes)
            waits.append(waited)

        async with open_sqlite(path, QUERIES, settle, timeout=timeout, clock=now_ms, committed=count) as engine:
            yield Notes(engine, settled, committed, waits)

    return opened
