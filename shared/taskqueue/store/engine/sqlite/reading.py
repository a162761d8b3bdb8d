"""Connections that only read: a statement each at a time, so that what may be slow never shares one with what must
be quick."""

import asyncio
from collections.abc import Coroutine, Mapping
from pathlib import Path
from typing import Any

import aiosqlite

from taskqueue.store.engine.protocol import Row, StoreUnavailableError
from taskqueue.store.engine.sqlite.connection import connect, translated_errors
from taskqueue.store.engine.sqlite.files import Files

#: Seconds that a search may take.
_LONGEST_SEARCH = 20


def reading(path: Path, busy_timeout: float) -> aiosqlite.Connection:
    """A connection that never writes, not open yet.

    Args:
        busy_timeout: seconds to wait for another connection's lock.
    """
    return aiosqlite.Connection(
        lambda: connect(path, busy_timeout=busy_timeout, read_only=True), iter_chunk_size=64
    )


async def fetch(
    path: Path, files: Files, connection: aiosqlite.Connection, sql: str, values: Mapping[str, Any]
) -> list[Row]:
    """The rows of a statement.

    Raises:
        StoreUnavailableError: the file can't be read now.
    """
    files.check()
    with translated_errors(path):
        # One call on the connection's thread: nothing of it outlives a caller that is cancelled.
        return list(await connection.execute_fetchall(sql, dict(values)))  # type: ignore[arg-type]


class Searches:
    """Runs statements that may take long, one at a time."""

    def __init__(self, path: Path, files: Files, connection: aiosqlite.Connection) -> None:
        self._path = path
        self._files = files
        self._connection = connection
        self._turn = asyncio.Lock()

    async def fetch(self, sql: str, values: Mapping[str, Any]) -> list[Row]:
        """The rows of a statement, which ends when its caller gives up.

        Raises:
            StoreUnavailableError: the file can't be read now, or it took too long.
        """
        async with self._turn:
            try:
                async with asyncio.timeout(_LONGEST_SEARCH):
                    return await self._until_cancelled(
                        fetch(self._path, self._files, self._connection, sql, values)
                    )
            except TimeoutError as error:
                raise StoreUnavailableError(f"a search took longer than {_LONGEST_SEARCH} s") from error

    async def _until_cancelled(self, search: Coroutine[Any, Any, list[Row]]) -> list[Row]:
        """Run a search to its end, or end it where the caller gives up: it would hold up the next one."""
        searching = asyncio.create_task(search)
        try:
            return await asyncio.shield(searching)
        except asyncio.CancelledError:
            # What the connection's thread has not begun can't be interrupted yet.
            while not searching.done():
                await self._connection.interrupt()
                await asyncio.wait({searching}, timeout=0.01)
            searching.exception()
            raise
