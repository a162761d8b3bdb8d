"""Locks between processes, on files beside the database."""

import contextlib
import fcntl
import time
from collections.abc import Iterator
from pathlib import Path

from taskqueue.store.engine.protocol import StoreBusyError, StoreError

#: Seconds between two tries of who waits with a deadline: `flock` itself knows none.
_POLL = 0.002


class WriteLock:
    """One writer at a time among all processes, taken around each write transaction.

    SQLite would keep writers apart by itself, but its busy handler sleeps up to 100 ms and is unfair between
    processes; waiting for this lock costs nothing, and it is given in turn. It dies with its process.
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

    def try_acquire(self) -> bool:
        """Whether it was free, and is held now."""
        return _try_lock(self._file.fileno(), fcntl.LOCK_EX)

    def acquire(self) -> None:
        """Wait for it on the calling thread, however long another process holds it."""
        fcntl.flock(self._file.fileno(), fcntl.LOCK_EX)

    def release(self) -> None:
        fcntl.flock(self._file.fileno(), fcntl.LOCK_UN)

    @contextlib.contextmanager
    def held(self, timeout: float | None) -> Iterator[None]:
        """Hold it, once it is free.

        Args:
            timeout: seconds to wait on the calling thread, looking now and then; None waits for its turn.

        Raises:
            StoreBusyError: another process (perhaps a stopped one) held it for as long.
        """
        if timeout is None:
            self.acquire()
        else:
            self._look_until(time.monotonic() + timeout)
        try:
            yield
        finally:
            self.release()

    def _look_until(self, deadline: float) -> None:
        while not self.try_acquire():
            if time.monotonic() >= deadline:
                raise StoreBusyError("another process holds the write lock")
            time.sleep(_POLL)

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
