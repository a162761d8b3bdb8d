"""The one way in: a validated task is made durable, then handed to the broker. Whatever that does, it is safe.

A task that is due is stored as `queued` under a short dispatch lease, and published at once. What the broker
confirms has its lease taken off a moment later, with all that gathered; what it does not is demoted to `pending`,
for the relay.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass

from taskqueue.broker import Broker, BrokerState
from taskqueue.contract.requests import SubmitBody
from taskqueue.dispatch import publish, token
from taskqueue.message import Priority
from taskqueue.settings import Settings
from taskqueue.store import (
    CommitUnknownError,
    IdempotentRequest,
    Replay,
    Store,
    StoreError,
    StoreUnavailableError,
    verbs,
)
from taskqueue.store.clock import to_ms
from taskqueue.store.engine.protocol import Transaction
from taskqueue.store.idempotency import amend_answer, find_answer, keep_answer
from taskqueue.task import Dispatch, NewTask, Status
from taskqueue.telemetry import LeasesKept, TaskAccepted, TaskRefused, Telemetry

#: Seconds in which confirmed leases gather before they are taken off: most of their tasks are claimed by then.
GATHERING = 0.3

#: The ids and statuses that an answer tells, in the order of the tasks.
Told = Sequence[tuple[str, Status]]
#: Makes an answer's text.
Answer = Callable[[Told], str]
#: The request, and its answer after these tasks were demoted.
_Amend = Callable[[set[int]], tuple[IdempotentRequest, str]]


@dataclass(frozen=True, slots=True)
class Accepted:
    """A task that is durable, and whether the broker has it."""

    seq: int
    id: str
    status: Status


def new_task(
    body: SubmitBody,
    *,
    id: str,
    payload: str,
    now: int,
    request_id: str | None,
    parent: str | None = None,
    traceparent: str | None = None,
) -> NewTask:
    """The task that a submit describes.

    Args:
        payload: its message.
        now: Unix milliseconds.
        parent: the task that submits it.
        traceparent: the span in which it is submitted.
    """
    return NewTask(
        id=id,
        action=body.action,
        payload=payload,
        created_at=now,
        run_at=now + to_ms(body.delay or 0) if body.run_at is None else to_ms(body.run_at),
        priority=Priority[body.priority.upper()],
        max_attempts=body.max_attempts,
        timeout=None if body.timeout is None else to_ms(body.timeout),
        tags=tuple(body.tags),
        request_id=request_id,
        parent=parent,
        traceparent=traceparent,
    )


class Intake:
    """Accepts tasks while `running`."""

    def __init__(self, settings: Settings, store: Store, broker: Broker, telemetry: Telemetry) -> None:
        self._store = store
        self._broker = broker
        self._telemetry = telemetry
        self._lease = to_ms(settings.dispatch_lease)
        self._publish_timeout = settings.publish_timeout
        #: Publishes whose leases are still to be taken off.
        self._confirmed: list[tuple[int, str]] = []
        self._news = asyncio.Event()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Take leases off. Leaving, with nothing more to come, writes the last ones."""
        settling = asyncio.create_task(self._settle())
        try:
            yield
        finally:
            settling.cancel()
            await asyncio.wait({settling})
            await self._settle_gathered()

    async def accept(
        self,
        tasks: Sequence[NewTask],
        *,
        request: IdempotentRequest | None = None,
        answer: Answer | None = None,
    ) -> list[Accepted] | Replay:
        """Accept tasks, all or none.

        Args:
            request: where its key was used before, nothing is stored, and that is told; else `answer` is kept.

        Raises:
            CommitUnknownError: nobody knows whether they are stored.
            StoreError: they are not.
        """
        connected = self._broker.state is BrokerState.CONNECTED
        to_publish = [connected and task.run_at <= task.created_at for task in tasks]
        expected = [
            (task.id, Status.QUEUED if now else Status.PENDING)
            for task, now in zip(tasks, to_publish, strict=True)
        ]
        kept = answer(expected) if request and answer else ""
        try:
            stored = await self._stored(tasks, to_publish, request, kept)
        except CommitUnknownError:
            raise  # not refused: it may be stored
        except StoreError as error:
            self._telemetry.tell(TaskRefused(error))
            raise
        if isinstance(stored, Replay):
            return stored
        dispatches = [
            Dispatch(seq, task.id, _dispatch_id(task), task.action, task.payload, task.priority)
            for seq, task, now in zip(stored, tasks, to_publish, strict=True)
            if now
        ]

        def accepted_but(demoted: set[int]) -> list[Accepted]:
            return [
                Accepted(seq, id, Status.PENDING if seq in demoted else status)
                for seq, (id, status) in zip(stored, expected, strict=True)
            ]

        def amended(demoted: set[int]) -> str:
            return answer([(task.id, task.status) for task in accepted_but(demoted)]) if answer else ""

        amend = (lambda demoted: (request, amended(demoted))) if request else None
        accepted = accepted_but(await self._publish(dispatches, amend))
        for task, told in zip(tasks, accepted, strict=True):
            self._telemetry.tell(TaskAccepted(task.id, task.action, told.status))
        return accepted

    async def _stored(
        self, tasks: Sequence[NewTask], to_publish: Sequence[bool], request: IdempotentRequest | None, kept: str
    ) -> list[int] | Replay:
        try:
            return await self._store.write(_submit_all, tasks, to_publish, self._lease, request, kept)
        except CommitUnknownError as error:
            known = await self._read_back([task.id for task in tasks], error)
            if not known:
                raise StoreUnavailableError(str(error)) from error
            return [known[task.id] for task in tasks]

    async def _read_back(self, ids: list[str], unknown: CommitUnknownError) -> dict[str, int]:
        """What is stored of them: all, or nothing."""
        try:
            return await self._store.reads.known(ids)
        except StoreError:
            raise unknown from None

    async def _publish(self, dispatches: Sequence[Dispatch], amend: _Amend | None) -> set[int]:
        """Hand them to the broker; those that were demoted, since it did not confirm them."""
        publishes = [
            publish(self._broker, dispatch, self._publish_timeout, self._telemetry) for dispatch in dispatches
        ]
        # Gathering makes a task of each, which one alone does not need.
        confirmed = [await publishes[0]] if len(publishes) == 1 else await asyncio.gather(*publishes)
        unconfirmed: list[tuple[int, str]] = []
        for dispatch, ok in zip(dispatches, confirmed, strict=True):
            (self._confirmed if ok else unconfirmed).append((dispatch.seq, dispatch.dispatch_id))
        self._news.set()
        if not unconfirmed:
            return set()
        try:
            return await self._store.write(_demote, unconfirmed, amend)
        except StoreError as error:  # their leases run out, and a sweep demotes them
            self._telemetry.tell(LeasesKept(len(unconfirmed), error))
            return {seq for seq, _ in unconfirmed}

    async def _settle(self) -> None:
        while True:
            await self._news.wait()
            await asyncio.sleep(GATHERING)
            self._news.clear()
            await self._settle_gathered()

    async def _settle_gathered(self) -> None:
        """Take them off; where that fails they are kept, and tried again."""
        confirmed, self._confirmed = self._confirmed, []
        if not confirmed:
            return
        try:
            await self._store.write(verbs.settle, confirmed)
        except StoreError as error:
            self._telemetry.tell(LeasesKept(len(confirmed), error))
            self._put_back(confirmed)
        except asyncio.CancelledError:
            self._put_back(confirmed)
            raise

    def _put_back(self, confirmed: list[tuple[int, str]]) -> None:
        self._confirmed += confirmed
        self._news.set()


def _submit_all(
    tx: Transaction,
    tasks: Sequence[NewTask],
    to_publish: Sequence[bool],
    lease: int,
    request: IdempotentRequest | None,
    answer: str,
) -> list[int] | Replay:
    if request:
        if replay := find_answer(tx, request):
            return replay
        keep_answer(tx, request, answer)
    return [
        verbs.submit(tx, task, _dispatch_id(task) if now else None, lease)
        for task, now in zip(tasks, to_publish, strict=True)
    ]


def _demote(tx: Transaction, unconfirmed: Sequence[tuple[int, str]], amend: _Amend | None) -> set[int]:
    demoted = verbs.demote(tx, unconfirmed)
    if demoted and amend:
        amend_answer(tx, *amend(demoted))
    return demoted


def _dispatch_id(task: NewTask) -> str:
    """Of the publish that follows the submission."""
    return f"{task.id}.{token(task.created_at)}"
