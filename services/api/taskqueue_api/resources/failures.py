"""`GET /errors`: what fails, and how often: errors of the same action that are alike are one."""

import re
from collections.abc import Iterable

from aiohttp import web

from taskqueue.contract.failures import ErrorGroup, ErrorsAnswer, ErrorsQuery
from taskqueue.contract.requests import TaskFilter
from taskqueue.store.reads import Failures
from taskqueue_api.http.bodies import read_query
from taskqueue_api.keys import HOLDER, STORE
from taskqueue_api.resources.filters import to_store

#: Failed tasks that are looked at, and groups that are told.
LOOKED_AT, _TOLD = 10_000, 100
#: What differs between errors that are alike: ids, addresses, numbers.
_VARIES = re.compile(
    r"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b|\b0x[0-9a-f]+\b|\b[0-9a-f]{16,}\b|\d+(?:[.,:]\d+)*",
    re.IGNORECASE,
)
_ELLIPSIS = "…"
#: Characters of `error` at most, as `GET /tasks` takes it.
_LONGEST = 200


async def errors(request: web.Request) -> web.Response:
    """`GET /errors`: errors of failed tasks, alike ones together."""
    query = read_query(ErrorsQuery, request.query)
    wanted = to_store(TaskFilter.model_validate(query.model_dump(exclude_unset=True)), request[HOLDER])
    found = await request.app[STORE].reads.failures(wanted, limit=LOOKED_AT)
    answer = ErrorsAnswer(errors=grouped(found)[:_TOLD], looked_at=sum(each.tasks for each in found))
    return web.json_response(text=answer.to_json())


def grouped(found: Iterable[Failures]) -> list[ErrorGroup]:
    """The most frequent first; of equal ones, that which happened last."""
    groups: dict[tuple[str, str, str], ErrorGroup] = {}
    for each in found:
        message = _VARIES.sub(_ELLIPSIS, each.message.partition("\n")[0])
        group = ErrorGroup(
            action=each.action,
            type=each.type,
            message=message,
            tasks=each.tasks,
            first_at=each.first_at / 1000,
            last_at=each.last_at / 1000,
            last=each.last,
            error=f"{each.type}: {message.partition(_ELLIPSIS)[0]}"[:_LONGEST].rstrip(),
        )
        known = groups.setdefault((each.action, each.type, message), group)
        if known is not group:
            known.tasks += group.tasks
            known.first_at = min(known.first_at, group.first_at)
            known.last, known.last_at = max((known.last_at, known.last), (group.last_at, group.last))[::-1]
    return sorted(groups.values(), key=lambda group: (-group.tasks, -group.last_at))
