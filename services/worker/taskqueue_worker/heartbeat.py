"""The worker's sign of life, from a thread of its own: a handler that blocks the loop doesn't look dead."""

import asyncio
import contextlib
import logging
import os
import threading
import time
from collections.abc import AsyncIterator, Callable

from taskqueue.logs import claim_fields
from taskqueue.settings import Settings
from taskqueue.store import StoreError, WorkerInfo, now_ms, transitions
from taskqueue.store.locks import WriteLock
from taskqueue.store.sqlite import connect
from taskqueue.store.writer import transaction
from taskqueue.task import Outcome
from taskqueue_worker.execute import GRACE, Runs

log = logging.getLogger("taskqueue.worker")

#: Beats in a lease: a few may fail before others take the worker for lost.
BEATS_PER_LEASE = 5

#: Exit code of a process whose loop a handler blocks beyond its task's timeout (EX_SOFTWARE in sysexits.h).
EXIT_BLOCKED = 70


class Heartbeat:
    """Raises the beat counter in the worker's row, and brings back which tasks clients asked to cancel."""

    def __init__(
        self,
        settings: Settings,
        worker: WorkerInfo,
        runs: Runs,
        healthy: Callable[[], bool],
    ) -> None:
        self._settings = settings
        self._worker = worker
        self._runs = runs
        self._healthy = healthy
        self._interval = settings.lease / BEATS_PER_LEASE
        self._loop = asyncio.get_running_loop()
        self._started: asyncio.Future[None] = self._loop.create_future()
        self._ended: asyncio.Future[None] = self._loop.create_future()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)
        #: When the last beat was written, on the monotonic clock.
        self.last_beat = time.monotonic()

    @classmethod
    @contextlib.asynccontextmanager
    async def beating(
        cls,
        settings: Settings,
        worker: WorkerInfo,
        runs: Runs,
        healthy: Callable[[], bool],
    ) -> AsyncIterator["Heartbeat"]:
        """Beat until left. Entered once the first beat is written.

        Args:
            runs: the handlers at work.
            healthy: whether the health file may be touched.

        Raises:
            StoreError: the first beat can't be written.
        """
        self = cls(settings, worker, runs, healthy)
        self._thread.start()
        await self._started
        try:
            yield self
        finally:
            await self.stop()

    async def stop(self) -> None:
        """Beat no more: a beat after its goodbye would make this a worker that is then taken for lost."""
        self._stop.set()
        await self._ended

    def _run(self) -> None:
        path, timeout = self._settings.database, self._settings.write_timeout
        try:
            with (
                contextlib.closing(connect(path, busy_timeout=timeout)) as connection,
                contextlib.closing(WriteLock(path)) as lock,
            ):

                def beat() -> list[tuple[str, int]]:
                    deadline = time.monotonic() + timeout
                    with lock.held(deadline), transaction(connection, path, deadline):
                        return transitions.beat(connection, self._worker, now_ms())

                self._loop.call_soon_threadsafe(self._beaten, beat())
                self._loop.call_soon_threadsafe(self._started.set_result, None)
                while not self._stop.wait(self._interval):
                    self._beat_once(beat)
        except Exception as error:
            if self._started.done():
                # Without a heartbeat it would be taken for lost, and work on.
                log.critical("the heartbeat failed: ending this worker", exc_info=True)
                os._exit(EXIT_BLOCKED)
            self._loop.call_soon_threadsafe(self._started.set_exception, error)
        finally:
            self._loop.call_soon_threadsafe(self._ended.set_result, None)

    def _beat_once(self, beat: Callable[[], list[tuple[str, int]]]) -> None:
        try:
            asked = beat()
        except StoreError as error:
            log.warning("heartbeat not written: %s", error)
        else:
            self.last_beat = time.monotonic()
            self._loop.call_soon_threadsafe(self._beaten, asked)
        self._end_if_blocked()

    def _beaten(self, asked: list[tuple[str, int]]) -> None:
        """On the loop, after each beat."""
        for id, attempt in asked:
            if run := self._runs.get((id, attempt)):
                run.interrupt(Outcome.CANCELLED)
        if self._settings.health_file and self._healthy():
            self._settings.health_file.touch()

    def _end_if_blocked(self) -> None:
        """End the process where a handler blocks the loop beyond its task's timeout: nothing else can stop it,
        and its tasks are rescued."""
        for run in list(self._runs.values()):
            if time.monotonic() > run.deadline + GRACE and not self._loop_answers():
                log.critical(
                    "a handler has blocked the event loop beyond its timeout: ending this worker",
                    extra=claim_fields(run.claim),
                )
                os._exit(EXIT_BLOCKED)

    def _loop_answers(self) -> bool:
        answered = threading.Event()
        self._loop.call_soon_threadsafe(answered.set)
        return answered.wait(self._interval)
