"""taskqueue itself, in its several set-ups, from this folder or from an older state of it."""

import asyncio
import json
import sys
import tarfile
from collections.abc import AsyncIterator, Iterable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.load import ask, connected, get
from bench.processes import FailedError, run, running
from bench.rabbitmq import RabbitMQ
from bench.system import OUTPUT, StartWorker, System, free_port, must_hold, until_answers

#: Where packages lie in a checkout; a folder that a state does not have is left out.
_FOLDERS = ("shared", "services/api", "services/worker", "services/migrate", "services/embedded")

#: Tasks of a page that is read to check them: the most that there are.
_PAGE = 1000


@dataclass
class Taskqueue(System):
    """It is asked by its own API, so that it may keep its tasks as it likes."""

    async def count_final(self) -> int:
        tasks = (await self._get("/stats?minutes=1"))["tasks"]
        if tasks["failed"] or tasks["cancelled"]:
            raise FailedError(f"tasks have failed: {tasks}")
        return int(tasks["completed"])

    async def check(self, ids: Iterable[str]) -> None:
        tasks = await self.newest(set(ids))
        must_hold(ids, tasks)
        for task in tasks.values():
            if task["status"] != "completed" or task["result"] != {"output": OUTPUT}:
                raise FailedError(f"a task has another result than it should: {task}")

    async def newest(self, ids: set[str]) -> dict[str, dict[str, Any]]:
        """Those of the tasks that are there, by id; it reads pages from the newest task on until it has all."""
        found: dict[str, dict[str, Any]] = {}
        cursor = ""
        while len(found) < len(ids):
            page = await self._get(f"/tasks?limit={_PAGE}{cursor}")
            found |= {task["id"]: task for task in page["tasks"] if task["id"] in ids}
            if "next" not in page:
                break
            cursor = f"&cursor={page['next']}"
        return found

    async def count_workers(self) -> int:
        return int((await self._get("/workers"))["count"])

    async def _get(self, path: str) -> Any:
        async with connected(self.port) as [connection]:
            status, body = await ask(connection, get(path))
            if status != 200:
                raise FailedError(f"GET {path}: {status} {body!r}")
            return json.loads(body)


@dataclass(frozen=True)
class Code:
    """A checkout whose programs are run."""

    root: Path

    def command(self, module: str) -> list[str]:
        return [sys.executable, "-m", module]

    def environment(self, **settings: object) -> dict[str, str]:
        """Of a program of it: its packages come before those that are installed."""
        paths = ":".join(str(self.root / folder) for folder in _FOLDERS if (self.root / folder).is_dir())
        values = {"LOG_FORMAT": "json"} | {name.upper(): str(value) for name, value in settings.items()}
        return {"PYTHONPATH": paths} | {f"TASKQUEUE_{name}": value for name, value in values.items()}

    @property
    def embedded(self) -> str:
        """The module that is the embedded mode."""
        of_its_own = (self.root / "services/embedded").is_dir()
        return "taskqueue_embedded" if of_its_own else "taskqueue_api.embedded"


@dataclass(frozen=True)
class WithRabbitMQ:
    """API and workers over RabbitMQ."""

    code: Code
    workers: int = 1
    consumers: int = 2

    def __call__(self, broker: RabbitMQ, folder: Path) -> AbstractAsyncContextManager[Taskqueue]:
        return self._running(broker, folder)

    @asynccontextmanager
    async def _running(self, broker: RabbitMQ, folder: Path) -> AsyncIterator[Taskqueue]:
        async with self.accepting(broker, folder) as (system, start_worker):
            for _ in range(self.workers):
                await start_worker()
            while await system.count_workers() < self.workers:
                system.must_run()
                await asyncio.sleep(0.02)
            yield system

    @asynccontextmanager
    async def accepting(self, broker: RabbitMQ, folder: Path) -> AsyncIterator[tuple[Taskqueue, StartWorker]]:
        """With its API only, until workers are started."""
        port = free_port()
        async with broker.virtual_host() as url, AsyncExitStack() as stack:
            env = self.code.environment(
                data_dir=folder / "data", broker_url=url, port=port, consumers=self.consumers
            )
            (folder / "data").mkdir(exist_ok=True)
            await run(self.code.command("taskqueue_migrate"), log=folder / "migrate.log", env=env, cwd=folder)
            command = self.code.command("taskqueue_api")
            api = await stack.enter_async_context(
                running("API", command, log=folder / "api.log", env=env, cwd=folder)
            )
            await until_answers(port, "/readyz", api, lambda body: json.loads(body)["broker"] == "connected")
            system = Taskqueue(port, folder / "data" / "tasks.db", [api])

            async def start_worker() -> None:
                log = folder / f"worker-{len(system.processes)}.log"
                command = self.code.command("taskqueue_worker")
                worker = running("worker", command, log=log, env=env, cwd=folder)
                system.processes.append(await stack.enter_async_context(worker))

            yield system, start_worker


@dataclass(frozen=True)
class Embedded:
    """All in one process."""

    code: Code
    consumers: int = 2
    auth: str = "off"

    def __call__(self, broker: RabbitMQ, folder: Path) -> AbstractAsyncContextManager[Taskqueue]:
        return self.on(folder)

    @asynccontextmanager
    async def on(self, folder: Path) -> AsyncIterator[Taskqueue]:
        """It needs no broker."""
        port = free_port()
        env = self.code.environment(data_dir=folder / "data", port=port, consumers=self.consumers, auth=self.auth)
        command = self.code.command(self.code.embedded)
        async with running("embedded", command, log=folder / "embedded.log", env=env, cwd=folder) as process:
            await until_answers(port, "/readyz", process, lambda _: True)
            yield Taskqueue(port, folder / "data" / "tasks.db", [process])


async def code_at(ref: str, folder: Path) -> Code:
    """The repository's state at a git ref, written into a folder.

    Raises:
        FailedError: there is no such ref.
    """
    root, archive = folder / "before", folder / "before.tar"
    git = await asyncio.create_subprocess_exec(
        *("git", "archive", "--output", str(archive), ref), stderr=asyncio.subprocess.PIPE
    )
    _, errors = await git.communicate()
    if git.returncode:
        raise FailedError(f"git archive {ref}: {errors.decode().strip()}")
    with tarfile.open(archive) as tar:
        tar.extractall(root, filter="data")
    # An older state has another name to install it by, and asks for its version.
    metadata = root / "shared" / "taskqueue-0.1.0.dist-info" / "METADATA"
    metadata.parent.mkdir()
    metadata.write_text("Metadata-Version: 2.1\nName: taskqueue\nVersion: 0.1.0\n")
    return Code(root)
