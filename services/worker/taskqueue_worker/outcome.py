"""The outcome of an attempt: which verb records it, and whether that was done where the answer got lost."""

import asyncio
from collections.abc import Callable
from random import Random

from taskqueue.actions import find_action
from taskqueue.settings import Settings
from taskqueue.store import CommitUnknownError, Store, verbs
from taskqueue.store.clock import to_ms
from taskqueue.task import Claim, Outcome, Status
from taskqueue.telemetry import TaskAccepted, TaskEnded, Telemetry
from taskqueue_worker.execute import Ending
from taskqueue_worker.storing import until_stored
from taskqueue_worker.submissions import accepted_at


class Outcomes:
    """Records how attempts ended."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        telemetry: Telemetry,
        random: Random,
        tell_relay: Callable[[], None],
    ) -> None:
        """
        Args:
            tell_relay: called when tasks are stored that are to be published.
        """
        self._settings = settings
        self._store = store
        self._telemetry = telemetry
        self._random = random
        self._tell_relay = tell_relay

    def enqueue(self, claim: Claim, ending: Ending) -> asyncio.Future[Status | None]:
        """Enqueue the outcome at once; the status that it leads to, or None where the claim was lost.

        A stop doesn't cancel it.
        """
        if ending.result is not None:
            now = self._store.clock()
            submitted = [accepted_at(now, task) for task in ending.submitted]
            return self._store.write(verbs.complete, claim, ending.result, submitted)
        if ending.outcome is Outcome.SHUTDOWN:
            return self._store.write(verbs.release, claim)
        if ending.outcome is Outcome.SNOOZED and ending.after is not None:
            return self._store.write(verbs.snooze, claim, to_ms(ending.after))
        error = ending.error or "{}"
        failures = claim.failures + 1
        if ending.final or failures >= claim.max_attempts:
            return self._store.write(verbs.fail, claim, ending.outcome, error)
        delay = ending.after
        if delay is None:
            action = find_action(claim.action)
            backoff = (action and action.options.retry) or self._settings.backoff
            delay = backoff.pause(failures, self._random.uniform)
        return self._store.write(verbs.back_off, claim, ending.outcome, error, to_ms(delay))

    async def recorded(self, claim: Claim, ending: Ending, begun: asyncio.Future[Status | None]) -> None:
        """Return once the outcome that was enqueued is recorded, however long the store is away."""
        tries = [begun]

        def try_again() -> asyncio.Future[Status | None]:
            tries.append(self.enqueue(claim, ending))
            return asyncio.shield(tries[-1])

        status = await until_stored(
            try_again,
            "an outcome",
            self._telemetry,
            self._random,
            id=claim.id,
            begun=asyncio.shield(begun),
        )
        if status is None and any(isinstance(write.exception(), CommitUnknownError) for write in tries):
            status = await until_stored(
                lambda: asyncio.ensure_future(self._read_fence(claim)),
                "an outcome",
                self._telemetry,
                self._random,
                id=claim.id,
            )
        self._telemetry.tell(TaskEnded(claim, ending.outcome, status, ending.error))
        if status is Status.COMPLETED and ending.submitted:
            self._tell_relay()
            for task in ending.submitted:
                self._telemetry.tell(TaskAccepted(task.id, task.action, Status.PENDING))

    async def _read_fence(self, claim: Claim) -> Status | None:
        """Where the task stands, if the write whose answer got lost was committed: our attempt has ended then."""
        task = await self._store.reads.outline(claim.id)
        mine = [attempt for attempt in task.attempts if attempt.number == claim.attempt] if task else []
        if task is None or not mine or mine[0].outcome is None or mine[0].outcome is Outcome.WORKER_LOST:
            return None
        return task.status
