"""Writes that wait for the store, however long it is away: nothing that a worker holds is dropped for that."""

import asyncio
from collections.abc import Callable
from random import Random
from typing import TypeVar

from taskqueue.store import StoreUnavailableError
from taskqueue.telemetry import StoreAwaited, Telemetry

T = TypeVar("T")


async def until_stored(
    write: Callable[[], asyncio.Future[T]],
    what: str,
    telemetry: Telemetry,
    random: Random,
    *,
    id: str | None = None,
    begun: asyncio.Future[T] | None = None,
) -> T:
    """What a write returned, once it is committed.

    Args:
        write: enqueues it.
        what: names it, where it has to wait.
        id: the task's.
        begun: the first try, where it has been enqueued already.
    """
    failures = 0
    while True:
        try:
            return await (begun or write())
        except StoreUnavailableError as error:
            begun = None
            failures += 1
            if failures == 1:
                telemetry.tell(StoreAwaited(what, error, id))
            await asyncio.sleep(random.uniform(0.05, min(2, 0.1 * 2**failures)))
