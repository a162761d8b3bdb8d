"""Requests byte by byte, as no HTTP library would send them."""

import asyncio
import gzip
import json
from dataclasses import dataclass
from typing import Any

from tests.integration.system import System

#: Seconds for an answer to come, and for a server that waits for more to say nothing.
PATIENCE, QUIET = 5, 0.05


@dataclass(frozen=True)
class RawAnswer:
    """An answer as it came over the wire."""

    status: int
    #: By their names in lower case.
    headers: dict[str, str]
    body: bytes

    @property
    def error(self) -> str:
        """What is wrong: each 4xx and 5xx says so in JSON, and names its request."""
        assert self.headers["content-type"] == "application/json; charset=utf-8"
        assert self.headers["x-request-id"]
        packed = self.headers.get("content-encoding") == "gzip"
        error = json.loads(gzip.decompress(self.body) if packed else self.body)["error"]
        assert error.encode(), "it is Unicode"
        return str(error)


async def ask(system: System, *segments: bytes, patience: float = PATIENCE) -> list[RawAnswer]:
    """Send bytes, a segment at a time, over a connection of their own, and return what is answered until the
    server closes the connection, or has nothing more to say."""
    reader, writer = await asyncio.open_connection(system.client.host, system.client.port)
    received = b""
    try:
        for segment in segments:
            writer.write(segment)
            await asyncio.sleep(0.01)  # or the server would read them at once
        while chunk := await asyncio.wait_for(reader.read(2**20), patience):
            received += chunk
            patience = QUIET
    except (TimeoutError, ConnectionError):
        pass
    finally:
        writer.transport.abort()
    return answers(received)


def answers(received: bytes) -> list[RawAnswer]:
    """Answers one after the other; one to a HEAD may be among them. Of a stream, only the head is told."""
    found = []
    while received:
        head, _, rest = received.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        status = int(first.split(" ")[1])
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        length = int(headers.get("content-length", 0))
        bodiless = rest.startswith(b"HTTP/1.") or not rest
        found.append(RawAnswer(status, headers, b"" if bodiless else rest[:length]))
        received = b"" if "transfer-encoding" in headers else rest if bodiless else rest[length:]
    return found


def post(body: bytes, *headers: bytes, path: bytes = b"/tasks") -> bytes:
    """A POST as it goes over the wire."""
    lines = [b"POST %s HTTP/1.1" % path, b"Host: x", b"Content-Length: %d" % len(body), *headers]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def get(path: bytes, *headers: bytes) -> bytes:
    """A GET as it goes over the wire."""
    return b"\r\n".join([b"GET %s HTTP/1.1" % path, b"Host: x", *headers]) + b"\r\n\r\n"


TASK: Any = b'{"action": "x"}'
