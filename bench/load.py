"""The load generator: HTTP/1.1 over kept-alive connections, a request at a time on each, from bytes made before.

It costs a fraction of any server that it drives; what it can do at most is told beside the results.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import cast

#: Called with the status and the body of an answer.
Answered = Callable[[int, bytes], None]

_END_OF_HEAD = b"\r\n\r\n"
_LENGTH = b"\r\ncontent-length: "

#: Seconds that an answer may take.
_PATIENCE = 90


class RefusedError(Exception):
    """A server did not answer as it should. The text says how it did."""


@dataclass
class Answers:
    """What came back, in the order of arrival."""

    bodies: list[bytes] = field(default_factory=list)
    #: Seconds from each request to its answer.
    latencies: list[float] = field(default_factory=list)
    #: Seconds from the first request to the last answer.
    took: float = 0


def post(path: str, body: bytes, headers: str = "") -> bytes:
    """A request; `headers` are whole lines."""
    head = (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n{headers}\r\n"
    )
    return head.encode() + body


def get(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode()


class Connection(asyncio.Protocol):
    """One connection; at most one request is under way."""

    def __init__(self) -> None:
        self._buffer = b""
        self._answered: Answered | None = None
        self._lost: Callable[[str], None] | None = None
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def send(self, request: bytes, answered: Answered, lost: Callable[[str], None]) -> None:
        """Send it; one of the two is called once. `lost` gets the cause."""
        self._answered, self._lost = answered, lost
        self._transport.write(request)

    def close(self) -> None:
        self._lost = None
        self._transport.close()

    def data_received(self, data: bytes) -> None:
        buffer = self._buffer = self._buffer + data if self._buffer else data
        end = buffer.find(_END_OF_HEAD)
        if end < 0:
            return
        head = buffer[: end + 2].lower()
        start = head.find(_LENGTH)
        length = int(head[start + len(_LENGTH) : head.index(b"\r", start + 2)]) if start >= 0 else 0
        if len(buffer) < end + 4 + length:
            return
        self._buffer = b""
        if answered := self._answered:
            self._answered = self._lost = None
            answered(int(head[9:12]), buffer[end + 4 :])

    def connection_lost(self, exc: Exception | None) -> None:
        if lost := self._lost:
            self._answered = self._lost = None
            lost(f"the connection was closed before the answer: {exc}")


@asynccontextmanager
async def connected(port: int, count: int = 1) -> AsyncIterator[list[Connection]]:
    """Open connections to a server on the loopback address."""
    loop = asyncio.get_running_loop()
    connections: list[Connection] = []
    try:
        for _ in range(count):
            _, connection = await loop.create_connection(Connection, "127.0.0.1", port)
            connections.append(connection)
        yield connections
    finally:
        for connection in connections:
            connection.close()


async def ask(connection: Connection, request: bytes) -> tuple[int, bytes]:
    """One request, and the status and body of its answer.

    Raises:
        RefusedError: there was none.
    """
    future: asyncio.Future[tuple[int, bytes]] = asyncio.get_running_loop().create_future()

    def answered(status: int, body: bytes) -> None:
        if not future.done():
            future.set_result((status, body))

    def lost(cause: str) -> None:
        if not future.done():
            future.set_exception(RefusedError(cause))

    connection.send(request, answered, lost)
    try:
        async with asyncio.timeout(_PATIENCE):
            return await future
    except TimeoutError:
        raise RefusedError(f"no answer for {_PATIENCE} s") from None


async def flood(port: int, request: bytes, *, connections: int, seconds: float, most: int) -> Answers:
    """Send the same request over and over, the next one on each connection at the answer to the last.

    Args:
        port: of the server.
        connections: requests that are under way at a time.
        seconds: no request is begun after them.
        most: requests in all.

    Raises:
        RefusedError: an answer was no 2xx, or there was none.
    """
    async with connected(port, connections) as open_ones:
        try:
            async with asyncio.timeout(seconds + _PATIENCE):
                return await _Flood(request, seconds, most).run(open_ones)
        except TimeoutError:
            raise RefusedError(f"no answer for {_PATIENCE} s") from None


class _Flood:
    def __init__(self, request: bytes, seconds: float, most: int) -> None:
        self._request = request
        self._seconds = seconds
        self._left = most
        self._under_way = 0
        self._answers = Answers()
        self._done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._deadline = 0.0

    async def run(self, connections: list[Connection]) -> Answers:
        began = time.perf_counter()
        self._deadline = began + self._seconds
        for connection in connections:
            self._next(connection)
        await self._done
        self._answers.took = time.perf_counter() - began
        return self._answers

    def _next(self, connection: Connection) -> None:
        sent = time.perf_counter()
        if sent >= self._deadline or self._left <= 0:
            if not self._under_way and not self._done.done():
                self._done.set_result(None)
            return
        self._left -= 1
        self._under_way += 1

        def answered(status: int, body: bytes) -> None:
            self._under_way -= 1
            if not 200 <= status < 300:
                self._fail(f"{status} {body.decode(errors='replace')}")
                return
            self._answers.latencies.append(time.perf_counter() - sent)
            self._answers.bodies.append(body)
            self._next(connection)

        connection.send(self._request, answered, self._fail)

    def _fail(self, cause: str) -> None:
        if not self._done.done():
            self._done.set_exception(RefusedError(cause))


async def arrive(port: int, request: bytes, *, rate: float, seconds: float) -> Answers:
    """Send the request at a steady rate, whether or not earlier ones are answered.

    Args:
        port: of the server.
        rate: requests a second, at even distances.
        seconds: for how long.

    Raises:
        RefusedError: an answer was no 2xx, or there was none.
    """
    answers, loop = Answers(), asyncio.get_running_loop()
    idle: list[Connection] = []
    opened: list[Connection] = []

    async def one(due: float) -> None:
        if idle:
            connection = idle.pop()
        else:
            _, connection = await loop.create_connection(Connection, "127.0.0.1", port)
            opened.append(connection)
        status, body = await ask(connection, request)
        # From when it was due: a generator that is late must not make a server look quick.
        answers.latencies.append(time.perf_counter() - due)
        if not 200 <= status < 300:
            raise RefusedError(f"{status} {body.decode(errors='replace')}")
        answers.bodies.append(body)
        idle.append(connection)

    began = time.perf_counter()
    try:
        async with asyncio.TaskGroup() as requests:
            for number in range(int(rate * seconds)):
                due = began + number / rate
                await asyncio.sleep(max(0.0, due - time.perf_counter()))
                requests.create_task(one(due))
    except* RefusedError as errors:
        raise errors.exceptions[0] from None
    finally:
        for connection in opened:
            connection.close()
    answers.took = time.perf_counter() - began
    return answers


def percentile(values: list[float], share: float) -> float:
    """The value that this share of them does not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
