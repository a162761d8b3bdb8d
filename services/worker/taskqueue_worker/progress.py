"""How far a task has come, from its handler to the store."""

import asyncio
import contextlib

from taskqueue.store import Store, StoreUnavailableError, verbs
from taskqueue.task import Claim

#: Seconds between two writes for one task at least, so that a chatty handler doesn't load the store.
_PAUSE = 0.2


class Progress:
    """The latest progress of one attempt. Each is stored, but of many in a moment the last one only."""

    def __init__(self, claim: Claim, store: Store) -> None:
        self._claim = claim
        self._store = store
        self._loop = asyncio.get_running_loop()
        self._latest: str | None = None
        self._writing: asyncio.Task[None] | None = None
        self._ended = asyncio.Event()

    def tell(self, progress: str) -> None:
        """Take note of it, as JSON text; called from any thread."""
        # A closed loop: the worker has gone on without this thread.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._note, progress)

    async def flush(self) -> None:
        """The handler has ended: store what it told last, if that isn't done. What comes later is nobody's."""
        self._ended.set()
        if self._writing:
            await self._writing

    def _note(self, progress: str) -> None:
        if self._ended.is_set():  # by a thread that was abandoned
            return
        self._latest = progress
        if self._writing is None or self._writing.done():
            self._writing = asyncio.create_task(self._write_for_a_while())

    async def _write_for_a_while(self) -> None:
        while self._latest is not None:
            latest, self._latest = self._latest, None
            # The next one, or the outcome, tells more.
            with contextlib.suppress(StoreUnavailableError):
                await self._store.write(verbs.tell_progress, self._claim, latest)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_PAUSE):
                    await self._ended.wait()
