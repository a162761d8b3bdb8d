"""A slot takes a message, claims its task, runs it and records the outcome: one task at a time."""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from taskqueue.broker import Consumer, Delivery
from taskqueue.logs import claim_fields, task_fields
from taskqueue.message import MalformedMessageError, decode
from taskqueue.retry import backoff
from taskqueue.settings import Settings
from taskqueue.store import Refusal, StoreUnavailableError, TaskStore
from taskqueue.task import Claim, Outcome, Status
from taskqueue_worker.execute import Ending, Run, Runs
from taskqueue_worker.progress import Progress

log = logging.getLogger("taskqueue.worker")

T = TypeVar("T")


async def until_stored(verb: Callable[[], Awaitable[T]], what: str, fields: dict[str, Any] | None = None) -> T:
    """Do a store's verb, however long the store is away: nothing that a worker holds is dropped for that."""
    failures = 0
    while True:
        try:
            return await verb()
        except StoreUnavailableError as error:
            failures += 1
            if failures == 1:
                log.warning("%s waits for the store: %s", what, error, extra=fields)
            await asyncio.sleep(random.uniform(0.05, min(2, 0.1 * 2**failures)))


class Slot:
    """One consumer, and the task that it runs."""

    def __init__(
        self, worker_id: str, consumer: Consumer, store: TaskStore, settings: Settings, runs: Runs
    ) -> None:
        self._worker_id = worker_id
        self._consumer = consumer
        self._store = store
        self._settings = settings
        self._runs = runs
        self._stopping = False
        self._pausing: asyncio.Task[None] | None = None
        self.run: Run | None = None
        #: Set while a handler that goes on after its attempt holds this slot.
        self.stuck = asyncio.Event()

    @property
    def detached(self) -> bool:
        """Whether the broker doesn't know its consumer, though it should."""
        return self._pausing is None and not self._stopping and not self._consumer.attached

    async def work(self) -> None:
        """Take and run tasks until told to stop."""
        async for delivery in self._consumer:
            claim = await self._claim(delivery)
            if claim is None:
                continue
            await self._process(claim)
            if self._stopping:
                return

    async def stop(self, working: asyncio.Task[None]) -> None:
        """Take no more, and give back what waits; a running task goes on."""
        self._stopping = True
        await self._consumer.pause()
        # Before its claim is in our hands, a task is the broker's or (claimed this moment) released at the end.
        if self.run is None or self.stuck.is_set():
            working.cancel()

    async def _claim(self, delivery: Delivery) -> Claim | None:
        try:
            message = decode(delivery.body)
        except MalformedMessageError as error:
            log.warning("malformed message dead-lettered: %s", error)
            await delivery.reject(f"malformed message: {error}")
            return None
        fields = task_fields(message.id, message.action)
        claim = await until_stored(lambda: self._store.claim(message.id, self._worker_id), "a claim", fields)
        match claim:
            case Refusal.UNKNOWN:
                log.warning("message of an unknown task dead-lettered", extra=fields)
                await delivery.reject("unknown task")
                return None
            case Refusal.NOT_CLAIMABLE:
                log.info("duplicate message dropped", extra=fields)
                await delivery.ack()
                return None
            case Claim():
                # Committed: from here on the row is the lease, and the message has done its work.
                await delivery.ack()
                return claim

    async def _process(self, claim: Claim) -> None:
        log.info("processing task", extra=claim_fields(claim))
        progress = Progress(claim, self._store)
        self.run = self._runs[claim.id, claim.attempt] = Run(claim, self._settings, progress.tell)
        giving_back = asyncio.get_running_loop().call_later(self._settings.give_back_after, self._give_back)
        try:
            try:
                ending = await self.run.ending()
            finally:
                del self._runs[claim.id, claim.attempt]
            await progress.flush()
            fields = task_fields(claim.id, claim.action, attempt=claim.attempt)
            await until_stored(lambda: self._record(claim, ending), "an outcome", fields)
        finally:
            giving_back.cancel()
        if (handler := self.run.left_running) and not self._stopping:
            await self._outlast(handler, claim)
        self.run = None
        if self._pausing and not self._stopping:
            await self._pausing
            self._pausing = None
            await self._consumer.resume()

    def _give_back(self) -> None:
        """This task takes long: let idle workers have what was prefetched behind it."""
        self._pausing = asyncio.create_task(self._consumer.pause())

    async def _outlast(self, handler: "asyncio.Future[object]", claim: Claim) -> None:
        """Nobody can stop a thread, or who ignores a cancellation: until it ends, this slot runs nothing."""
        log.error(
            "the handler goes on after it was told to stop: its slot waits for it",
            extra=claim_fields(claim),
        )
        self._give_back()
        self.stuck.set()
        await asyncio.wait({handler})
        self.stuck.clear()

    async def _record(self, claim: Claim, ending: Ending) -> None:
        status = await self._write(claim, ending)
        fields = claim_fields(claim, outcome=ending.outcome)
        match status:
            case None:
                log.warning("outcome refused: the task was taken from this worker", extra=fields)
            case Status.COMPLETED:
                log.info("task completed", extra=fields)
            case _:
                log.info("task %s", status, extra=fields | {"error": ending.error})

    async def _write(self, claim: Claim, ending: Ending) -> Status | None:
        if ending.result is not None:
            return Status.COMPLETED if await self._store.complete(claim, ending.result) else None
        if ending.outcome is Outcome.SHUTDOWN:
            return await self._store.release(claim)
        error = ending.error or "{}"
        failures = claim.failures + 1
        if ending.final or failures >= claim.max_attempts:
            return await self._store.fail(claim, ending.outcome, error)
        delay = ending.after
        if delay is None:
            delay = backoff(failures, base=self._settings.retry_base, cap=self._settings.retry_cap)
        return await self._store.retry(claim, ending.outcome, error, delay=delay)
