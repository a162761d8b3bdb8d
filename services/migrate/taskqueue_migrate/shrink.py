"""Gives the pages that deleted rows left in the file back to the disk."""

import contextlib
import time
from pathlib import Path

from taskqueue.store import StoreBusyError
from taskqueue.store.engine.sqlite.checkpoints import copy_log
from taskqueue.store.engine.sqlite.connection import connect, translated_errors
from taskqueue.store.engine.sqlite.locks import WriteLock

#: Pages given back in one transaction (4 MiB at 4 KiB a page): other writers wait a few milliseconds.
_SLICE = 1024
_LOCK_TIMEOUT = 60
#: Seconds between two slices: other processes look for the write lock every half millisecond.
_PAUSE = 0.005


def shrink(database: Path) -> int:
    """Give all free pages back, in slices, while everything runs, and return how many bytes that were.

    Raises:
        StoreError: the database can't be opened or written.
    """
    with (
        contextlib.closing(connect(database, busy_timeout=_LOCK_TIMEOUT)) as connection,
        contextlib.closing(WriteLock(database)) as lock,
        translated_errors(database),
    ):
        page_size = connection.execute("PRAGMA page_size").fetchone()[0]
        given_back = 0
        while free := connection.execute("PRAGMA freelist_count").fetchone()[0]:
            with lock.held(_LOCK_TIMEOUT):
                # Each step of the statement frees a page.
                connection.execute(f"PRAGMA incremental_vacuum({_SLICE})").fetchall()
            left = connection.execute("PRAGMA freelist_count").fetchone()[0]
            given_back += max(0, free - left) * page_size
            if left >= free:
                break  # others delete as fast
            time.sleep(_PAUSE)
    # The file itself is cut when all of the log is copied into it: now, or with the next copy if others are busy.
    with contextlib.suppress(StoreBusyError):
        copy_log(database, _LOCK_TIMEOUT)
    return given_back
