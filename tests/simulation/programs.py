"""What the simulated processes run: the product's own parts, put together as its programs do, without sockets."""

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from dataclasses import dataclass
from unittest import mock

from tests.simulation.broker import SimulatedBroker
from tests.simulation.database import Database
from tests.simulation.loop import Process
from tests.simulation.network import Network
from tests.simulation.server import Server
from tests.simulation.threads import OneThread, take_steps

from taskqueue.process import FatalError
from taskqueue.settings import Settings
from taskqueue.store import Store, StoreError, open_store
from taskqueue.telemetry import Telemetry
from taskqueue_api import app
from taskqueue_api.app import build_app, serving
from taskqueue_api.live import watcher
from taskqueue_api.openapi.docs import Docs
from taskqueue_worker.beside import Beside
from taskqueue_worker.worker import work

#: Nobody reads it here.
DOCS = Docs({})

#: The time at the beginning, in Unix seconds.
EPOCH = 1_800_000_000


@dataclass
class Host:
    """What the processes of a run have in common."""

    settings: Settings
    database: Database
    server: Server
    network: Network
    #: Takes note of what a process tells.
    tell: Callable[[Process, object], None]
    #: Seconds that all clocks are ahead: they agree, and jump.
    ahead: float = 0

    def store(self, process: Process, telemetry: Telemetry) -> contextlib.AbstractAsyncContextManager[Store]:
        def executors(name: str) -> Executor:
            stalled = (lambda: self.database.faults.held) if name == "store-writer" else (lambda: False)
            return OneThread(process, self.database.thread_seconds, stalled)

        return open_store(
            self.database.path,
            write_timeout=self.settings.write_timeout,
            telemetry=telemetry,
            clock=lambda: int((EPOCH + process.loop.time() + self.ahead + process.ahead) * 1000),
            executors=executors,
        )

    def telemetry(self, process: Process) -> Telemetry:
        return Telemetry(lambda happening: self.tell(process, happening))


@contextlib.contextmanager
def cheaper() -> Iterator[None]:
    """Without what would cost most of a run, and shows nothing: an API looks for news five times a second and not
    fifty times, and doesn't make its documentation anew at each start."""
    with (
        mock.patch.object(watcher, "_INTERVAL", 0.2),
        mock.patch.object(app, "document", lambda _, **_options: {}),
        mock.patch.object(app, "Docs", lambda _: DOCS),
    ):
        yield


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
    """As `taskqueue-api`."""
    telemetry = host.telemetry(process)
    with contextlib.suppress(StoreError):
        async with (
            host.store(process, telemetry) as store,
            SimulatedBroker(host.server, process) as broker,
            serving(build_app(host.settings, store, broker, telemetry, process.random)),
        ):
            await stop.wait()
