"""Answers that several operations have in common."""

from typing import Any

from taskqueue.contract.answers import ConflictAnswer, ErrorAnswer
from taskqueue_api.http.compression import UNKNOWN_CODING
from taskqueue_api.openapi import examples, headers
from taskqueue_api.openapi.terms import Answer, answer


def bad(error: str, **more: Any) -> Answer:
    """A 400."""
    return answer("What was sent is wrong; the error says what.", ErrorAnswer, {"error": error} | more)


UNAVAILABLE = answer(
    "The database can't be used now.", ErrorAnswer, {"error": "database unavailable"}, headers.RETRY_AFTER
)
UNAVAILABLE_OR_FULL = answer(
    "The database can't be used now, or too many tasks wait already.",
    ErrorAnswer,
    {"error": "too many tasks waiting; nothing was stored"},
    headers.RETRY_AFTER,
)
NO_STREAM = answer(
    "The database can't be used now, or too many streams are open.",
    ErrorAnswer,
    {"error": "too many streams are open"},
    headers.RETRY_AFTER,
)
NO_WAIT = answer(
    "The database can't be used now, or too many requests wait for a task.",
    ErrorAnswer,
    {"error": "too many requests wait for a task; nothing was done"},
    headers.RETRY_AFTER,
)
NOT_STORED = answer(
    "It could not be made durable, or too many tasks or requests wait already; nothing was stored.",
    ErrorAnswer,
    {"error": "failed to queue task"},
    headers.RETRY_AFTER,
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
NOT_DECODED = answer(
    "The body has a Content-Encoding that can't be decoded; `Accept-Encoding` names those that can.",
    ErrorAnswer,
    {"error": UNKNOWN_CODING},
    headers.ACCEPT_ENCODING,
)
FOREIGN = answer(
    "A web page of another origin sent it, which TASKQUEUE_CORS_ORIGINS doesn't name.",
    ErrorAnswer,
    {"error": "pages of https://example.com may not use this API; TASKQUEUE_CORS_ORIGINS names those that may"},
)
NO_KEY = answer(
    "It shows no key, or one that is wrong, expired or revoked.",
    ErrorAnswer,
    {"error": "a key is needed: send it as Authorization: Bearer"},
    headers.CHALLENGE,
)
_TOO_LOW = {"error": "this needs the role operate; the key's role is read"}
TOO_LOW = answer("The key's role is too low.", ErrorAnswer, _TOO_LOW, headers.CHALLENGE)
FOREIGN_OR_TOO_LOW = answer(
    "The key's role is too low; or a web page of another origin sent it, which TASKQUEUE_CORS_ORIGINS doesn't "
    "name.",
    ErrorAnswer,
    _TOO_LOW,
)
#: What every request that changes something may be answered.
OF_WRITES: dict[int, Answer] = {403: FOREIGN, 408: TOO_SLOW, 413: TOO_LARGE, 415: NOT_DECODED}
NOT_TAKEN = answer(
    "The data doesn't fit its action, or the Idempotency-Key came with another request before.",
    ErrorAnswer,
    {
        "error": "invalid data",
        "details": [{"path": "data.width", "error": 'data.width: this value is not of type "integer"'}],
    },
)
NONE_TAKEN = answer(
    "The data of some tasks doesn't fit their actions, or the Idempotency-Key came with another request before.",
    ErrorAnswer,
    {
        "error": "invalid data",
        "details": [{"path": "tasks.1.data.width", "error": "tasks.1.data.width: required", "index": 1}],
    },
)
NO_TASK = answer("There is no such task.", ErrorAnswer, {"error": f"no task has the id '{examples.OTHER_ID}'"})
NOT_MODIFIED = Answer("It is what the client has.", headers=(headers.ETAG,))
SAME_TASK = Answer(
    "Nothing has changed since what the client has.", headers=(headers.TASK_ETAG, headers.PREFERENCE_APPLIED)
)


def conflict(error: str, status: str) -> Answer:
    """A 409."""
    return answer("The task's status doesn't allow it.", ConflictAnswer, {"error": error, "status": status})
