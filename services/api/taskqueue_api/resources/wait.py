"""`Prefer: wait=N` (RFC 7240): answer the moment that a task is final."""

import re

from aiohttp import web

from taskqueue.contract.limits import LONGEST_WAIT
from taskqueue.contract.tasks import WholeTaskAnswer
from taskqueue.task import FINAL
from taskqueue_api.http.errors import bad_request
from taskqueue_api.keys import SETTINGS, STORE, WATCHER


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


async def wait_for(app: web.Application, id: str, seconds: float) -> WholeTaskAnswer | None:
    """The task with its attempts once it is final; None if that takes longer, or there is no such task."""
    store = app[STORE]
    await app[WATCHER].until_final(id, seconds)
    task = await store.get(id)
    if task is None or task.status not in FINAL:
        return None
    return WholeTaskAnswer.whole(task, await store.attempts_of(id))
