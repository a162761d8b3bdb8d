"""A taskqueue inside the test's process, for faults that need no process to be killed: a real store, a queue in
memory, an intake, workers."""

import contextlib
import uuid
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self, TypeVar

from tests.faults.cluster import RECORDER, WRONG_COUNTS, until
from tests.integration import actions
from tests.integration.store.given import claiming
from tests.integration.system import Worker, working

from taskqueue.broker.memory import MemoryBroker
from taskqueue.intake import Accepted, Intake
from taskqueue.message import Message, Priority, encode
from taskqueue.settings import Settings
from taskqueue.store import Store, WorkerInfo, now_ms, open_store
from taskqueue.store.engine.sqlite.connection import connect
from taskqueue.store.workers import beat
from taskqueue.task import FINAL, Claim, NewTask, Task
from taskqueue.telemetry import Telemetry
from taskqueue_migrate.runner import migrate

T = TypeVar("T")


class Clock:
    """The wall clock, in Unix milliseconds, moved by hand."""

    def __init__(self) -> None:
        self.offset = 0

    def __call__(self) -> int:
        return now_ms() + self.offset


def new_task(action: str = "echo", data: dict[str, Any] | None = None, **changes: Any) -> NewTask:
    """A task that is due."""
    id, now = str(uuid.uuid4()), now_ms()
    values: dict[str, Any] = {"run_at": now, "priority": Priority.NORMAL, "max_attempts": 3, "timeout": None}
    payload = encode(Message(id, action, data or {}, now / 1000))
    return NewTask(id=id, action=action, payload=payload, created_at=now, **values | changes)


@dataclass
class Local:
    """Opened with no worker: the test starts what it needs."""

    settings: Settings
    store: Store
    broker: MemoryBroker
    clock: Clock
    telemetry: Telemetry = field(default_factory=Telemetry)
    #: What happened so far.
    told: list[Any] = field(default_factory=list)

    @classmethod
    @contextlib.asynccontextmanager
    async def open(cls, folder: Path, broker: MemoryBroker | None = None, **values: Any) -> AsyncIterator[Self]:
        quick: dict[str, Any] = {
            "data_dir": folder,
            # Of the tests that run in this process: an action is registered once.
            "handlers": "handlers,tests.integration.actions",
            "relay_interval": 0.05,
            "retry_base": 0.01,
            "lease": 1,
            "publish_timeout": 0.5,
            "write_timeout": 5,
            "drain_timeout": 5,
        }
        settings = Settings(**quick | values)
        migrate(settings.database)
        with contextlib.closing(connect(settings.database, busy_timeout=10)) as db:
            db.executescript(RECORDER)
        clock = Clock()
        async with (
            open_store(settings.database, write_timeout=settings.write_timeout, clock=clock) as store,
            broker or MemoryBroker() as queue,
        ):
            self = cls(settings, store, queue, clock)
            self.telemetry.listen(self.told.append)
            self.intake = Intake(settings, store, queue, self.telemetry)
            try:
                yield self
            finally:
                actions.forget()

    intake: Intake = field(init=False)

    def all_told(self, kind: type[T]) -> list[T]:
        """The happenings of a kind, so far."""
        return [happening for happening in self.told if isinstance(happening, kind)]

    @contextlib.asynccontextmanager
    async def worker(self, **values: Any) -> AsyncIterator[Worker]:
        """A worker with its own settings; it is stopped at the end."""
        settings = self.settings.model_copy(update=values)
        async with working(settings, self.store, self.broker, self.telemetry) as worker:
            yield worker

    async def submit(self, action: str = "echo", data: dict[str, Any] | None = None, **changes: Any) -> Accepted:
        accepted = await self.intake.accept([new_task(action, data, **changes)])
        assert isinstance(accepted, list)
        return accepted[0]

    async def add_worker(self, id: str = "w") -> str:
        """The row of a worker that is not there: what it claims is claimed by the test."""
        await self.store.write(beat, WorkerInfo(id, "host", 1, 1, 1, 0))
        return id

    async def claimed(self, id: str, worker: str = "w") -> Claim:
        """A claim that must succeed."""
        claim = await self.store.write(claiming, id, worker)
        assert isinstance(claim, Claim), claim
        return claim

    async def task(self, id: str) -> Task:
        task = await self.store.reads.get(id)
        assert task is not None
        return task

    async def outcomes(self, id: str) -> list[str | None]:
        """How the task's attempts ended."""
        return [attempt.outcome for attempt in (await self.task(id)).attempts]

    def rows(self, query: str, *values: Any) -> list[dict[str, Any]]:
        """Ask the database, as another process does."""
        with contextlib.closing(connect(self.settings.database, busy_timeout=10)) as db:
            return [dict(row) for row in db.execute(query, values)]

    def row(self, id: str) -> dict[str, Any]:
        [row] = self.rows("SELECT * FROM task WHERE id = ?", id)
        return row

    def is_final(self, *ids: str) -> Callable[[], bool]:
        """A condition: all these tasks are final."""
        return lambda: all(self.row(id)["status"] in FINAL for id in ids)

    async def until_taken(self) -> None:
        """Wait until slots have all messages."""

        async def taken() -> bool:
            return await self.broker.ready_count() == 0

        await until(taken, "the messages to be taken")

    async def until_stopping(self) -> None:
        """Wait until all slots have heard of the stop."""
        await until(lambda: not any(it.attached for it in self.broker._consumers), "the slots to stop")

    def check(self) -> None:
        """Every final task was recorded once, and the counters are right."""
        final = self.rows("SELECT id, status FROM task WHERE processed_at IS NOT NULL ORDER BY id")
        assert self.rows("SELECT id, status FROM recordings ORDER BY id") == final
        assert not self.rows(WRONG_COUNTS)
