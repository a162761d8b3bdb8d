"""`Prefer: wait=N` (RFC 7240): answer the moment that a task is final."""

import re
from typing import Any

from aiohttp import web

from taskqueue.task import FINAL
from taskqueue_api.answers import attempt_json, task_json
from taskqueue_api.keys import SETTINGS, STORE, WATCHER


def preferred_wait(request: web.Request) -> float | None:
    """The seconds that the client would wait, capped; None if it didn't say. As RFC 7240 has it, a preference
    that can't be understood is ignored."""
    for header in request.headers.getall("Prefer", []):
        for preference in header.split(","):
            if match := re.fullmatch(r'\s*wait\s*=\s*"?(\d{1,9})"?\s*(?:;.*)?', preference, re.IGNORECASE):
                return min(float(match[1]), request.app[SETTINGS].max_wait)
    return None


async def wait_for(app: web.Application, id: str, seconds: float) -> dict[str, Any] | None:
    """The task with its attempts once it is final; None if that takes longer, or there is no such task."""
    store = app[STORE]
    await app[WATCHER].until_final(id, seconds)
    task = await store.get(id)
    if task is None or task.status not in FINAL:
        return None
    return task_json(task) | {"attempts": [attempt_json(attempt) for attempt in await store.attempts_of(id)]}
