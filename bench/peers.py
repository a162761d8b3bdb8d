"""What stands beside taskqueue, started: the floor, and peers that do the same job behind aiohttp."""

import sys
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.processes import running
from bench.rabbitmq import RabbitMQ
from bench.system import ByRows, StartWorker, free_port, until_answers

_ROOT = Path(__file__).parents[1]
#: Has the peers installed, which taskqueue doesn't need.
_PEERS_PYTHON = _ROOT / ".venv-bench" / "bin" / "python"


@dataclass(frozen=True)
class Peer:
    """An API and a worker of `bench.programs`."""

    python: Path
    #: What follows `python -m`.
    api: tuple[str, ...]
    worker: tuple[str, ...]
    select_ids: str = "SELECT id FROM results"

    def __call__(self, broker: RabbitMQ, folder: Path) -> AbstractAsyncContextManager[ByRows]:
        return self._running(broker, folder)

    @asynccontextmanager
    async def _running(self, broker: RabbitMQ, folder: Path) -> AsyncIterator[ByRows]:
        async with self.accepting(broker, folder) as (system, start_worker):
            await start_worker()
            yield system

    @asynccontextmanager
    async def accepting(self, broker: RabbitMQ, folder: Path) -> AsyncIterator[tuple[ByRows, StartWorker]]:
        """With its API only, until its worker is started."""
        port = free_port()
        (folder / "data").mkdir(exist_ok=True)
        database = folder / "data" / "results.db"
        python = [str(self.python), "-m"]
        async with broker.virtual_host() as url, AsyncExitStack() as stack:
            env = {
                "PYTHONPATH": str(_ROOT),
                "BENCH_URL": url,
                "BENCH_DATABASE": str(database),
                "BENCH_PORT": str(port),
            }
            api = await stack.enter_async_context(
                running("API", [*python, *self.api], log=folder / "api.log", env=env, cwd=folder)
            )
            await until_answers(port, "/tasks/0", api, lambda _: True)
            system = ByRows(port, database, [api], self.select_ids)

            async def start_worker() -> None:
                worker = running("worker", [*python, *self.worker], log=folder / "worker.log", env=env, cwd=folder)
                system.processes.append(await stack.enter_async_context(worker))

            yield system, start_worker


FLOOR = Peer(Path(sys.executable), ("bench.programs.floor", "api"), ("bench.programs.floor", "worker"))
TASKIQ = Peer(
    _PEERS_PYTHON,
    ("bench.programs.taskiq_peer",),
    (
        *("taskiq", "worker", "bench.programs.taskiq_peer:broker", "--workers=1", "--max-async-tasks=10"),
        *("--ack-type=when_executed", "--log-level=WARNING"),
    ),
)
CELERY = Peer(
    _PEERS_PYTHON,
    ("bench.programs.celery_peer",),
    (
        *("celery", "--app=bench.programs.celery_peer", "worker", "--concurrency=2"),
        *("--without-gossip", "--without-mingle", "--without-heartbeat"),
    ),
    "SELECT task_id FROM celery_taskmeta WHERE status = 'SUCCESS'",
)
