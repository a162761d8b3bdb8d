"""The worker's sign of life, from a thread of its own: a handler that blocks the loop doesn't look dead."""

import asyncio
import contextlib
import resource
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Self

from taskqueue.settings import Settings
from taskqueue.store import Store, StoreError, WorkerInfo
from taskqueue.store.engine.protocol import Writer
from taskqueue.store.workers import Held, beat
from taskqueue.telemetry import BeatMissed, LoopBlocked, Telemetry
from taskqueue_worker.beside import Beside, Steps
from taskqueue_worker.execute import GRACE, Runs

#: Beats in a lease: a few may fail before others take the worker for lost.
BEATS_PER_LEASE = 5

#: Exit code of a process whose loop a handler blocks beyond its task's timeout (EX_SOFTWARE in sysexits.h).
EXIT_BLOCKED = 70


def beat_interval(settings: Settings) -> float:
    """Seconds between two heartbeats, and between two looks at the others'."""
    return settings.lease / BEATS_PER_LEASE


def resident_bytes() -> int | None:
    """The memory that this process has in use; None where the system doesn't tell."""
    try:
        pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[1]
    except OSError:
        return None
    return int(pages) * resource.getpagesize()


class Heartbeat:
    """Raises the beat counter in the worker's row, and tells after each beat what runs in the worker's name."""

    def __init__(
        self,
        settings: Settings,
        worker: WorkerInfo,
        store: Store,
        runs: Runs,
        beaten: Callable[[list[Held]], None],
        telemetry: Telemetry,
        beside: Beside,
    ) -> None:
        self._worker = worker
        self._store = store
        self._runs = runs
        self._tell_beaten = beaten
        self._telemetry = telemetry
        self._beside = beside
        self._interval = beat_interval(settings)
        self._loop = asyncio.get_running_loop()
        self._started: asyncio.Future[None] = self._loop.create_future()
        self._ended: asyncio.Future[None] = self._loop.create_future()
        self._stop = threading.Event()
        #: When the last beat was written, in the loop's time.
        self.last_beat = self._loop.time()

    @classmethod
    @contextlib.asynccontextmanager
    async def beating(
        cls,
        settings: Settings,
        worker: WorkerInfo,
        store: Store,
        runs: Runs,
        beaten: Callable[[list[Held]], None],
        telemetry: Telemetry,
        beside: Beside,
    ) -> AsyncIterator[Self]:
        """Beat until left. Entered once the first beat is written.

        Args:
            runs: the handlers at work.
            beaten: called on the loop after each beat.
            beside: runs it, apart from the loop.

        Raises:
            StoreError: the first beat can't be written.
        """
        self = cls(settings, worker, store, runs, beaten, telemetry, beside)
        beside.start("heartbeat", self._run())
        await self._started
        try:
            yield self
        finally:
            await self.stop()

    async def stop(self) -> None:
        """Beat no more: a beat after its goodbye would make this a worker that is then taken for lost."""
        self._stop.set()
        await self._ended

    def _run(self) -> Steps:
        try:
            with self._store.writer() as writer:
                self._on_loop(self._beaten, self._beat(writer))
                self._on_loop(self._started.set_result, None)
                yield self._stop, self._interval
                while not self._stop.is_set():
                    self._try_to_beat(writer)
                    yield from self._end_if_blocked()
                    yield self._stop, self._interval
        except Exception as error:
            if self._started.done():
                # Without a heartbeat it would be taken for lost, and work on.
                self._telemetry.tell(BeatMissed(error, ends=True))
                self._beside.exit(EXIT_BLOCKED)
            self._on_loop(self._started.set_exception, error)
        finally:
            self._on_loop(self._ended.set_result, None)

    def _on_loop(self, function: Callable[..., None], *arguments: object) -> None:
        self._loop.call_soon_threadsafe(function, *arguments)

    def _beat(self, writer: Writer) -> list[Held]:
        memory = resident_bytes()
        return writer.write(lambda tx: beat(tx, self._worker, memory))

    def _try_to_beat(self, writer: Writer) -> None:
        try:
            held = self._beat(writer)
        except StoreError as error:
            self._telemetry.tell(BeatMissed(error, ends=False))
        else:
            self._on_loop(self._beaten, held)

    def _beaten(self, held: list[Held]) -> None:
        self.last_beat = self._loop.time()
        self._tell_beaten(held)

    def _end_if_blocked(self) -> Steps:
        """End the process where a handler blocks the loop beyond its task's timeout: nothing else can stop it,
        and its tasks are rescued."""
        for run in list(self._runs.values()):
            if self._loop.time() > run.deadline + GRACE:
                answered = threading.Event()
                self._on_loop(answered.set)
                yield answered, self._interval
                if not answered.is_set():
                    self._telemetry.tell(LoopBlocked(run.claim))
                    self._beside.exit(EXIT_BLOCKED)
