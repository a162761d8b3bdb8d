"""Handing tasks to the broker, for who holds their dispatch leases; and what follows when the queue is lost."""

import asyncio
import re
from random import Random

from taskqueue.broker import Broker, BrokerState, PublishError
from taskqueue.store import Store, StoreUnavailableError
from taskqueue.task import Dispatch
from taskqueue.telemetry import Demoted, NotConfirmed, Published, SweepPutOff, Telemetry

#: A task's id, and a token.
_MESSAGE_ID = re.compile(r"[^.]+\.([0-9a-f]{1,12})(?:-[0-9a-f]+)?")

#: Seconds between two looks at whether the queue had to be made anew.
_LOOK = 0.5


def token(now: int, random: Random | None = None) -> str:
    """What sets a publish apart from the others of its task: when it was leased, in Unix milliseconds, and for all
    but the first a random part."""
    return f"{now:x}" if random is None else f"{now:x}-{random.getrandbits(64):016x}"


def leased_at(message_id: str | None) -> int | None:
    """When a message's task was leased for it, in Unix milliseconds; None where a stranger named the message."""
    match = _MESSAGE_ID.fullmatch(message_id or "")
    return int(match[1], 16) if match else None


async def publish(broker: Broker, dispatch: Dispatch, timeout: float, telemetry: Telemetry) -> bool:
    """Publish a task that is leased to us, and tell whether the broker confirmed it within `timeout` seconds.

    One that is not confirmed may be with the broker all the same: it is published again, and its second message
    finds nothing to claim.
    """
    if broker.state is not BrokerState.CONNECTED:
        return False
    try:
        await broker.publish(
            dispatch.payload.encode(),
            message_id=dispatch.dispatch_id,
            priority=dispatch.priority,
            timeout=timeout,
        )
    except PublishError as error:
        telemetry.tell(NotConfirmed(dispatch.id, dispatch.action, error, expected=True))
        return False
    except Exception as error:  # the task is stored, and must not be answered as if it were not
        telemetry.tell(NotConfirmed(dispatch.id, dispatch.action, error, expected=False))
        return False
    telemetry.tell(Published(dispatch.id))
    return True


async def demote_when_the_queue_was_lost(store: Store, broker: Broker, telemetry: Telemetry) -> None:
    """Run for ever: whenever this process had to create the queue, its messages are gone, and all `queued`
    tasks become `pending` again."""
    seen = 0
    while True:
        created = broker.queues_created
        if created != seen:
            try:
                count = await store.bulk.demote_all()
            except StoreUnavailableError as error:
                telemetry.tell(SweepPutOff("demoting the tasks of a lost queue", error))
            else:
                seen = created
                if count:
                    telemetry.tell(Demoted(count, "the queue was missing"))
        await asyncio.sleep(_LOOK)
