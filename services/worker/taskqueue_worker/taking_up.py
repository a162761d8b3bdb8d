"""Tasks that were set aside, since who got them didn't know their action: a worker that does takes them up."""

from collections.abc import Callable

from taskqueue.settings import Settings
from taskqueue.store import Repertoire, Store
from taskqueue.telemetry import TasksTakenUp, TasksWaiting, Telemetry


class Taker:
    """Makes due what waits for a worker like this one: all at its start, and then a few whenever it is idle, which
    may have come to other workers once more."""

    def __init__(
        self,
        settings: Settings,
        repertoire: Repertoire,
        store: Store,
        is_idle: Callable[[], bool],
        telemetry: Telemetry,
    ) -> None:
        self._few = settings.consumers * settings.prefetch
        self._repertoire = repertoire
        self._store = store
        self._is_idle = is_idle
        self._telemetry = telemetry
        self._started = False

    async def take_up(self) -> None:
        """Make due as many as this worker has use for."""
        if not self._started:
            await self._start()
        elif self._is_idle():
            await self._store.bulk.take_up(self._repertoire, self._few)

    async def _start(self) -> None:
        if tasks := await self._store.bulk.take_up(self._repertoire):
            self._telemetry.tell(TasksTakenUp(tasks))
        # Some of them may have been claimed meanwhile.
        waiting = sum((await self._store.reads.set_aside_counts()).values()) - tasks
        if waiting > 0:
            self._telemetry.tell(TasksWaiting(waiting))
        self._started = True
