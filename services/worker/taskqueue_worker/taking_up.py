"""Tasks that were set aside, since nobody knew their action: a worker that does takes them up."""

from taskqueue.store import Repertoire, Store
from taskqueue.telemetry import TasksTakenUp, TasksWaiting, Telemetry

#: Seconds between two looks. The first one, at the start, is the one that counts: later ones find what was on its
#: way to another worker then.
TAKE_UP_INTERVAL = 60


class Taker:
    """Makes due what waits for a worker like this one."""

    def __init__(self, repertoire: Repertoire, store: Store, telemetry: Telemetry) -> None:
        self._repertoire = repertoire
        self._store = store
        self._telemetry = telemetry
        self._waiting = 0

    async def take_up(self) -> None:
        """Make it due, and tell how many others wait, where that has changed."""
        tasks = await self._store.bulk.take_up(self._repertoire)
        # Some of these may have been claimed meanwhile.
        waiting = max(0, sum((await self._store.reads.set_aside_counts()).values()) - tasks)
        if tasks:
            self._telemetry.tell(TasksTakenUp(tasks))
        if waiting and waiting != self._waiting:
            self._telemetry.tell(TasksWaiting(waiting))
        self._waiting = waiting
