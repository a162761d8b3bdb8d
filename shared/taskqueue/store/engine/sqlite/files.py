"""Whether the files of an open database are still at their paths. Where one was deleted, moved or replaced, what
our connections write goes into a file that nobody else will read."""

import asyncio
import contextlib
import logging
import os
from collections.abc import Awaitable, Callable
from pathlib import Path

from taskqueue.store.engine.protocol import CommitUnknownError, StoreUnavailableError

log = logging.getLogger("taskqueue.store")

#: Seconds between two looks of a process that writes nothing meanwhile.
_LOOK = 0.5


class Files:
    """The database file, its write-ahead log and the index of that.

    SQLite makes the latter two when it needs them, and deletes them with the last connection: while one is open,
    they stay what they are.
    """

    def __init__(self, path: Path) -> None:
        """To be made before the first connection is, so that none is to another file."""
        self._path = str(path)
        self._log = f"{path}-wal"
        self._known = {self._path: _identity(self._path)}
        #: Whether nothing is wrong but this; where another one is in its place, somebody else writes by that.
        self._log_is_lost = False
        #: What is wrong, and what to do; None where nothing is.
        self.problem: str | None = None

    def opened(self, *, logged: bool) -> None:
        """Take note of the other files; a connection has read, and stays open.

        Args:
            logged: whether there is a write-ahead log.

        Raises:
            StoreUnavailableError: as `look` does.
        """
        if logged:
            self._known |= {path: _identity(path) for path in (self._log, f"{self._path}-shm")}
        self.look()

    def look(self) -> None:
        """Look at the files: some microseconds.

        Raises:
            StoreUnavailableError: one is gone, or another is in its place.
        """
        found = {path: _identity(path) for path in self._known}
        wrong = next((path for path in found if found[path] != self._known[path]), None)
        if wrong is None:
            self.problem = None
            return
        self._log_is_lost = wrong == self._log and found[wrong] is None
        what = "is gone" if found[wrong] is None else "was replaced"
        problem = f"{wrong} {what}: put it back, or start all processes anew (docs/operations.md)"
        self.problem = problem
        # Not what stands there: another thread, which has looked a moment before, may write over it.
        raise StoreUnavailableError(problem)

    def confirm(self) -> None:
        """Look once more, after a commit and before anybody is told of it.

        Raises:
            CommitUnknownError: a file is gone, or another is in its place.
        """
        try:
            self.look()
        except StoreUnavailableError as error:
            raise CommitUnknownError(f"stored, but where nobody may find it: {error}") from error

    def check(self) -> None:
        """Tell what the last look has shown.

        Raises:
            StoreUnavailableError: as `look` did.
        """
        if self.problem is not None:
            raise StoreUnavailableError(self.problem)

    async def watch(self, save: Callable[[], Awaitable[None]]) -> None:
        """Look now and then, and say it once when something has changed.

        Args:
            save: copies what is in the log, which nobody will find any more, into the database.
        """
        told = None
        while True:
            await asyncio.sleep(_LOOK)
            with contextlib.suppress(StoreUnavailableError):
                self.look()
            if self.problem != told:
                told = self.problem
                if told is None:
                    log.warning("%s is as it was: work goes on", self._path)
                else:
                    log.error("nothing is read or written: %s", told)
            if self.problem is not None and self._log_is_lost:
                await save()


def _identity(path: str) -> tuple[int, int] | None:
    """Which file is at a path; None where there is none that we may see."""
    try:
        status = os.stat(path)  # noqa: PTH116  # Path.stat() takes twice the time
    except OSError:
        return None
    return status.st_dev, status.st_ino
