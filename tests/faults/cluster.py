"""A taskqueue of real processes over a real RabbitMQ, with what faults are done to and the oracle after them."""

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self
from uuid import uuid4

import aiohttp
from tests.conformance.server import RabbitServer, free_port

from taskqueue.store.engine.sqlite.connection import Connection, connect
from taskqueue.task import FINAL
from taskqueue_migrate.runner import migrate

ROOT = Path(__file__).parents[2]

#: Leases and timeouts, in seconds, scaled down so that the suite is quick.
LEASE = 2.0
SETTINGS = {
    "LEASE": LEASE,
    "DISPATCH_LEASE": 3,
    "PUBLISH_TIMEOUT": 0.5,
    "WRITE_TIMEOUT": 1.5,
    "RELAY_INTERVAL": 0.2,
    "GIVE_BACK_AFTER": 0.5,
    "RECONCILE_AFTER": 2,
    "RETRY_BASE": 0.1,
    "RETRY_CAP": 1,
    "DRAIN_TIMEOUT": 5,
    "MAX_ATTEMPTS": 10,
    "HANDLERS": "tests.faults.actions",
    "LOG_FORMAT": "text",
}

#: What the ledger has counted, where it is not what there is.
WRONG_COUNTS = """
SELECT status, tasks FROM status_counts
WHERE tasks <> (SELECT count(*) FROM task WHERE task.status = status_counts.status)
"""

#: Seconds until a test gives up waiting for what should happen.
PATIENCE = float(os.environ.get("FAULTS_PATIENCE", "60"))

#: A row each time that a task's status becomes final: no UNIQUE, so that a double shows.
RECORDER = """
CREATE TABLE IF NOT EXISTS recordings (id TEXT NOT NULL, status TEXT NOT NULL) STRICT;
CREATE TRIGGER record AFTER UPDATE OF status ON task WHEN NEW.status IN ('completed', 'failed', 'cancelled')
BEGIN INSERT INTO recordings VALUES (NEW.id, NEW.status); END;
"""


@dataclass
class Process:
    """A process of the cluster's."""

    name: str
    handle: asyncio.subprocess.Process
    log: Path

    def send(self, number: int) -> None:
        self.handle.send_signal(number)

    async def kill(self) -> None:
        """SIGKILL, and wait for the end."""
        if self.handle.returncode is None:
            self.handle.kill()
        await self.handle.wait()

    async def ended(self) -> int:
        """Its exit code, once it ends by itself."""
        async with asyncio.timeout(PATIENCE):
            return await self.handle.wait()

    async def stop(self) -> int:
        """SIGTERM, and its exit code."""
        self.send(signal.SIGTERM)
        return await self.ended()

    async def stopped(self) -> None:
        """Wait until a SIGSTOP has taken effect."""
        stat = Path(f"/proc/{self.handle.pid}/stat")
        await until(lambda: stat.read_text().rpartition(")")[2].split()[0] == "T", f"{self.name} to be stopped")

    async def says(self, text: str) -> None:
        """Wait until its log has a line with this text."""
        await until(lambda: text in self.log.read_text(), f"{self.name} to log {text!r}")


@dataclass
class Cluster:
    """Started with nothing running: the test starts what it needs."""

    server: RabbitServer
    folder: Path
    url: str = ""
    queue: str = field(default_factory=lambda: f"faults-{uuid4().hex[:12]}")
    port: int = field(default_factory=free_port)
    #: What was accepted: the id, and the `output` that its result must have (None: any, or no result).
    accepted: dict[str, Any] = field(default_factory=dict)
    #: The final statuses that each task was given, as far as they were taken out of the database.
    recorded: dict[str, list[str]] = field(default_factory=dict)
    processes: list[Process] = field(default_factory=list)
    #: How many, those included that are on their way: each has a log of its own.
    started: int = 0

    @classmethod
    @contextlib.asynccontextmanager
    async def open(cls, server: RabbitServer, folder: Path) -> AsyncIterator[Self]:
        """With a database of the present schema, but for a `folder` that has one."""
        self = cls(server, folder, server.url)
        if not self.database.exists():
            self.database.parent.mkdir(exist_ok=True)
            migrate(self.database)
            with contextlib.closing(self.connect()) as db:
                db.executescript(RECORDER)
        async with aiohttp.ClientSession(
            f"http://127.0.0.1:{self.port}", timeout=aiohttp.ClientTimeout(PATIENCE)
        ) as self.http:
            try:
                yield self
            finally:
                for process in self.processes:
                    await process.kill()

    http: aiohttp.ClientSession = field(init=False)

    @property
    def database(self) -> Path:
        return self.folder / "data" / "tasks.db"

    def connect(self) -> Connection:
        return connect(self.database, busy_timeout=10)

    # Processes

    async def start(
        self,
        module: str,
        *arguments: str,
        crash_at: str | None = None,
        crash_after: int = 0,
        crash_by: int = signal.SIGKILL,
        sources: tuple[Path, ...] = (),
        **settings: Any,
    ) -> Process:
        """Start a program; `crash_at` and so on as in `crashing.py`, settings by their lower-case names.

        Args:
            sources: folders to import it from, if not from this version's.
        """
        env = {f"TASKQUEUE_{name}": str(value) for name, value in SETTINGS.items()}
        env |= {
            "TASKQUEUE_DATA_DIR": str(self.folder / "data"),
            "TASKQUEUE_BROKER_URL": self.url,
            "TASKQUEUE_QUEUE": self.queue,
            "TASKQUEUE_PORT": str(self.port),
            "PYTHONPATH": os.pathsep.join([*map(str, sources), str(ROOT), os.environ.get("PYTHONPATH", "")]),
        }
        env |= {f"TASKQUEUE_{name.upper()}": str(value) for name, value in settings.items()}
        command = ["-m", module]
        if crash_at:
            env |= {"CRASH_AT": crash_at, "CRASH_AFTER": str(crash_after), "CRASH_BY": str(int(crash_by))}
            command = ["-m", "tests.faults.crashing", module]
        self.started += 1
        name = f"{module}-{self.started}"
        log = self.folder / f"{name}.log"
        with log.open("wb") as output:
            handle = await asyncio.create_subprocess_exec(
                sys.executable,
                *command,
                *arguments,
                env=os.environ | env,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        process = Process(name, handle, log)
        self.processes.append(process)
        return process

    async def start_api(self, **options: Any) -> Process:
        """Start an API, and return once it serves and is connected to the broker."""
        api = await self.start("taskqueue_api", **options)
        await self.until_ready(api)
        return api

    async def until_ready(self, api: Process, broker: str = "connected") -> None:
        """Wait until the API tells this state of the broker."""

        async def ready() -> bool:
            assert api.handle.returncode is None, api.log.read_text()
            try:
                async with self.http.get("/readyz") as response:
                    return (await response.json())["broker"] == broker
            except (aiohttp.ClientError, KeyError):
                return False

        await until(ready, f"the API to be ready with a broker {broker}")

    async def start_worker(self, **options: Any) -> Process:
        """Start a worker, and return once it has started to consume."""
        worker = await self.start("taskqueue_worker", **options)
        await worker.says("worker started")
        return worker

    # Tasks

    async def submit(self, action: str = "echo", *, expect: Any = None, **body: Any) -> str | None:
        """POST a task; its id where it was accepted, None where it was not (any error, or no answer)."""
        try:
            async with self.http.post("/tasks", json={"action": action} | body) as response:
                answer = await response.json()
                if response.status != 202:
                    return None
        except (aiohttp.ClientError, TimeoutError):
            return None
        id = str(answer["id"])
        self.accepted[id] = expect
        return id

    async def must_submit(self, action: str = "echo", *, expect: Any = None, **body: Any) -> str:
        id = await self.submit(action, expect=expect, **body)
        assert id is not None, "a POST was not accepted"
        return id

    async def echo(self, count: int, *, concurrency: int = 20, seconds: float = 0, **body: Any) -> None:
        """POST `count` echo tasks, several at a time; those that are not accepted are nobody's."""
        numbers = iter(range(count))

        async def client() -> None:
            for number in numbers:
                await self.submit("echo", expect=number, data={"value": number, "seconds": seconds}, **body)

        await asyncio.gather(*(client() for _ in range(concurrency)))

    async def get(self, id: str) -> dict[str, Any]:
        async with self.http.get(f"/tasks/{id}") as response:
            answer: dict[str, Any] = await response.json()
            assert response.status == 200, answer
            return answer

    async def cancel(self, id: str) -> int:
        async with self.http.post(f"/tasks/{id}/cancel") as response:
            return response.status

    def rows(self, query: str, *values: Any, **named: Any) -> list[dict[str, Any]]:
        """Ask the database itself, which answers also when the API doesn't."""
        with contextlib.closing(self.connect()) as db:
            return [dict(row) for row in db.execute(query, named or values)]

    def row(self, id: str) -> dict[str, Any]:
        [row] = self.rows("SELECT * FROM task WHERE id = ?", id)
        return row

    def outcomes(self, id: str) -> list[str | None]:
        """How the task's attempts ended."""
        earlier = "SELECT outcome FROM attempts JOIN task ON seq = task_seq WHERE id = ? ORDER BY number"
        last = "SELECT attempt_outcome AS outcome FROM task WHERE id = ? AND attempt_started IS NOT NULL"
        return [row["outcome"] for row in self.rows(earlier, id) + self.rows(last, id)]

    def attempts_with(self, outcome: str) -> int:
        """How many attempts of all tasks ended so."""
        query = """
            SELECT (SELECT count(*) FROM attempts WHERE outcome = :outcome)
                 + (SELECT count(*) FROM task WHERE attempt_outcome = :outcome) AS n
        """
        return int(self.rows(query, outcome=outcome)[0]["n"])

    async def until_status(self, id: str, *statuses: str) -> None:
        await until(lambda: self.row(id)["status"] in statuses, f"{id} to be {' or '.join(statuses)}")

    async def until_final(self, patience: float = PATIENCE) -> None:
        """Wait until all that was accepted is final."""

        def left() -> int:
            query = "SELECT count(*) AS n FROM task WHERE status NOT IN ('completed', 'failed', 'cancelled')"
            return int(self.rows(query)[0]["n"])

        await until(lambda: left() == 0, lambda: f"{left()} tasks to become final", patience)

    # The oracle

    def take_recordings(self) -> None:
        """Take what the trigger has recorded out of the database, which would grow by it."""
        for row in self.rows("DELETE FROM recordings RETURNING id, status"):
            self.recorded.setdefault(row["id"], []).append(row["status"])

    async def keeps_the_promise(self, patience: float = PATIENCE, *, deleted: bool = False) -> None:
        """Wait until every task is final, then hold everything against the promise.

        Args:
            patience: seconds to wait for it.
            deleted: whether final tasks have been deleted meanwhile; their results can't be seen any more.
        """
        await self.until_final(patience)
        tasks = {row["id"]: row for row in self.rows("SELECT * FROM task")}
        self.take_recordings()
        missing = self.accepted.keys() - (self.recorded.keys() if deleted else tasks.keys())
        assert not missing, f"accepted and lost: {missing}"
        for id, statuses in self.recorded.items():
            assert len(statuses) == 1, f"{id} was recorded {statuses}"
        for id, task in tasks.items():
            assert task["status"] in FINAL
            assert self.recorded.get(id) == [task["status"]], f"{id} was recorded {self.recorded.get(id)}"
            expected = self.accepted.get(id)
            if expected is not None:
                assert task["status"] == "completed", task
                assert json.loads(task["result"])["output"] == expected, task
        [check] = self.rows("PRAGMA integrity_check")
        assert check["integrity_check"] == "ok"
        open_attempts = """
            SELECT seq FROM task WHERE attempt_started IS NOT NULL AND attempt_outcome IS NULL
            UNION ALL SELECT task_seq FROM attempts WHERE outcome IS NULL
        """
        assert not self.rows(open_attempts), "an attempt of a final task has not ended"
        assert not self.rows(WRONG_COUNTS), "the counters are not those of the tasks"


async def until(condition: Callable[[], Any], what: str | Callable[[], str], patience: float = PATIENCE) -> None:
    """Wait for something outside this process, which has no event to wait for.

    Raises:
        AssertionError: it did not come about in time.
    """
    try:
        async with asyncio.timeout(patience):
            while True:
                holds = condition()
                if asyncio.iscoroutine(holds):
                    holds = await holds
                if holds:
                    return
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise AssertionError(f"waited {patience} s for {what() if callable(what) else what}") from None
