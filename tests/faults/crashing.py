"""Runs a program of taskqueue in which something goes wrong at a chosen point: it is killed, or an answer is lost.

    CRASH_AT="after store.claim" python -m tests.faults.crashing taskqueue_worker

The environment variable CRASH_AT names the point, `<how> <owner>.<method>` (see OWNERS):

* `before`, `after`: the process is killed there. `store.<verb>` is the write of that verb: before it is enqueued,
  after it was committed. `verbs.<verb>` is within its transaction.
* `lost store.<verb>`: its transaction is committed, but the answer to the COMMIT is an error of the disk.
* `blind store.<verb>`: the same, and what is stored can't be read back at once.
* `failed store.<verb>`: the COMMIT fails with the same error, and nothing is stored.

CRASH_AFTER says how often the point is passed before, and CRASH_BY the signal, if it is another one than SIGKILL.
The points are set by wrapping methods here, so that the product has no failpoints.
"""

import asyncio
import functools
import importlib
import inspect
import os
import signal
import sys
from collections.abc import Callable
from typing import Any

from taskqueue.broker.rabbitmq import RabbitBroker
from taskqueue.broker.rabbitmq.delivery import RabbitDelivery
from taskqueue.store import Store, StoreUnavailableError, verbs
from taskqueue.store.engine.sqlite import engine
from taskqueue.store.engine.sqlite.connection import Connection, connect
from taskqueue_worker.execute import Run

#: What a point's name may begin with beside `store`, and where that is.
OWNERS: dict[str, Any] = {"verbs": verbs, "broker": RabbitBroker, "delivery": RabbitDelivery, "run": Run}

#: SQLite's code of an error that the disk gave when it was asked to sync.
IOERR_FSYNC = 1034
#: How many reads back fail.
BLIND = 3


class Point:
    """Where it goes wrong."""

    def __init__(self, passes: int, by: int) -> None:
        self._left = passes
        self._by = by

    def is_due(self) -> bool:
        """Whether it has been passed often enough; this time counts."""
        self._left -= 1
        return self._left == -1

    def crash_if_due(self) -> None:
        if self.is_due():
            os.kill(os.getpid(), self._by)


def _crashing(method: Callable[..., Any], how: str, point: Point) -> Callable[..., Any]:
    @functools.wraps(method)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        if how == "before":
            point.crash_if_due()
        result = method(*args, **kwargs)
        if how == "after":
            point.crash_if_due()
        return result

    @functools.wraps(method)
    async def wrapped_coroutine(*args: Any, **kwargs: Any) -> Any:
        if how == "before":
            point.crash_if_due()
        result = await method(*args, **kwargs)
        if how == "after":
            point.crash_if_due()
        return result

    return wrapped_coroutine if inspect.iscoroutinefunction(method) else wrapped


def _set_write_point(how: str, verb_name: str, point: Point) -> None:
    write = Store.write

    def crash_if_written(future: asyncio.Future[Any]) -> None:
        if not future.cancelled() and future.exception() is None:
            point.crash_if_due()

    def wrapped(self: Store, verb: Callable[..., Any], *args: Any, **kwargs: Any) -> asyncio.Future[Any]:
        if verb.__name__.lstrip("_") != verb_name:
            return write(self, verb, *args, **kwargs)
        if how == "before":
            point.crash_if_due()
        future = write(self, verb, *args, **kwargs)
        if how == "after":
            future.add_done_callback(crash_if_written)  # before any other one
        return future

    Store.write = wrapped  # type: ignore[method-assign]


class _FailingDisk:
    """A connection whose COMMIT is answered by an error, once that is due."""

    def __init__(self, connection: Connection, how: str) -> None:
        self._connection = connection
        self._how = how
        self.due = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    def execute(self, sql: str, *values: Any) -> Any:
        if sql != "COMMIT" or not self.due:
            return self._connection.execute(sql, *values)
        self.due = False
        self._connection.execute("ROLLBACK" if self._how == "failed" else "COMMIT")
        if self._how == "blind":
            _set_read_point(Point(passes=BLIND, by=0))
        error = self._connection.OperationalError("disk I/O error")
        error.sqlite_errorcode = IOERR_FSYNC
        raise error


def _set_read_point(point: Point) -> None:
    read = engine.SqliteEngine.read

    async def wrapped(self: engine.SqliteEngine, query: str, **values: Any) -> Any:
        if query not in {"known", "get"}:
            return await read(self, query, **values)
        if not point.is_due():
            raise StoreUnavailableError("disk I/O error")
        engine.SqliteEngine.read = read  # type: ignore[method-assign]
        return await read(self, query, **values)

    engine.SqliteEngine.read = wrapped  # type: ignore[method-assign]


def _set_commit_point(how: str, verb_name: str, point: Point) -> None:
    write = Store.write

    def failing_connect(*args: Any, **kwargs: Any) -> Any:
        return _FailingDisk(connect(*args, **kwargs), how)

    def wrapped(self: Store, verb: Callable[..., Any], *args: Any, **kwargs: Any) -> asyncio.Future[Any]:
        if verb.__name__.lstrip("_") != verb_name or not point.is_due():
            return write(self, verb, *args, **kwargs)

        def last_verb(tx: Any, *args: Any, **kwargs: Any) -> Any:
            tx._connection.due = True
            return verb(tx, *args, **kwargs)

        return write(self, last_verb, *args, **kwargs)

    engine.connect = failing_connect  # type: ignore[attr-defined]
    Store.write = wrapped  # type: ignore[method-assign]


def main() -> None:
    how, name = os.environ.pop("CRASH_AT").split()
    owner_name, method_name = name.split(".")
    point = Point(int(os.environ.pop("CRASH_AFTER", "0")), int(os.environ.pop("CRASH_BY", signal.SIGKILL)))
    if owner_name != "store":
        owner = OWNERS[owner_name]
        setattr(owner, method_name, _crashing(getattr(owner, method_name), how, point))
    elif how in {"before", "after"}:
        _set_write_point(how, method_name, point)
    else:
        _set_commit_point(how, method_name, point)
    module = sys.argv.pop(1)
    importlib.import_module(f"{module}.__main__").main()


if __name__ == "__main__":
    main()
