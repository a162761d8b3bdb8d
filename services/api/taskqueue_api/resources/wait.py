"""`Prefer: wait=N` (RFC 7240): answer the moment that a task is final."""

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator

from aiohttp import web

from taskqueue.contract.limits import LONGEST_WAIT
from taskqueue.task import FINAL, Task
from taskqueue_api.http.errors import bad_request
from taskqueue_api.http.room import room_for_answer
from taskqueue_api.keys import SETTINGS, STORE, WAITS, WATCHER


def preferred_wait(request: web.Request) -> float | None:
    """The seconds that the client would wait, capped; None if it didn't say. The first one counts, and other
    preferences are ignored, as RFC 7240 has it.

    Raises:
        HTTPBadRequest: it is no number of seconds up to a day.
    """
    for header in request.headers.getall("Prefer", []):
        for preference in header.split(","):
            name, _, value = preference.partition(";")[0].partition("=")
            if name.strip().lower() == "wait":
                return min(_seconds(value.strip()), request.app[SETTINGS].max_wait)
    return None


def _seconds(value: str) -> float:
    digits = re.fullmatch(r'(?P<quote>"?)([0-9]{1,9})(?P=quote)', value)
    if digits is None or int(digits[2]) > LONGEST_WAIT:
        raise bad_request(f"Prefer: wait is a whole number of seconds from 0 to {LONGEST_WAIT}")
    return float(digits[2])


@contextlib.asynccontextmanager
async def place_to_wait(app: web.Application) -> AsyncIterator[None]:
    """A place among those that wait. From now on no end is missed.

    Raises:
        HTTPServiceUnavailable: as many wait as may.
    """
    with app[WAITS].one():
        async with app[WATCHER].listening():
            yield


async def once_final(request: web.Request, id: str, seconds: float, seq: int | None = None) -> Task | None:
    """The task once it is final; None if that takes longer, or there is no such task.

    It is called from a `place_to_wait`, so no end is missed between a read and the wait.

    Args:
        seq: of a task that was accepted since, and so need not be read before.
    """
    clock, watcher, reads = asyncio.get_running_loop().time, request.app[WATCHER], request.app[STORE].reads
    deadline = clock() + seconds
    while True:
        if seq is not None and not await watcher.until_end(seq, deadline - clock()):
            return None
        task = await reads.outline(id)
        if task is None or task.status in FINAL:
            return task if task is None or task.payload else await reads.get(id, room_for_answer(request))
        seq = task.seq
        del task  # it may wait for long
