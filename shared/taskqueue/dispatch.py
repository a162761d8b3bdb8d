"""From `pending` to `queued`: publish a task, and mark it once the broker has confirmed."""

import asyncio
import logging
from typing import Any

from taskqueue.broker import Broker, BrokerState, PublishError
from taskqueue.logs import task_fields
from taskqueue.message import decode
from taskqueue.store import StoreUnavailableError, TaskStore
from taskqueue.task import Dispatch

log = logging.getLogger("taskqueue.dispatch")

#: Seconds between two looks at whether the queue had to be made anew.
_LOOK = 0.5


async def publish(broker: Broker, dispatch: Dispatch, timeout: float) -> bool:
    """Publish a task that is leased to us, and tell whether the broker confirmed it within `timeout` seconds.

    Where it did not, the lease runs out and the relay publishes the task again.
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
        log.warning("message not confirmed, the relay will publish it: %s", error, extra=_fields(dispatch))
        return False
    except Exception:  # the task is stored, and must not be answered as if it were not
        log.exception("publishing failed, the relay will try again", extra=_fields(dispatch))
        return False
    return True


async def mark(store: TaskStore, dispatch: Dispatch) -> None:
    """Mark a confirmed task `queued`. Where that fails it stays `pending`, and is published again: harmless."""
    try:
        await store.mark_queued(dispatch.id, dispatch.dispatch_id)
    except StoreUnavailableError as error:
        log.warning("could not mark a task queued: %s", error, extra=_fields(dispatch))


async def requeue_when_the_queue_was_lost(store: TaskStore, broker: Broker) -> None:
    """Run for ever: whenever this process had to create the queue, its messages are gone, and all `queued`
    tasks become `pending` again."""
    seen = 0
    while True:
        created = broker.queues_created
        if created != seen:
            try:
                count = await store.requeue()
            except StoreUnavailableError as error:
                log.warning("could not requeue the tasks of a lost queue yet: %s", error)
            else:
                seen = created
                if count:
                    log.warning("the queue was missing: %d queued tasks will be published again", count)
        await asyncio.sleep(_LOOK)


def _fields(dispatch: Dispatch) -> dict[str, Any]:
    return task_fields(dispatch.id, decode(dispatch.payload.encode()).action)
