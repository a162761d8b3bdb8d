"""What the simulated processes run: the product's own parts, put together as its programs do, without sockets."""

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import Any, TypeVar

from tests.simulation.broker import SimulatedBroker
from tests.simulation.database import Database
from tests.simulation.loop import Process
from tests.simulation.server import Server
from tests.simulation.threads import OneThread, take_steps

from taskqueue.dispatch import demote_when_the_queue_was_lost
from taskqueue.intake import Intake
from taskqueue.process import FatalError
from taskqueue.settings import Settings
from taskqueue.store import (
    CommitUnknownError,
    IdempotentRequest,
    Replay,
    Store,
    StoreError,
    open_store,
    verbs,
)
from taskqueue.task import FINAL, NewTask, Status
from taskqueue.telemetry import Telemetry
from taskqueue_api.live.watcher import Watcher
from taskqueue_worker.beside import Beside
from taskqueue_worker.worker import work

T = TypeVar("T")

#: The time at the beginning, in Unix seconds.
EPOCH = 1_800_000_000


class RefusedError(Exception):
    """A request was answered 503."""


class UnansweredError(Exception):
    """A connection ended without an answer: nobody knows what became of the request."""


@dataclass
class Host:
    """What the processes of a run have in common."""

    settings: Settings
    database: Database
    server: Server
    #: Takes note of what a process tells.
    tell: Callable[[Process, object], None]
    #: The APIs that serve now.
    apis: "list[Api]" = field(default_factory=list)

    def store(self, process: Process, telemetry: Telemetry) -> contextlib.AbstractAsyncContextManager[Store]:
        def executors(name: str) -> Executor:
            stalled = (lambda: self.database.faults.held) if name == "store-writer" else (lambda: False)
            return OneThread(process, self.database.thread_seconds, stalled)

        return open_store(
            self.database.path,
            write_timeout=self.settings.write_timeout,
            telemetry=telemetry,
            clock=lambda: int((EPOCH + process.loop.time() + process.ahead) * 1000),
            executors=executors,
        )

    def telemetry(self, process: Process) -> Telemetry:
        return Telemetry(lambda happening: self.tell(process, happening))


async def run_worker(host: Host, process: Process, stop: asyncio.Event) -> None:
    """As `taskqueue-worker`."""
    telemetry = host.telemetry(process)

    def end(code: int) -> None:
        host.tell(process, f"exits with {code}")
        process.kill()

    beside = Beside(start=lambda name, steps: take_steps(process, steps), exit=end)
    with contextlib.suppress(StoreError, FatalError):
        async with host.store(process, telemetry) as store, SimulatedBroker(host.server, process) as broker:
            await work(host.settings, store, broker, telemetry, stop, process.random, beside)


async def run_api(host: Host, process: Process, stop: asyncio.Event) -> None:
    """As `taskqueue-api`, over the network of the simulation."""
    telemetry = host.telemetry(process)
    with contextlib.suppress(StoreError):
        async with host.store(process, telemetry) as store, SimulatedBroker(host.server, process) as broker:
            intake, watcher = Intake(host.settings, store, broker, telemetry), Watcher(store)
            async with intake.running():
                beside = [
                    asyncio.create_task(demote_when_the_queue_was_lost(store, broker, telemetry)),
                    asyncio.create_task(watcher.run()),
                ]
                api = Api(host.settings, process, store, intake, watcher)
                host.apis.append(api)
                process.on_death.append(api.let_go)
                process.on_death.append(lambda: host.apis.remove(api) if api in host.apis else None)
                await stop.wait()
                host.apis.remove(api)
                watcher.close()
                if api.requests:
                    await asyncio.wait(set(api.requests))
                for task in beside:
                    task.cancel()
                await asyncio.wait(set(beside))


@dataclass
class Api:
    """A serving API: the handlers of the product, in short."""

    settings: Settings
    process: Process
    store: Store
    intake: Intake
    watcher: Watcher
    #: Under way, with what their clients wait for.
    requests: dict[asyncio.Task[None], asyncio.Future[Any]] = field(default_factory=dict)

    def serve(self, client: Process, handler: Callable[["Api"], Awaitable[T]]) -> asyncio.Future[T]:
        """What a request is answered, on the client's side; a client that leaves ends no handler."""
        answer: asyncio.Future[T] = client.loop.create_future()

        def reply(error: Exception | None, result: Any) -> None:
            client.call_later(client.random.expovariate(500), _settle, answer, error, result)

        async def serve() -> None:
            try:
                result = await handler(self)
            except CommitUnknownError:
                reply(UnansweredError("the connection is aborted"), None)
            except StoreError as error:
                reply(RefusedError(str(error)), None)
            else:
                reply(None, result)

        def begin() -> None:
            serving = self.process.start(serve())
            self.requests[serving] = answer
            serving.add_done_callback(lambda _: self.requests.pop(serving, None))

        def arrive() -> None:
            if self.process.dead:
                reply(UnansweredError("the connection is refused"), None)
            else:
                self.process.call_later(0, begin)
                self.process.on_death.append(lambda: reply(UnansweredError("the process has died"), None))

        client.call_later(client.random.expovariate(500), arrive)
        return answer

    def let_go(self) -> None:
        self.requests.clear()

    # The resources

    async def submit(self, task: NewTask, key: str | None) -> tuple[str, Status]:
        """`POST /tasks`: the id and status that are answered."""
        kept = self.store.clock() - int(self.settings.idempotency_keep * 1000)
        request = IdempotentRequest(key, key, kept) if key else None
        replay = await self.store.reads.first_answer(request) if request else None
        accepted = replay or await self.intake.accept([task], request=request, answer=json.dumps)
        if isinstance(accepted, Replay):
            [(id, status)] = json.loads(accepted.answer)
            return id, Status(status)
        return accepted[0].id, accepted[0].status

    async def cancel(self, id: str) -> Status | None:
        return await self.store.write(verbs.cancel, id)

    async def retry(self, id: str) -> bool:
        return await self.store.write(verbs.retry, id)

    async def wait(self, id: str, seconds: float) -> Status | None:
        """`GET /tasks/{id}` with `Prefer: wait`: the status that it ends with, or has when the time is over."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        async with self.watcher.listening():
            while True:
                task = await self.store.reads.get(id)
                if task is None or task.status in FINAL:
                    return task.status if task else None
                if not await self.watcher.until_end(task.seq, deadline - loop.time()):
                    return task.status

    async def events(self, after: int) -> list[Any]:
        return await self.store.reads.events_after(after, limit=100)


def _settle(answer: asyncio.Future[Any], error: Exception | None, result: Any) -> None:
    if answer.done():
        return
    if error is not None:
        answer.set_exception(error)
        answer.exception()  # its client may have left
    else:
        answer.set_result(result)
