"""What the clients ask the APIs with: aiohttp's client on the simulated network."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from random import Random
from typing import Any

import aiohttp
from tests.simulation.loop import Process
from tests.simulation.network import Connector
from tests.simulation.programs import Host

#: Seconds that a client waits for an answer; some leave much earlier.
PATIENCE = 6.0


class RefusedError(Exception):
    """A request was answered 503."""


class UnansweredError(Exception):
    """There was no answer: nobody knows what became of the request."""


@dataclass(frozen=True)
class Answer:
    status: int
    #: None: there is none, or of a 503.
    body: Any


class Http:
    """Asks one API or another."""

    def __init__(self, host: Host, process: Process, random: Random) -> None:
        """Made in the process whose clients ask."""
        self.broken: list[str] = []
        self._host = host
        self._process = process
        self._random = random
        self._session = aiohttp.ClientSession(
            connector=Connector(host.network, process),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None),
        )
        self._count = 0

    def name(self) -> str:
        """Of the next request."""
        self._count += 1
        return f"r{self._count}"

    async def close(self) -> None:
        await self._session.close()

    async def ask(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        *,
        name: str = "",
        headers: dict[str, str] | None = None,
        patience: float = PATIENCE,
        expected: Iterable[int] = (200,),
    ) -> Answer:
        """The answer; another status than those that are expected, or 503, breaks the promise.

        Raises:
            RefusedError: 503.
            UnansweredError: there is none in time.
        """
        name = name or self.name()
        headers = {"X-Request-ID": name, "Content-Type": "application/json"} | (headers or {})
        try:
            async with (
                asyncio.timeout(patience),
                self._session.request(method, self._url(path), data=body, headers=headers) as response,
            ):
                text, status = await response.text(), response.status
        except (aiohttp.ClientError, TimeoutError) as error:
            self._note(f"{name} {method} {path}: {type(error).__name__}")
            raise UnansweredError from error
        self._note(f"{name} {method} {path}: {status}")
        if status == 503:
            raise RefusedError(text)
        if status not in expected:
            self.broken.append(f"{name} {method} {path} was answered {status}: {text}")
            raise UnansweredError
        return Answer(status, json.loads(text) if text else None)

    @contextlib.asynccontextmanager
    async def stream(self, path: str, headers: dict[str, str]) -> AsyncIterator[aiohttp.ClientResponse]:
        """An answer that is read as it comes.

        Raises:
            UnansweredError: there is none in time, or no more of it.
        """
        name = self.name()
        try:
            async with asyncio.timeout(PATIENCE):
                response = await self._session.get(
                    self._url(path), headers={"X-Request-ID": name} | headers, raise_for_status=False
                )
            self._note(f"{name} {path} after {headers.get('Last-Event-ID')}: {response.status}")
            async with response:
                yield response
        except (aiohttp.ClientError, TimeoutError) as error:
            self._note(f"{name} {path}: {type(error).__name__}")
            raise UnansweredError from error

    def _url(self, path: str) -> str:
        if not self._host.network.listeners:
            raise UnansweredError("no API serves")
        return f"http://{self._random.choice(self._host.network.listeners).process.name}{path}"

    def _note(self, text: str) -> None:
        self._host.tell(self._process, text)
