"""What may be answered to anybody: well-formed HTTP, no 5xx but 503, JSON with an `error` where it refuses."""

import gzip
import json
from collections.abc import Iterable
from dataclasses import dataclass

import h11


class WrongAnswerError(AssertionError):
    """The text says what is wrong."""


@dataclass(frozen=True)
class Answer:
    """One final answer; a stream's has what had come of it."""

    status: int
    headers: dict[str, str]
    body: bytes
    version: str
    #: Whether its end has come.
    complete: bool

    @property
    def last(self) -> bool:
        """Whether the server says that no other will follow."""
        return self.version < "1.1" or self.headers.get("connection", "").lower() == "close"


def read_answers(data: bytes, methods: Iterable[str], *, closed: bool) -> list[Answer]:
    """Read what came over a connection.

    Args:
        data: all of it.
        methods: of the requests, in their order; there may be fewer answers.
        closed: the server has closed the connection: what is incomplete then stays so.

    Raises:
        WrongAnswerError: it is no HTTP, or not what the API may answer.
    """
    answers: list[Answer] = []
    for method in methods:
        if not data:
            break
        answer, data = _read_one(data, method, closed=closed)
        answers.append(answer)
        if not answer.complete:
            if closed:
                raise WrongAnswerError(f"answer {len(answers)} was cut off: {answer}")
            break
    else:
        if data:
            raise WrongAnswerError(f"more came than was asked for: {data[:200]!r}")
    if data and answers and answers[-1].complete:
        raise WrongAnswerError(f"an answer without a request: {data[:200]!r}")
    return answers


def _read_one(data: bytes, method: str, *, closed: bool) -> tuple[Answer, bytes]:
    """The first answer, and what follows it."""
    reader = h11.Connection(h11.CLIENT, max_incomplete_event_size=1_000_000)
    reader.send(h11.Request(method=method, target="/", headers=[("Host", "api")]))
    reader.send(h11.EndOfMessage())
    response, body, complete = None, [], False
    try:
        reader.receive_data(data)
        if closed:
            reader.receive_data(b"")
        while not complete:
            match reader.next_event():
                case h11.NEED_DATA | h11.PAUSED:
                    break
                case h11.Response() as response:
                    pass
                case h11.Data(data=part):
                    body.append(bytes(part))
                case h11.EndOfMessage():
                    complete = True
    except h11.RemoteProtocolError as error:
        raise WrongAnswerError(f"not HTTP: {error}: {data[:500]!r}") from error
    if response is None:
        return Answer(0, {}, b"", "1.1", complete=False), b""
    headers = {name.decode(): value.decode("latin-1") for name, value in response.headers}
    answer = Answer(response.status_code, headers, b"".join(body), response.http_version.decode(), complete)
    if complete:
        _check(answer, method)
    return answer, bytes(reader.trailing_data[0])


def _check(answer: Answer, method: str) -> None:
    status, kind = answer.status, answer.headers.get("content-type", "")
    if not 200 <= status < 600 or (status >= 500 and status != 503):
        raise WrongAnswerError(f"answered {status}: {answer}")
    if status == 503 and "retry-after" not in answer.headers:
        raise WrongAnswerError(f"a 503 without Retry-After: {answer}")
    if status >= 400 and not kind.startswith("application/json"):
        raise WrongAnswerError(f"a refusal that is no JSON: {answer}")
    if status >= 400 and "x-request-id" not in answer.headers:
        raise WrongAnswerError(f"a refusal without a name: {answer}")
    if method != "HEAD" and kind.startswith("application/json"):
        _check_json(answer)


def _check_json(answer: Answer) -> None:
    packed = answer.headers.get("content-encoding") == "gzip"
    try:
        value = json.loads(gzip.decompress(answer.body) if packed else answer.body, parse_constant=_refuse)
    except (ValueError, OSError, EOFError) as error:
        raise WrongAnswerError(f"not JSON ({error}): {answer}") from error
    except RecursionError:
        return  # deeper than this parser goes, which is no fault of the answer
    if answer.status >= 400 and not (isinstance(value, dict) and value.get("error")):
        raise WrongAnswerError(f"a refusal without an `error`: {answer}")


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")
