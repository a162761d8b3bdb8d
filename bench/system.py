"""What is measured: a task queue behind HTTP, as its processes."""

import asyncio
import json
import secrets
import socket
import time
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Iterable
from contextlib import AbstractAsyncContextManager, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from bench.load import RefusedError, ask, connected, get, post
from bench.processes import FailedError, Process
from bench.rabbitmq import RabbitMQ
from bench.sqlite import sqlite3

#: The task of every measurement.
TASK = b'{"action": "uppercase", "data": {"text": "hello world"}}'
OUTPUT = "HELLO WORLD"
SUBMIT = post("/tasks", TASK)
#: So many of them in one request.
BATCH = 1000
SUBMIT_BATCH = post("/tasks/batch", b'{"tasks": [' + b", ".join([TASK] * BATCH) + b"]}")
#: It is answered once the task is final.
SUBMIT_AND_WAIT = post("/tasks", TASK, "Prefer: wait=60\r\n")

#: Seconds that a system may take to start, and between two tasks that become final.
PATIENCE = 60
#: Results that are read by GET to see that they are right.
_SAMPLE = 20


@dataclass
class System(ABC):
    """One that runs, and accepts `POST /tasks` and `GET /tasks/<id>` on a port of the loopback address."""

    port: int
    #: Of the SQLite file with its results.
    database: Path
    processes: list[Process]

    @abstractmethod
    async def count_final(self) -> int:
        """How many of its tasks are final."""

    @abstractmethod
    async def check(self, ids: Iterable[str]) -> None:
        """Raise FailedError unless all of these are final, with the right result."""

    def must_run(self) -> None:
        """Raise FailedError if a process has ended."""
        for process in self.processes:
            process.must_run()


@dataclass
class ByRows(System):
    """One that keeps a row for each final task, in a table `results` or as `select_ids` tells."""

    select_ids: str = "SELECT id FROM results"

    async def count_final(self) -> int:
        [(count,)] = self._rows(f"SELECT count(*) FROM ({self.select_ids})")  # noqa: S608
        return int(count)

    async def check(self, ids: Iterable[str]) -> None:
        accepted = list(ids)
        must_hold(accepted, (id for (id,) in self._rows(self.select_ids)))
        async with connected(self.port) as [connection]:
            for id in accepted[:: len(accepted) // _SAMPLE + 1]:
                status, body = await ask(connection, get(f"/tasks/{id}"))
                if status != 200 or json.loads(body)["result"] != {"output": OUTPUT}:
                    raise FailedError(f"GET /tasks/{id}: {status} {body!r}")

    def _rows(self, query: str) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(f"file:{self.database}?mode=ro", uri=True)) as connection:
            return connection.execute(query).fetchall()


class Start(Protocol):
    """Starts a system on an empty or a filled folder."""

    def __call__(self, broker: RabbitMQ, folder: Path) -> AbstractAsyncContextManager[System]: ...


StartWorker = Callable[[], Awaitable[None]]


class Accepting(Protocol):
    """What can be started with its API only."""

    def accepting(self, broker: RabbitMQ, folder: Path) -> AbstractAsyncContextManager[tuple[System, StartWorker]]:
        """The system, and how to add a worker to it."""


def free_port() -> int:
    """A port of the loopback address that nobody listens on, from below those that Linux gives to connections."""
    while True:
        port = 20_000 + secrets.randbelow(12_000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


async def until_answers(port: int, path: str, process: Process, fits: Callable[[bytes], bool]) -> None:
    """Wait until a GET is answered 200 with a body that fits."""
    async with asyncio.timeout(PATIENCE):
        while True:
            process.must_run()
            try:
                async with connected(port) as [connection]:
                    status, body = await ask(connection, get(path))
                    if status == 200 and fits(body):
                        return
            except (OSError, RefusedError):
                pass
            await asyncio.sleep(0.005)


async def until_final(system: System, wanted: int) -> None:
    """Wait until so many of its tasks are final; it looks seldom, so that looking costs little.

    Raises:
        FailedError: none became final for a while, or a process ended.
    """
    began = moved = time.monotonic()
    first = last = await system.count_final()
    while last < wanted:
        now = time.monotonic()
        rate = (last - first) / (now - began) if last > first else 0
        await asyncio.sleep(min(1.0, max(0.01, (wanted - last) / rate / 4)) if rate else 0.05)
        system.must_run()
        count = await system.count_final()
        if count > last:
            last, moved = count, time.monotonic()
        elif time.monotonic() - moved > PATIENCE:
            logs = "\n".join(f"{process.role}:\n{process.last_lines()}" for process in system.processes)
            raise FailedError(f"{wanted - last} of {wanted} tasks stay without a result:\n{logs}")


def must_hold(ids: Iterable[str], final: Iterable[str]) -> None:
    """Raise FailedError unless all that were accepted are final."""
    if missing := set(ids) - set(final):
        raise FailedError(f"{len(missing)} accepted tasks have no result, {min(missing)} for one")


def size(database: Path) -> int:
    """Bytes of a SQLite file that nobody writes, its write-ahead log worked in."""
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return database.stat().st_size
