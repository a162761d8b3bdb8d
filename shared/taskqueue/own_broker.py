"""The broker of a store: two installations on one queue, or a store on two queues, are refused at the start."""

from taskqueue.broker import Broker, Owner, QueueTakenError, open_broker
from taskqueue.settings import Settings
from taskqueue.store import Store
from taskqueue.store.identity import note_queue


async def own_broker(settings: Settings, store: Store) -> Broker:
    """The broker, not started yet, of a queue that is this store's alone.

    Raises:
        QueueTakenError: the store's tasks go through another queue. (Whether the queue is another store's is told
            when the broker is entered, or as soon as it is there.)
        StoreError: the store can't be read, or (at the first start) not written.
    """
    identity = await store.reads.identity()
    if identity.queue != settings.queue:
        identity = await store.write(note_queue, settings.queue, takes=settings.take_queue)
    if identity.queue != settings.queue:
        raise QueueTakenError(
            f"the tasks of {settings.database} go through the queue {identity.queue!r}, and TASKQUEUE_QUEUE is "
            f"{settings.queue!r}: set it as it was, or TASKQUEUE_TAKE_QUEUE=true to change it (docs/operations.md)"
        )
    return open_broker(settings.broker, settings.queue, owner=Owner(identity.store, settings.take_queue))
