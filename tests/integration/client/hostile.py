"""A server that behaves badly, as its script says."""

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Self

import httpx


@dataclass(frozen=True)
class Request:
    """What was asked."""

    method: str
    path: str
    #: By their names in lower case.
    headers: dict[str, str]
    body: bytes


#: What becomes of one request: the bytes that are answered before the connection is closed; None: it stays silent.
Behaviour = Callable[[Request], Awaitable[bytes | None]]


def says(
    status: int, body: Any = b"", media_type: str = "application/json", *, cut: int = 0, **headers: str
) -> Behaviour:
    """An answer; without the last bytes of its body where it is cut."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = [f"HTTP/1.1 {status} Something", f"Content-Type: {media_type}", "Connection: close"]
    if media_type != "text/event-stream":
        lines.append(f"Content-Length: {len(content)}")
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]

    async def answer(request: Request) -> bytes:
        return "\r\n".join([*lines, "", ""]).encode() + content[: len(content) - cut]

    return answer


async def drops(request: Request) -> bytes:
    """The connection ends without an answer."""
    return b""


async def is_silent(request: Request) -> None:
    """The connection stays, and nothing comes."""


def passes_on(url: str, *, but_drops: bool = False) -> Behaviour:
    """The answer of the API there; or no answer, although the request was carried out."""

    async def answer(request: Request) -> bytes:
        async with httpx.AsyncClient() as http:
            real = await http.request(
                request.method, url + request.path, content=request.body, headers=request.headers
            )
        if but_drops:
            return b""
        return await says(real.status_code, real.content)(request)

    return answer


@dataclass
class Hostile:
    """Treats each request as the next line of its script has it; the last line is for all that follow."""

    script: list[Behaviour]
    socket: socket.socket
    requests: list[Request] = field(default_factory=list)
    #: Seconds that a connection stays open after the answer.
    lingers: float = 0
    _served: set["asyncio.Task[None]"] = field(default_factory=set)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.socket.getsockname()[1]}"

    @classmethod
    @contextlib.asynccontextmanager
    async def listening(cls, *script: Behaviour) -> AsyncIterator[Self]:
        bound = socket.socket()
        bound.bind(("127.0.0.1", 0))
        hostile = cls(list(script), bound)
        async with hostile.listen():
            yield hostile

    @contextlib.asynccontextmanager
    async def listen(self) -> AsyncIterator[None]:
        async with await asyncio.start_server(self._serve, sock=self.socket):
            yield
        # The clients have left by now, so this takes no time.
        await asyncio.gather(*self._served)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if (task := asyncio.current_task()) is not None:
            self._served.add(task)
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        first, *lines = head.strip().split("\r\n")
        method, path, _ = first.split(" ")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        self.requests.append(Request(method, path, headers, body))
        behaviour = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        answer = await behaviour(self.requests[-1])
        if answer is None:
            await reader.read()  # until the client leaves
        else:
            writer.write(answer)
            await asyncio.sleep(self.lingers)
        with contextlib.suppress(ConnectionError):
            await writer.drain()
        writer.close()
