"""Headers that several operations have in common."""

from taskqueue_api.http.compression import ACCEPTED
from taskqueue_api.openapi import examples
from taskqueue_api.openapi.terms import Header

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
TRACEPARENT = Header(
    "traceparent",
    "The span in which the task is submitted (W3C Trace Context): those of its attempts then belong to its trace, "
    "where workers write traces. What is malformed is ignored.",
    "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
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
PAGE = Header("Location", "Where the page is.", "/docs", always=True)
PREFERENCE_APPLIED = Header("Preference-Applied", "How long was waited at most.", "wait=10")
REPLAYED = Header("Idempotency-Replayed", "`true`: this is the first answer again.", "true")
STARTED_AFTER = Header(
    "Last-Event-ID",
    "The stream begins after this event: who is cut off before the first one resumes there.",
    "0",
    always=True,
)
ACCEPT_ENCODING = Header("Accept-Encoding", "How a body may be encoded.", ACCEPTED, always=True)
RETRY_AFTER = Header("Retry-After", "Seconds after which to try again.", "2", always=True)
CHALLENGE = Header(
    "WWW-Authenticate", "How to show a key, and what was wrong.", 'Bearer error="invalid_token"', always=True
)
LINK = Header("Link", "The next page.", '</tasks?limit=1&cursor=MTMuMC5hMWIyYzNkNGU1ZjY>; rel="next"')
UNBUFFERED = Header("X-Accel-Buffering", "`no`: proxies pass each event on at once.", "no", always=True)
TASK_ETAG = Header("ETag", "Names where the task stands.", 'W/"0123456789abcdef01234567"', always=True)
ETAG = Header("ETag", "Names this version.", '"0123456789abcdef01234567"', always=True)
