"""A whole taskqueue inside the test's process: a real store, the real memory broker, the API, real workers."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from aiohttp import ClientResponse
from aiohttp.test_utils import TestClient, TestServer
from tests.conformance.waiting import PATIENCE, eventually
from yarl import URL

from taskqueue.broker import Broker, Consumer
from taskqueue.broker.memory import MemoryBroker
from taskqueue.log_lines import log_happening
from taskqueue.settings import Settings
from taskqueue.store import Store, now_ms, open_store
from taskqueue.store.engine.protocol import Clock
from taskqueue.task import FINAL, Status
from taskqueue.telemetry import Telemetry
from taskqueue_api.app import build_app
from taskqueue_api.http.protocol import Runner
from taskqueue_migrate.runner import migrate
from taskqueue_worker.beside import Beside
from taskqueue_worker.worker import work

#: The actions that ship, and those of these tests.
HANDLERS = "handlers,tests.integration.actions"

#: Seconds until a worker must have stopped.
STOP_LIMIT = 20


def quick_settings(folder: Path, **values: Any) -> Settings:
    """Settings whose waits are short, on a folder of the test's own."""
    quick: dict[str, Any] = {
        "data_dir": folder,
        "handlers": HANDLERS,
        "relay_interval": 0.02,
        "retry_base": 0.01,
        "lease": 1,
        "drain_timeout": 5,
        "publish_timeout": 0.5,
        "write_timeout": 1,
    }
    return Settings(**quick | values)


class Server(TestServer):
    """Serves as `serving` does. Handlers go on when their clients leave: aiohttp's test server cancels them."""

    async def _make_runner(self, **options: Any) -> Runner:
        return Runner(self.app, **options | {"handler_cancellation": False})


class WatchedBroker(MemoryBroker):
    """The real memory broker, whose consumers a test can see."""

    def __init__(self) -> None:
        super().__init__()
        self.consumers: list[Consumer] = []

    @contextlib.asynccontextmanager
    async def consume(self, prefetch: int) -> AsyncIterator[Any]:
        async with super().consume(prefetch) as consumer:
            self.consumers.append(consumer)
            yield consumer


@dataclass
class Answer:
    """What a request was answered."""

    status: int
    body: Any
    headers: dict[str, str]

    @classmethod
    async def read(cls, response: ClientResponse) -> Self:
        assert response.content_type == "application/json", await response.text()
        return cls(response.status, await response.json(), dict(response.headers))


@dataclass
class Worker:
    """A worker that runs in this process."""

    stopping: asyncio.Event
    running: asyncio.Task[None]

    async def stop(self) -> None:
        """Tell it to stop, and return when it has; raises what ended it."""
        self.stopping.set()
        async with asyncio.timeout(STOP_LIMIT):
            await self.running


@contextlib.asynccontextmanager
async def working(
    settings: Settings, store: Store, broker: Broker, telemetry: Telemetry, beside: Beside | None = None
) -> AsyncIterator[Worker]:
    """A worker in this process; it is stopped at the end."""
    stopping = asyncio.Event()
    worker = Worker(
        stopping, asyncio.create_task(work(settings, store, broker, telemetry, stopping, beside=beside))
    )
    try:
        yield worker
    finally:
        if not worker.running.done():
            await worker.stop()


@dataclass
class System:
    """The API, over a store and a broker. Workers are started by the test."""

    settings: Settings
    store: Store
    broker: Broker
    telemetry: Telemetry
    client: TestClient[Any, Any]

    @classmethod
    @contextlib.asynccontextmanager
    async def open(
        cls, settings: Settings, broker: Broker | None = None, clock: Clock = now_ms
    ) -> AsyncIterator[Self]:
        migrate(settings.database)
        telemetry = Telemetry(log_happening)
        async with (
            open_store(
                settings.database, write_timeout=settings.write_timeout, telemetry=telemetry, clock=clock
            ) as store,
            broker or MemoryBroker() as started,
            TestClient(Server(build_app(settings, store, started, telemetry))) as client,
        ):
            yield cls(settings, store, started, telemetry, client)

    # Requests

    async def request(self, method: str, path: str | URL, **options: Any) -> Answer:
        async with self.client.request(method, path, **options) as response:
            return await Answer.read(response)

    async def get(self, path: str | URL, **options: Any) -> Answer:
        return await self.request("GET", path, **options)

    async def post(self, path: str, **options: Any) -> Answer:
        return await self.request("POST", path, **options)

    async def submit(self, action: str, data: dict[str, Any] | None = None, **members: Any) -> str:
        """Submit a task, and return its id."""
        answer = await self.post("/tasks", json={"action": action, "data": data or {}} | members)
        assert answer.status == 202, answer
        return str(answer.body["id"])

    async def task(self, id: str) -> dict[str, Any]:
        answer = await self.get(f"/tasks/{id}")
        assert answer.status == 200, answer
        return dict(answer.body)

    async def count(self) -> int:
        return len((await self.get("/tasks?limit=1000")).body["tasks"])

    async def until(self, id: str, *statuses: Status) -> dict[str, Any]:
        """Wait until the task has one of these statuses (a final one, if none is named), and return it."""
        task: dict[str, Any] = {}

        async def reached() -> bool:
            nonlocal task
            task = await self.task(id)
            return task["status"] in (statuses or FINAL)

        await eventually(reached)
        return task

    async def attempts_ended(self, id: str, count: int) -> bool:
        return [attempt["ended_at"] is not None for attempt in (await self.task(id))["attempts"]] == [True] * count

    async def told(self, kind: type) -> None:
        """Wait until something of a kind happens."""
        happened = asyncio.Event()
        self.telemetry.listen(lambda happening: happened.set() if isinstance(happening, kind) else None)
        async with asyncio.timeout(PATIENCE):
            await happened.wait()

    # Workers

    async def beats(self, count: int) -> None:
        """Wait until each worker has beaten so often again: whatever it would have done by then, it has done."""
        before = await self.store.reads.worker_beats()
        assert before

        async def beaten() -> bool:
            now = await self.store.reads.worker_beats()
            return all(now[worker] >= beat + count for worker, beat in before.items())

        await eventually(beaten)

    @contextlib.asynccontextmanager
    async def worker(self, beside: Beside | None = None, **values: Any) -> AsyncIterator[Worker]:
        """A worker on the same store and broker, with its own settings; it is stopped at the end."""
        settings = self.settings.model_copy(update=values)
        async with working(settings, self.store, self.broker, self.telemetry, beside) as worker:
            yield worker
