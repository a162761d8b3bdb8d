"""One run: a whole taskqueue and its clients, things that go wrong, and the oracle. A seed tells it all."""

import asyncio
import shutil
import tempfile
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from tests.simulation import oracle
from tests.simulation.clients import Clients
from tests.simulation.database import Database
from tests.simulation.faults import OFF, Chaos
from tests.simulation.loop import Process, SimulatedLoop
from tests.simulation.network import Network
from tests.simulation.programs import Host, cheaper, run_api, run_worker
from tests.simulation.server import Server
from tests.simulation.told import untold
from tests.simulation.trace import Trace

from taskqueue.settings import Settings
from taskqueue.telemetry import LeasesKept, TaskEnded

Program = Callable[[Host, Process, asyncio.Event], Coroutine[Any, Any, None]]

#: Virtual seconds that things go wrong for.
STORM = 15
#: Within so many seconds after that all must be final: clocks that were off, a lease of every kind, a backoff, an
#: attempt that is abandoned; and, one after another, as many tasks as there may be.
CALM = OFF * 2 + 90
#: A process that is told to stop has ended by then.
DRAINED = 30


@dataclass
class Result:
    """What became of a run."""

    seed: int
    violations: list[str] = field(default_factory=list)
    trace: list[str] = field(default_factory=list)
    #: How often which fault has struck, and what else was counted.
    counts: dict[str, int] = field(default_factory=dict)


def run(seed: int, template: Path, *, traced: bool) -> Result:
    """Run a seed on a copy of the database.

    Args:
        traced: tell what happened in any case, and not only where it breaks the promise.
    """
    shared_memory = Path("/dev/shm")  # quicker than a disk, and as good here
    folder = Path(tempfile.mkdtemp(dir=shared_memory if shared_memory.is_dir() else None))
    try:
        return _Run(seed, template, folder).result(traced=traced)
    finally:
        shutil.rmtree(folder)


class _Run:
    def __init__(self, seed: int, template: Path, folder: Path) -> None:
        def drawn(what: str) -> Random:
            # Of its own for each: what one draws doesn't change the others.
            return Random(f"{seed} {what}")

        self.drawn = drawn
        self.chance = drawn("run")
        self.loop = SimulatedLoop(drawn("turns"))
        self.trace = Trace(self.loop, folder)
        self.outcome = Result(seed)
        settings = Settings(
            data_dir=folder,
            handlers="tests.simulation.actions",
            lease=2,
            dispatch_lease=3,
            publish_timeout=0.5,
            write_timeout=1.5,
            relay_interval=0.5,
            give_back_after=0.5,
            reconcile_after=3,
            retry_base=0.1,
            retry_cap=1,
            keep_events=7 * 86400,
            drain_timeout=5,
            consumers=self.chance.choice([1, 2, 3]),
            prefetch=self.chance.choice([1, 2, 5]),
            simulated_work=self.chance.choice([0, 0, 0.05]),
        )
        world = self.loop.world
        self.host = Host(
            settings,
            Database(template, folder, drawn("store"), lambda text: self.trace.note(world, text)),
            Server(world, drawn("broker"), lambda text: self.trace.note(world, text)),
            Network(drawn("network")),
            self.trace.note,
        )
        self.loop.listen = self.host.network.listen
        self.processes: list[Process] = []
        self.started = 0
        self.closing = asyncio.Event()

    def result(self, *, traced: bool) -> Result:
        asyncio.set_event_loop(self.loop)
        self.loop.set_exception_handler(self._on_error)
        outcome = self.outcome
        with self.host.database.in_place(), cheaper():
            try:
                self.loop.run_until_complete(self.loop.world.start(self._main()))
            except Exception as error:
                outcome.violations.append(f"{type(error).__name__}: {error}")
        outcome.counts["callbacks"] = self.loop.turns.taken
        outcome.counts["seconds"] = round(self.loop.time())
        if traced or outcome.violations:
            outcome.trace = self.trace.lines()
        return outcome

    def _on_error(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        self.outcome.violations.append(f"{context['message']}: {type(error).__name__}: {error}")

    async def _main(self) -> None:
        chance, world = self.chance, self.loop.world
        clients = Clients(self.host, Process("clients", self.loop, self.drawn("clients")), self.drawn("clients"))
        roles: list[tuple[str, Program]] = [("api", run_api)] * chance.randint(1, 2)
        roles += [("worker", run_worker)] * chance.randint(1, 3)
        keeping = [world.start(self._keep(name, program)) for name, program in roles]
        chaos = Chaos(self.host, self.processes, self.drawn("faults"), lambda text: self.trace.note(world, text))
        coming = clients.start(chance.choice([6, 15, 30]), STORM)
        await chaos.run(STORM)
        chaos.over()
        self.trace.note(world, "calm")
        await self._until(coming.done, CALM, lambda: "its clients")
        await self._until(lambda: not self.host.database.left(), CALM, lambda: f"{self.host.database.left()}")
        self.trace.note(world, "all is final")
        await self._until(
            lambda: not untold(self.host.database, clients),
            CALM,
            lambda: f"{untold(self.host.database, clients)} to be told",
        )
        await clients.leave()
        self.closing.set()
        for process in self.processes:
            process.call_later(0, process.stop.set)
        await self._until(
            lambda: not self.processes, DRAINED, lambda: f"{[it.name for it in self.processes]} to stop"
        )
        for task in keeping:
            task.cancel()
        await asyncio.wait(set(keeping))
        if self.trace.told(LeasesKept):  # the answers that were kept with keys could not be amended
            for submission in clients.submissions:
                submission.answers.clear()
        self.outcome.violations += oracle.violations(self.host.database, clients, self.trace.told(TaskEnded))
        self.outcome.counts |= chaos.struck
        self.outcome.counts["tasks"] = len(self.host.database.rows("SELECT 1 FROM task"))

    async def _keep(self, name: str, program: Program) -> None:
        """Start a program, and start it again whenever it has ended, as Docker does."""
        while not self.closing.is_set():
            await self._live(name, program)
            await asyncio.sleep(self.chance.uniform(0.1, 2))

    async def _live(self, name: str, program: Program) -> None:
        """From a process's start to its end, whatever that is."""
        self.started += 1
        process = Process(f"{name}-{self.started}", self.loop, self.drawn(f"{name}-{self.started}"))
        ended = asyncio.Event()
        process.on_death += [ended.set, lambda: self._forget(process)]
        self.processes.append(process)
        self.trace.note(process, "starts")
        running = process.start(program(self.host, process, process.stop))
        running.add_done_callback(lambda _: ended.set(), context=self.loop.world.context)
        await ended.wait()
        if not process.dead:
            self.trace.note(process, "has ended")
            if error := running.exception():
                self.outcome.violations.append(f"{process.name} ended: {type(error).__name__}: {error}")
            process.kill()

    def _forget(self, process: Process) -> None:
        if process in self.processes:
            self.processes.remove(process)
        # Its connection is cut at once, or found to be dead.
        after = self.chance.choice([0.001, 0.01, 1])
        self.loop.world.call_later(after, self.host.server.drop, process)

    async def _until(self, condition: Callable[[], bool], seconds: float, what: Callable[[], str]) -> None:
        end = self.loop.time() + seconds
        while not condition():
            if self.loop.time() > end:
                raise AssertionError(f"after {seconds:g} calm seconds it still waits for {what()}")
            await asyncio.sleep(0.5)
