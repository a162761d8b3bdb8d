"""A request to the API, and how its answer is read: no connection here."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, TypeVar

import httpx
from pydantic import BaseModel, ValidationError

from taskqueue.client.errors import (
    AnswerLostError,
    ConflictError,
    ConnectionFailedError,
    ForbiddenError,
    InvalidRequestError,
    NotFoundError,
    NotTaskqueueError,
    RefusedError,
    TaskqueueError,
    TooLargeError,
    UnauthorizedError,
    UnavailableError,
)
from taskqueue.contract.answers import KEY_REUSED, ConflictAnswer, ErrorAnswer
from taskqueue.task import Status

T = TypeVar("T")
M = TypeVar("M", bound=BaseModel)

#: When a request may be sent again: also where its answer was lost; only where it was refused for now, or could
#: not be sent; only where it could not be sent.
Again = Literal["lost", "refused", "unsent"]

#: The header that makes a POST safe to be sent again.
KEY = "Idempotency-Key"

#: A proxy's: the API behind it may have carried the request out.
_LOST = {502, 504}
_LATER = {429, 503}

_ERRORS = {
    400: InvalidRequestError,
    401: UnauthorizedError,
    403: ForbiddenError,
    404: NotFoundError,
    409: ConflictError,
    413: TooLargeError,
    422: InvalidRequestError,
    429: UnavailableError,
    502: UnavailableError,
    503: UnavailableError,
    504: UnavailableError,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Call(Generic[T]):
    """One request, however often it is sent."""

    method: Literal["GET", "POST", "DELETE"]
    path: str
    #: Makes what is returned of an answer of success.
    read: Callable[[httpx.Response], T]
    params: Mapping[str, Any] = field(default_factory=dict)
    content: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    #: Seconds that the API is asked to wait before it answers.
    wait: float = 0
    again: Again = "lost"

    def may_follow(self, failure: TaskqueueError) -> bool:
        """Whether another try may follow one that failed so."""
        if isinstance(failure, AnswerLostError):
            return self.again == "lost"
        if isinstance(failure, UnavailableError):
            return self.again != "unsent"
        return isinstance(failure, ConnectionFailedError)

    def no_answer(self, why: str) -> ConnectionFailedError:
        """What to raise where it was sent, and no answer came."""
        if self.method == "GET":  # which does nothing
            return ConnectionFailedError(why)
        return AnswerLostError(f"{why}; whether it was carried out is not known", self.headers.get(KEY))

    def refusal(self, response: httpx.Response) -> TaskqueueError:
        """What to raise for an answer that is none of success."""
        status = response.status_code
        if status in _LOST and self.method != "GET":
            return self.no_answer(f"{shown(response.url)} answered {status} {response.reason_phrase}")
        try:
            answer = ErrorAnswer.model_validate_json(response.content)
        except ValidationError:
            if status not in _LOST | _LATER:
                return no_taskqueue(response)
            answer = ErrorAnswer(error=response.reason_phrase)  # a proxy's, in its own words
        kind = ConflictError if answer.error == KEY_REUSED else _ERRORS.get(status, RefusedError)
        return kind(
            status,
            answer.error,
            answer.details or [],
            response.headers.get("X-Request-ID"),
            _task_status(response) if status == 409 else None,
            _seconds(response.headers.get("Retry-After", "")),
        )


def answer(kind: type[M]) -> Callable[[httpx.Response], M]:
    """Reads an answer that is this model; what reads raises NotTaskqueueError if it is not."""

    def read(response: httpx.Response) -> M:
        try:
            return kind.model_validate_json(response.content)
        except ValidationError as error:
            raise no_taskqueue(response, error) from error

    return read


def nothing(response: httpx.Response) -> None:
    """Reads an answer that has no body."""


def no_taskqueue(response: httpx.Response, error: ValidationError | None = None) -> NotTaskqueueError:
    """What to raise for an answer that no taskqueue gives, or none of this version."""
    media_type = response.headers.get("Content-Type", "nothing").partition(";")[0]
    told = f"{shown(response.url)} answered {response.status_code} with {media_type}"
    if media_type != "application/json" or error is None:
        return NotTaskqueueError(f"{told}: no taskqueue is there")
    first = error.errors(include_url=False)[0]
    where = ".".join(map(str, first["loc"])) or "the whole"
    return NotTaskqueueError(
        f"{told} that is not what this version of the client knows ({where}: {first['msg']}): no taskqueue is "
        "there, or one of another version"
    )


def shown(url: httpx.URL) -> str:
    """An address as it may stand in an error: without the password in it, if there is one."""
    return f"{url.scheme}://{url.netloc.decode()}{url.path}"


def _task_status(response: httpx.Response) -> Status | None:
    try:
        return ConflictAnswer.model_validate_json(response.content).status
    except ValidationError:
        return None


def _seconds(retry_after: str) -> float | None:
    # Ours tells seconds. Where a proxy tells a date, the usual pause does.
    return float(retry_after) if retry_after.isascii() and retry_after.isdigit() else None
