"""A slot takes a message, claims its task, runs it and records the outcome: one task at a time.

The outcome of a task and the claim of the next one are enqueued in the same tick, so that they share a commit.
"""

import asyncio
from dataclasses import dataclass, field, replace
from random import Random

from taskqueue.actions import find_action
from taskqueue.broker import Consumer, Delivery
from taskqueue.contract.bounds import check_bounds
from taskqueue.contract.limits import MAX_PAYLOAD_BYTES
from taskqueue.dispatch import leased_at
from taskqueue.message import MalformedMessageError, decode
from taskqueue.settings import Settings
from taskqueue.store import GivenUp, Refusal, Repertoire, SetAside, Store, verbs
from taskqueue.store.clock import to_ms
from taskqueue.task import Claim
from taskqueue.telemetry import (
    DuplicateDropped,
    MessageBuried,
    SlotHeld,
    TaskClaimed,
    TaskGivenUp,
    TaskSetAside,
    Telemetry,
)
from taskqueue.trace_context import current_traceparent
from taskqueue_worker.beside import Beside
from taskqueue_worker.execute import Run, RunInChild, Runs
from taskqueue_worker.heartbeat import beat_interval
from taskqueue_worker.outcome import Outcomes
from taskqueue_worker.progress import Progress
from taskqueue_worker.resources import Resources
from taskqueue_worker.storing import until_stored
from taskqueue_worker.submissions import Submissions

#: What a claim is answered.
Claimed = Claim | Refusal | SetAside | GivenUp


@dataclass(frozen=True, slots=True)
class Duty:
    """What all slots of a worker have in common."""

    worker: str
    repertoire: Repertoire
    settings: Settings
    store: Store
    telemetry: Telemetry
    random: Random
    beside: Beside
    resources: Resources
    #: None where nothing runs in one.
    run_in_child: RunInChild | None
    runs: Runs = field(default_factory=dict)
    #: Set where the relay has something to publish.
    due: asyncio.Event = field(default_factory=asyncio.Event)
    #: By priority: when the message was made that brought a task last, from its first delivery. Not when that task
    #: was queued: it may have been published again since.
    newest: dict[int, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Claiming:
    """A message in our hands, with the claim of its task, which has been enqueued."""

    delivery: Delivery
    id: str
    write: asyncio.Future[Claimed]


class Slot:
    """One consumer, and the task that it runs."""

    def __init__(self, duty: Duty, consumer: Consumer) -> None:
        self._duty = duty
        self._consumer = consumer
        self._outcomes = Outcomes(duty.settings, duty.store, duty.telemetry, duty.random, duty.due.set)
        self._claiming: _Claiming | None = None
        self._stopping = False
        self._pausing: asyncio.Task[None] | None = None
        self.run: Run | None = None
        #: Set while a handler that goes on after its attempt holds this slot.
        self.stuck = asyncio.Event()

    @property
    def detached(self) -> bool:
        """Whether the broker doesn't know its consumer, though it should."""
        return self._pausing is None and not self._stopping and not self._consumer.attached

    def holds(self, id: str) -> bool:
        """Whether it claims the task, runs it, or records its outcome."""
        return (self.run is not None and self.run.claim.id == id) or (
            self._claiming is not None and self._claiming.id == id
        )

    async def work(self) -> None:
        """Take and run tasks until told to stop."""
        async for delivery in self._consumer:
            claim = await self._claimed(delivery, self._enqueue_claim(delivery))
            # One that is claimed in the moment of a stop is released with the worker's goodbye.
            while claim is not None and not self._stopping:
                claim = await self._process(claim)
            if self._stopping:
                return

    async def stop(self, working: asyncio.Task[None]) -> None:
        """Take no more, and give back what waits; a running task goes on, and its outcome is recorded."""
        self._stopping = True
        await self._consumer.pause()
        # Before its claim is in our hands, a task is the broker's or (claimed this moment) released at the end.
        if self.run is None or self.stuck.is_set():
            working.cancel()
        elif self._claiming:
            self._claiming.write.cancel()

    def _enqueue_claim(self, delivery: Delivery) -> _Claiming | None:
        """Enqueue the claim of the task that a publish's id, `<task id>.<token>`, names; None where none."""
        id, dot, _ = (delivery.message_id or "").partition(".")
        if not dot:
            return None
        self._claiming = _Claiming(delivery, id, self._write_claim(id))
        return self._claiming

    def _write_claim(self, id: str) -> asyncio.Future[Claimed]:
        duty = self._duty
        patience = to_ms(duty.settings.unknown_action_after)
        return duty.store.write(verbs.claim, id, duty.worker, duty.repertoire, patience, self._attempts_of)

    def _attempts_of(self, action: str) -> int:
        known = find_action(action)
        return (known and known.options.max_attempts) or self._duty.settings.max_attempts

    async def _claimed(self, delivery: Delivery, claiming: _Claiming | None) -> Claim | None:
        """The claim, and its message acknowledged; None where nothing is to be run."""
        try:
            answer = await self._answer(claiming) if claiming else Refusal.UNKNOWN
            if answer is Refusal.UNKNOWN:
                # Not one of our own publishes, perhaps: what the message itself says counts.
                id = _named(delivery.body)
                if claiming is None or id != claiming.id:
                    self._claiming = claiming = _Claiming(delivery, id, self._write_claim(id))
                    answer = await self._answer(claiming)
            assert claiming is not None  # else its message was malformed
            match answer:
                case Refusal.UNKNOWN:
                    await self._bury(delivery, "unknown task", claiming.id)
                    return None
                case Claim():
                    # Committed: from here on the row is the lease, and the message has done its work.
                    await delivery.ack()
                    made_at = leased_at(delivery.message_id)
                    if made_at is not None and not delivery.redelivered:
                        self._duty.newest[answer.priority] = made_at
                    return answer
                case _:
                    # Where it was set aside, that is committed: it comes again with another message.
                    self._duty.telemetry.tell(_why_not(claiming.id, answer))
                    await delivery.ack()
                    return None
        except MalformedMessageError as error:
            await self._bury(delivery, f"malformed message: {error}")
            return None
        finally:
            self._claiming = None  # until here: an ack may take longer than two beats

    async def _answer(self, claiming: _Claiming) -> Claimed:
        """What the store says of a claim, however long that takes."""
        id, begun, duty = claiming.id, claiming.write, self._duty
        while True:
            answer = await until_stored(
                lambda: self._write_claim(id), "a claim", duty.telemetry, duty.random, id=id, begun=begun
            )
            if answer is not Refusal.WORKER_UNKNOWN:
                return answer
            # This worker was taken for lost: its next beat makes it known again.
            await asyncio.sleep(beat_interval(duty.settings))
            begun = self._write_claim(id)

    async def _bury(self, delivery: Delivery, reason: str, id: str | None = None) -> None:
        self._duty.telemetry.tell(MessageBuried(reason, id))
        await delivery.reject(reason)

    async def _process(self, claim: Claim) -> Claim | None:
        """Run a claimed task and record its outcome; the claim of the next one, if one has come meanwhile."""
        duty = self._duty
        duty.telemetry.tell(TaskClaimed(claim))
        if span := current_traceparent():  # who was told has begun one: what the task submits belongs to it
            claim = replace(claim, traceparent=span)
        progress = Progress(claim, duty.store)
        submissions = Submissions(claim, duty.settings, duty.store.clock, duty.random)
        run = Run(claim, duty.settings, progress.tell, duty.beside, duty.resources, duty.run_in_child, submissions)
        self.run = duty.runs[claim.id, claim.attempt] = run
        giving_back = asyncio.get_running_loop().call_later(duty.settings.give_back_after, self._give_back)
        try:
            try:
                ending = await run.ending()
            finally:
                del duty.runs[claim.id, claim.attempt]
            await progress.flush()
            outcome = self._outcomes.enqueue(claim, ending)
            delivery = None if self._stopping or self._pausing or run.left_running else self._consumer.take()
            following = self._enqueue_claim(delivery) if delivery else None
            await self._outcomes.recorded(claim, ending, outcome)
        finally:
            giving_back.cancel()
        if (handler := run.left_running) and not self._stopping:
            await self._outlast(handler, claim)
        self.run = None
        if self._stopping:
            return None
        if self._pausing:
            await self._pausing
            self._pausing = None
            await self._consumer.resume()
        # Not before the outcome is recorded: what runs is what can be told.
        return await self._claimed(delivery, following) if delivery else None

    def _give_back(self) -> None:
        """This task takes long: let idle workers have what was prefetched behind it."""
        self._pausing = asyncio.create_task(self._consumer.pause())

    async def _outlast(self, handler: "asyncio.Future[object]", claim: Claim) -> None:
        """Nobody can stop a thread, or who ignores a cancellation: until it ends, this slot runs nothing."""
        self._duty.telemetry.tell(SlotHeld(claim))
        self._give_back()
        self.stuck.set()
        await asyncio.wait({handler})
        self.stuck.clear()


def _why_not(id: str, answer: Refusal | SetAside | GivenUp) -> DuplicateDropped | TaskSetAside | TaskGivenUp:
    match answer:
        case SetAside(id, action, first):
            return TaskSetAside(id, action, first)
        case GivenUp(id, action):
            return TaskGivenUp(id, action)
        case _:
            return DuplicateDropped(id)


def _named(body: bytes) -> str:
    """The task that a message itself names.

    Raises:
        MalformedMessageError: it is no task's payload, or too large to look.
    """
    if len(body) > MAX_PAYLOAD_BYTES:
        raise MalformedMessageError(f"more than {MAX_PAYLOAD_BYTES} bytes")
    try:
        check_bounds(body)
    except ValueError as error:
        raise MalformedMessageError(str(error)) from error
    return decode(body).id
