"""How many tasks wait: where they are too many, new ones are refused early."""

import asyncio

from taskqueue.store import Store, StoreError
from taskqueue_api.http.errors import unavailable

#: Seconds for which a count is good; what this process accepts meanwhile is added to it.
FRESH = 1


class Backlog:
    """The count of waiting tasks, held against a limit (0: there is none)."""

    def __init__(self, store: Store, limit: int) -> None:
        self._store = store
        self._limit = limit
        self._waiting = 0
        self._read_at: float | None = None
        self._reading = asyncio.Lock()

    async def check(self) -> None:
        """Let a submission pass.

        Raises:
            HTTPServiceUnavailable: as many tasks wait as may.
        """
        if not self._limit:
            return
        async with self._reading:
            now = asyncio.get_running_loop().time()
            if self._read_at is None or now - self._read_at >= FRESH:
                try:
                    self._waiting = await self._store.reads.waiting_count()
                except StoreError:
                    return  # the submission itself will tell
                self._read_at = now
        if self._waiting >= self._limit:
            raise unavailable("too many tasks waiting; nothing was stored")

    def add(self, tasks: int) -> None:
        """Count tasks that were accepted."""
        self._waiting += tasks
