"""Every error answer is a JSON object with an `error` text."""

import json
import logging
from typing import Any

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

log = logging.getLogger("taskqueue.api")

INTERNAL_ERROR = "internal error; the API's log has the cause"

#: Seconds after which a client may try again what was answered 503.
RETRY_AFTER = "2"


def error_body(error: str, **more: Any) -> str:
    """The body of an error's answer. What is no Unicode of what was sent is told escaped."""
    return json.dumps({"error": error.encode(errors="backslashreplace").decode()} | more)


def bad_request(
    error: str, details: list[dict[str, str | int]] | None = None, detail: str | None = None
) -> web.HTTPBadRequest:
    """A 400 to raise.

    Args:
        error: what is wrong, for the client's developer.
        details: where there are several errors, each with the member's `path` and its `error`.
        detail: what more there is to tell of the one error.
    """
    more = {name: value for name, value in (("details", details), ("detail", detail)) if value}
    return web.HTTPBadRequest(text=error_body(error, **more), content_type="application/json")


def unprocessable(error: str, details: list[dict[str, str | int]] | None = None) -> web.HTTPUnprocessableEntity:
    """A 422 to raise; `details` as of a 400."""
    more = {"details": details} if details else {}
    return web.HTTPUnprocessableEntity(text=error_body(error, **more), content_type="application/json")


def too_large(error: str, size: int, limit: int) -> web.HTTPRequestEntityTooLarge:
    """A 413 to raise; `size` and `limit` are in bytes, or in what is too many."""
    return web.HTTPRequestEntityTooLarge(limit, size, text=error_body(error), content_type="application/json")


def unavailable(error: str) -> web.HTTPServiceUnavailable:
    """A 503 to raise, with Retry-After."""
    return web.HTTPServiceUnavailable(
        text=error_body(error),
        content_type="application/json",
        headers={"Retry-After": RETRY_AFTER},
    )


def json_errors(outage: type[Exception], text: str) -> Middleware:
    """Turn whatever goes wrong into a JSON answer; what nobody expected is logged and answered 500.

    Args:
        outage: raised where something can't be used now; it is answered 503, with this text.
    """

    @web.middleware
    async def answer_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            return await handler(request)
        except web.HTTPException:
            raise
        except web.RequestPayloadError:
            # Nothing more can be read of it: without this, aiohttp would try, and log a traceback.
            request.content.feed_eof()
            answer = web.json_response({"error": "the body can't be read: its encoding is broken"}, status=400)
            answer.force_close()
            return answer
        except outage as error:
            log.warning("%s %s: %s", request.method, request.path, error)
            raise unavailable(text) from error
        except ConnectionResetError:
            log.info(
                "%s %s: the client disconnected before its request was complete", request.method, request.path
            )
            return web.json_response({"error": "incomplete request"}, status=400)  # nobody reads it
        except Exception:
            log.exception("%s %s failed", request.method, request.path)
            return web.json_response({"error": INTERNAL_ERROR}, status=500)

    return answer_errors


def as_json(error: web.HTTPException) -> None:
    """Make an answer that aiohttp raised, in its own words, one of ours."""
    if error.content_type != "application/json":
        error.text = error_body(_text(error))
        error.content_type = "application/json"


def _text(error: web.HTTPException) -> str:
    match error:
        case web.HTTPNotFound():
            return "no such path"
        case web.HTTPMethodNotAllowed():
            return f"method {error.method} not allowed; allowed: {', '.join(sorted(error.allowed_methods))}"
        case web.HTTPRequestEntityTooLarge():
            return "request body too large; TASKQUEUE_MAX_BODY_BYTES (of a batch, _BATCH_BYTES) is the limit"
        case web.HTTPExpectationFailed():
            return "Expect: nothing but 100-continue is met"
        case _:
            return error.reason
