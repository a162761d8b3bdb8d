"""Locks between processes, on files beside the database."""

import contextlib
import fcntl
import time
from collections.abc import Iterator
from pathlib import Path

from taskqueue.store.sqlite import StoreBusyError, StoreError

#: Seconds between two tries. SQLite's own busy handler sleeps up to 100 ms and is unfair between
#: processes; at half a millisecond the wait costs about 1 % of a core and nobody starves.
_POLL = 0.0005


class WriteLock:
    """One writer at a time among all processes, taken around each write transaction.

    SQLite would keep writers apart by itself; this keeps their waits short and even. The lock dies with
    its process.
    """

    def __init__(self, database: Path) -> None:
        """
        Raises:
            StoreError: the lock's file can't be opened.
        """
        path = database.with_name(database.name + ".write-lock")
        try:
            self._file = path.open("ab")
        except OSError as error:
            raise StoreError(f"{path}: {error.strerror}") from error

    @contextlib.contextmanager
    def held(self, deadline: float) -> Iterator[None]:
        """Hold the lock; called on a thread, since it blocks.

        Args:
            deadline: when to give up, on the monotonic clock.

        Raises:
            StoreBusyError: another process (perhaps a stopped one) held it until the deadline.
        """
        while not _try_lock(self._file.fileno(), fcntl.LOCK_EX):
            if time.monotonic() >= deadline:
                raise StoreBusyError("another process holds the write lock")
            time.sleep(_POLL)
        try:
            yield
        finally:
            fcntl.flock(self._file, fcntl.LOCK_UN)

    def close(self) -> None:
        self._file.close()


@contextlib.contextmanager
def data_dir_lock(data_dir: Path, *, exclusive: bool) -> Iterator[None]:
    """Keep an embedded taskqueue (exclusive) and any other process on the same folder apart.

    Raises:
        StoreError: the folder is missing or in use.
    """
    try:
        file = (data_dir / "in-use.lock").open("ab")
    except OSError as error:
        raise StoreError(f"{data_dir}: {error.strerror}; TASKQUEUE_DATA_DIR names the data folder") from error
    with file:
        if not _try_lock(file.fileno(), fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH):
            other = "another taskqueue" if exclusive else "an embedded taskqueue"
            raise StoreError(f"{data_dir} is in use by {other}: stop that one, or set TASKQUEUE_DATA_DIR")
        yield


def _try_lock(fd: int, kind: int) -> bool:
    try:
        fcntl.flock(fd, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
