"""Tasks that run in this worker's name, but in none of its slots: the answer to a claim's commit got lost."""

import asyncio
from collections.abc import Callable, Iterable

from taskqueue.store import Store, StoreUnavailableError, verbs
from taskqueue.store.workers import Held
from taskqueue.task import Claim
from taskqueue.telemetry import StrayReleased, Telemetry


class Strays:
    """Releases those that two beats in a row have found so. One is not enough: the slot may have let go of it
    since the beat was written."""

    def __init__(self, store: Store, holds: Callable[[str], bool], telemetry: Telemetry) -> None:
        """
        Args:
            holds: whether a slot of this worker has the task with this id in its hands.
        """
        self._store = store
        self._holds = holds
        self._telemetry = telemetry
        #: Those that the last beat found, by task and attempt.
        self._seen: set[tuple[str, int]] = set()
        self._releasing: set[asyncio.Task[None]] = set()

    def look(self, held: Iterable[Held]) -> None:
        """After each beat: what it found running in this worker's name."""
        strays = {
            (task.claim.id, task.claim.attempt): task.claim for task in held if not self._holds(task.claim.id)
        }
        for claim in (claim for key, claim in strays.items() if key in self._seen):
            releasing = asyncio.create_task(self._release(claim))
            self._releasing.add(releasing)
            releasing.add_done_callback(self._releasing.discard)
        self._seen = set(strays)

    async def _release(self, claim: Claim) -> None:
        try:
            status = await self._store.write(verbs.release, claim)
        except StoreUnavailableError:
            return  # the next beats find it again
        self._telemetry.tell(StrayReleased(claim, status))
