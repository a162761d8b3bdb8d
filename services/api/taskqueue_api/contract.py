"""Headers and answers that several operations have in common, for the route table."""

from typing import Any

from taskqueue_api import examples
from taskqueue_api.answers import ConflictAnswer, ErrorAnswer
from taskqueue_api.operations import Answer, Header, answer

# Headers that requests may have

IDEMPOTENCY_KEY = Header(
    "Idempotency-Key",
    "Makes it safe to send the request again: within a day, the same key and body get the first answer again, and "
    "nothing is done twice. Up to 255 printable ASCII characters, also in quotes.",
    '"8e03978e-40d5-43e8-bc93-6894a57f9324"',
    pattern=r'^(?!""$)[!-~]([ -~]{0,253}[!-~])?$',
)
PREFER_WAIT = Header(
    "Prefer",
    "`wait=N` (RFC 7240): answer the moment that the task is final, or after N seconds, 0 to 86400. Capped by a "
    "setting. Other preferences are ignored.",
    "wait=10",
)
REQUEST_ID = Header(
    "X-Request-ID",
    "A name for this request, for logs: 1 to 128 printable ASCII characters without spaces. Where there is none, "
    "or another, one is made.",
    examples.REQUEST_ID,
)
LAST_EVENT_ID = Header(
    "Last-Event-ID",
    "Resume after this event; browsers send it by themselves. Where events after it are no longer kept, the "
    "stream begins with a `reset` event, and goes on from now. One that is still to come is refused.",
    "0",
    pattern="^[0-9]{1,18}$",
)
TASK_IF_NONE_MATCH = Header(
    "If-None-Match", "The `ETag` of what the client has already.", 'W/"0123456789abcdef01234567"'
)
IF_NONE_MATCH = Header("If-None-Match", "The `ETag` of what the client has already.", '"0123456789abcdef01234567"')

# Headers that answers may have

ANSWERED_ID = Header("X-Request-ID", "The request's name.", examples.REQUEST_ID, always=True)
LOCATION = Header("Location", "Where the task is.", f"/tasks/{examples.ID}", always=True)
PREFERENCE_APPLIED = Header("Preference-Applied", "How long was waited at most.", "wait=10")
REPLAYED = Header("Idempotency-Replayed", "`true`: this is the first answer again.", "true")
RETRY_AFTER = Header("Retry-After", "Seconds after which to try again.", "2", always=True)
LINK = Header("Link", "The next page.", '</tasks?limit=1&cursor=MTMuMC5hMWIyYzNkNGU1ZjY>; rel="next"')
TASK_ETAG = Header("ETag", "Names where the task stands.", 'W/"0123456789abcdef01234567"', always=True)
ETAG = Header("ETag", "Names this version.", '"0123456789abcdef01234567"', always=True)

# Answers of several operations


def bad(error: str, **more: Any) -> Answer:
    """A 400."""
    return answer("What was sent is wrong; the error says what.", ErrorAnswer, {"error": error} | more)


UNAVAILABLE = answer(
    "The database can't be used now.", ErrorAnswer, {"error": "database unavailable"}, RETRY_AFTER
)
UNAVAILABLE_OR_FULL = answer(
    "The database can't be used now, or too many tasks wait already.",
    ErrorAnswer,
    {"error": "too many tasks waiting; nothing was stored"},
    RETRY_AFTER,
)
NO_STREAM = answer(
    "The database can't be used now, or too many streams are open.",
    ErrorAnswer,
    {"error": "too many streams are open"},
    RETRY_AFTER,
)
NOT_STORED = answer(
    "It could not be made durable, or too many tasks wait already; nothing was stored.",
    ErrorAnswer,
    {"error": "failed to queue task"},
    RETRY_AFTER,
)
TOO_SLOW = answer(
    "The body didn't come in time.",
    ErrorAnswer,
    {"error": "the body did not come in time; nothing was done"},
)
TOO_LARGE = answer(
    "The body is larger than a setting allows.",
    ErrorAnswer,
    {"error": "request body too large; TASKQUEUE_MAX_BODY_BYTES (of a batch, _BATCH_BYTES) is the limit"},
)
FOREIGN = answer(
    "A web page of another origin sent it, which TASKQUEUE_CORS_ORIGINS doesn't name.",
    ErrorAnswer,
    {"error": "pages of https://example.com may not use this API; TASKQUEUE_CORS_ORIGINS names those that may"},
)
#: What every request that changes something may be answered.
OF_WRITES: dict[int, Answer] = {403: FOREIGN, 408: TOO_SLOW, 413: TOO_LARGE}
KEY_USED = answer(
    "The Idempotency-Key came with another request before.",
    ErrorAnswer,
    {"error": "this Idempotency-Key was used for another request"},
)
NO_TASK = answer("There is no such task.", ErrorAnswer, {"error": f"no task has the id '{examples.OTHER_ID}'"})
NOT_MODIFIED = Answer("It is what the client has.", headers=(ETAG,))
SAME_TASK = Answer("Nothing has changed since what the client has.", headers=(TASK_ETAG, PREFERENCE_APPLIED))


def conflict(error: str, status: str) -> Answer:
    """A 409."""
    return answer("The task's status doesn't allow it.", ConflictAnswer, {"error": error, "status": status})
