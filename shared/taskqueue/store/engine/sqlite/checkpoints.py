"""Copies the write-ahead log into the database beside the commits, which else would do that now and then, while
all other processes wait."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from concurrent.futures import Executor
from pathlib import Path

from taskqueue.store.engine.protocol import StoreError
from taskqueue.store.engine.sqlite.connection import Connection, connect, translated_errors
from taskqueue.store.engine.sqlite.files import Files
from taskqueue.store.engine.sqlite.locks import WriteLock

#: Commits of this process after which it copies: some megabytes of the log, where tasks are small.
_EVERY = 50
#: Bytes by which the log has grown since, where they are large.
_GROWTH = 16 * 1024 * 1024
#: Seconds to wait for a program that holds SQLite's own locks, but not ours.
_PATIENCE = 1


class Checkpoints:
    """Copies after every so many commits of this process, or bytes of the log."""

    def __init__(self, path: Path, files: Files) -> None:
        self._path = path
        self._files = files
        self._log = path.with_name(f"{path.name}-wal")
        self._commits = 0
        self._size = self._log_size()
        self._due = asyncio.Event()

    def committed(self) -> None:
        """Count a commit."""
        self._commits += 1
        if self._commits >= _EVERY or self._log_size() > self._size + _GROWTH:
            self._commits, self._size = 0, self._log_size()
            self._due.set()

    def _log_size(self) -> int:
        try:
            return self._log.stat().st_size
        except OSError:  # there is none
            return 0

    @contextlib.asynccontextmanager
    async def copying(self, executor: Executor) -> AsyncIterator[None]:
        """Copy whenever it is due, until left.

        Args:
            executor: runs what blocks, and is shut down at the end.
        """
        copying = asyncio.create_task(self._copy(executor), name="checkpoints")
        try:
            yield
        finally:
            copying.cancel()
            await asyncio.wait({copying})
            # A copy that is under way ends by itself.
            executor.shutdown(wait=False)

    async def _copy(self, executor: Executor) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self._due.wait()
            self._due.clear()
            with contextlib.suppress(StoreError):  # it is tried again after as many commits
                self._files.look()  # else it would open another one
                await loop.run_in_executor(executor, copy_log, self._path)


def copy_log(path: Path, timeout: float | None = None) -> None:
    """Copy most of the log while others write, then the rest while they don't: the next writer begins it anew.

    Args:
        timeout: seconds to wait for the others; None waits for its turn, however long.

    Raises:
        StoreError: the database can't be opened, or is busy.
    """
    with contextlib.closing(connect(path, busy_timeout=_PATIENCE)) as connection, translated_errors(path):
        _checkpoint(connection)
        with contextlib.closing(WriteLock(path)) as lock, lock.held(timeout):
            _checkpoint(connection)


def _checkpoint(connection: Connection) -> None:
    # PASSIVE copies what no reader needs, and waits for nobody.
    connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
