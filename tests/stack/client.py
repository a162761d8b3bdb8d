"""What tests ask the API, over connections of their own, as any client does."""

import http.client
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Self

#: Seconds until a test gives up waiting for what should happen.
PATIENCE = 60


@dataclass
class Answer:
    """What a request was answered."""

    status: int
    #: What its JSON says; bytes where it is something else, or compressed; None where there is none.
    body: Any
    headers: http.client.HTTPMessage


def request(address: str, method: str, path: str, body: Any = None, **headers: str) -> Answer:
    """One request of its own connection.

    Args:
        body: bytes are sent as they are, anything else as JSON.
        headers: by name, with underscores for hyphens.

    Raises:
        OSError, http.client.HTTPException: there was no answer.
    """
    connection = http.client.HTTPConnection(address, timeout=PATIENCE)
    try:
        content = body if body is None or isinstance(body, bytes) else json.dumps(body)
        connection.request(method, path, content, _named(headers))
        response = connection.getresponse()
        return Answer(response.status, _read(response), response.headers)
    finally:
        connection.close()


@dataclass(frozen=True)
class Sent:
    """An event of a stream. Comments are left out."""

    kind: str
    id: int
    data: Any
    #: When it had arrived, in Unix seconds.
    arrived: float

    @property
    def change(self) -> tuple[str, str]:
        """Which task, and its new status."""
        return self.data["id"], self.data["status"]


class Stream:
    """Server-sent events, as they come, until the server ends them or this is left."""

    def __init__(self, address: str, path: str, after: int | None = None) -> None:
        self._connection = http.client.HTTPConnection(address, timeout=PATIENCE)
        self._connection.request("GET", path, headers={} if after is None else {"Last-Event-ID": str(after)})
        #: Once this is there, the stream has begun: what happens from now on is told.
        self._response = self._connection.getresponse()
        assert self._response.status == 200, self._response.read()
        assert self._response.headers["Content-Type"].startswith("text/event-stream")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._response.close()
        self._connection.close()

    def __iter__(self) -> Iterator[Sent]:
        fields: dict[str, str] = {}
        deadline = time.monotonic() + PATIENCE
        for line in self._response:
            name, separator, value = line.decode().rstrip("\n").partition(": ")
            if separator and name:
                fields[name] = value
            elif fields:
                yield Sent(fields["event"], int(fields["id"]), json.loads(fields["data"]), time.time())
                fields = {}
                deadline = time.monotonic() + PATIENCE
            # Looked at often enough: a comment comes where nothing else does.
            assert time.monotonic() < deadline, f"waited {PATIENCE} s for an event"


def _read(response: http.client.HTTPResponse) -> Any:
    content = response.read() or None
    is_json = response.headers.get_content_type() == "application/json"
    return json.loads(content) if content and is_json and "Content-Encoding" not in response.headers else content


def _named(headers: dict[str, str]) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in headers.items()}
