"""Clients that follow events: they lose their connections, or leave, and resume where they were."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from random import Random
from typing import Any

import aiohttp
from tests.simulation.http import Http, UnansweredError

#: Seconds without a word after which a stream is given up: within a second, or where even a heartbeat is missing.
SILENT = (0.5, 20)


@dataclass
class Stream:
    """What a client was told."""

    path: str
    #: The last event that it knows.
    last: int | None = None
    #: The statuses that it asks for; none asks for all.
    statuses: frozenset[str] = frozenset()
    #: The task that it follows, if it is only one; after which event, and where it stood then.
    task: str | None = None
    start: int = 0
    stood: str | None = None
    #: The last status that it was told.
    status: str | None = None
    #: The events that it was told, in order.
    seen: list[int] = field(default_factory=list)
    resets: int = 0
    ended: bool = False
    #: It was told that there is no such task.
    gone: bool = False


async def follow(http: Http, random: Random, stream: Stream) -> None:
    """Follow to the end, which a stream of all tasks doesn't have."""
    while not stream.ended:
        with contextlib.suppress(UnansweredError):
            await _follow_once(http, random, stream)
        await asyncio.sleep(random.uniform(0.05, 1))


async def _follow_once(http: Http, random: Random, stream: Stream) -> None:
    headers = {} if stream.last is None else {"Last-Event-ID": f"{stream.last}"}
    async with http.stream(stream.path, headers) as response:
        if response.status in {204, 404}:
            stream.ended, stream.gone = True, response.status == 404
        elif response.status != 200:
            if response.status != 503:
                http.broken.append(f"{stream.path} after {stream.last} was answered {response.status}")
            return
        async for kind, id, data in _events(response, random.choice(SILENT)):
            if kind == "reset":
                stream.resets += 1
            elif stream.task and stream.last is None:
                stream.start, stream.stood = id, data["status"]
            else:
                stream.seen.append(id)
            stream.last = id
            stream.status = data.get("status")
            if random.random() < 0.05:  # it leaves
                return


async def _events(response: aiohttp.ClientResponse, silent: float) -> AsyncIterator[tuple[str, int, Any]]:
    fields: dict[str, str] = {}
    while True:
        async with asyncio.timeout(silent):
            line = (await response.content.readline()).decode()
        if not line:
            return
        if line != "\n":
            name, _, value = line.rstrip("\n").partition(": ")
            fields[name] = value
            continue
        if "event" in fields:
            yield fields["event"], int(fields["id"]), json.loads(fields["data"])
        fields = {}
