"""`open_store`: the tasks of an installation, on the engine that its URL names."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

from taskqueue.store.bulk import Bulk
from taskqueue.store.clock import now_ms
from taskqueue.store.engine.protocol import Clock, Engine, Executors, Transaction, Writer
from taskqueue.store.engine.sqlite.engine import one_thread, open_sqlite
from taskqueue.store.ledger import balance
from taskqueue.store.queries import QUERIES
from taskqueue.store.reads import Reads
from taskqueue.store.schema import check_schema, read_schema_version
from taskqueue.store.spans import Spans
from taskqueue.telemetry import Committed, Telemetry

P = ParamSpec("P")
T = TypeVar("T")


class Store:
    """The tasks: what is written is a verb on a transaction, what is read is in `reads`, what is done to many is
    in `bulk`, and what happened in the last days in `spans`."""

    def __init__(self, engine: Engine, clock: Clock) -> None:
        self._engine = engine
        self.clock = clock
        self.reads = Reads(engine)
        self.bulk = Bulk(engine, self.reads)
        self.spans = Spans(engine)

    def write(
        self, verb: Callable[Concatenate[Transaction, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> asyncio.Future[T]:
        """Enqueue a verb at once; the future has what it returned once that is committed, see `Engine.write`.

        Raises:
            StoreUnavailableError: the store can't be written now; nothing is stored.
            CommitUnknownError: it is not known whether it is stored.
        """
        return self._engine.write(lambda tx: verb(tx, *args, **kwargs))

    def writer(self) -> AbstractContextManager[Writer]:
        """A connection of its own that writes, for a thread; see `Engine.writer`."""
        return self._engine.writer()

    async def schema_version(self) -> int:
        """The schema's version; shows that the store can be read."""
        return await read_schema_version(self._engine)


@contextlib.asynccontextmanager
async def open_store(
    path: Path,
    *,
    write_timeout: float,
    telemetry: Telemetry | None = None,
    clock: Clock = now_ms,
    executors: Executors = one_thread,
) -> AsyncIterator[Store]:
    """Open the database; leaving writes what still waits, then closes it.

    Args:
        path: the database file; it must exist.
        write_timeout: seconds that a write may wait for other processes.
        telemetry: is told of each commit.
        clock: the time in Unix milliseconds.
        executors: make those that all that blocks runs on; each is shut down at the end.

    Raises:
        SchemaMismatchError: `taskqueue-migrate` has not brought the file to this version's schema.
        StoreError: the file is missing, unreadable or not a database.
    """
    telling = telemetry or Telemetry()
    async with open_sqlite(
        path,
        QUERIES,
        balance,
        timeout=write_timeout,
        clock=clock,
        committed=lambda *measured: telling.tell(Committed(*measured)),
        executors=executors,
    ) as engine:
        await check_schema(engine)
        yield Store(engine, clock)
