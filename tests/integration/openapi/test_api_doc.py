"""Each example of docs/api.md is sent as it stands there, in its order, and answered as it stands there."""

import asyncio
import json
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.conformance.burying import until_dead
from tests.conformance.waiting import eventually
from tests.integration.openapi.described import Reply, events
from tests.integration.system import System, quick_settings
from yarl import URL

from taskqueue_api.live import catalogue

DOCUMENT = Path(__file__).parents[3] / "docs" / "api.md"

#: What is another value each time; of these, only the type counts.
VARIES = {
    "at",
    "created_at",
    "died_at",
    "ended_at",
    "expires_at",
    "key",
    "next",
    "processed_at",
    "request_id",
    "revoked_at",
    "run_at",
    "schema",
    "started_at",
    "worker",
}
ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|r7Kq2LxV9bTz")


@dataclass
class Message:
    first_line: str
    headers: dict[str, str]
    body: str

    @classmethod
    def read(cls, text: str) -> "Message":
        first_line, *lines = text.splitlines()
        headers = {}
        while lines and re.match(r"[A-Z][\w-]+: ", lines[0]):
            name, _, value = lines.pop(0).partition(": ")
            headers[name] = value
        return cls(first_line, headers, "\n".join(lines))


def examples() -> Iterator[tuple[Message, Message]]:
    """Requests and their answers."""
    for block in re.findall(
        r"^```http\n(.*?)^```$", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE
    ):
        request, _, answer = block.partition("\n\n")
        yield Message.read(request), Message.read(answer)


class Reader:
    """Knows which real id each id of the document has become."""

    def __init__(self) -> None:
        self.ids: dict[str, str] = {}

    def real(self, text: str) -> str:
        return ID.sub(lambda match: self.ids[match[0]], text)

    def compare(self, told: Any, real: Any, name: str = "") -> None:
        match told:
            case dict():
                more = told.pop("...", False)
                assert told.keys() <= real.keys() if more else told.keys() == real.keys()
                for member in told:
                    self.compare(told[member], real[member], member)
            case list():
                assert len(told) == len(real)
                for one, other in zip(told, real, strict=True):
                    self.compare(one, other)
            case _ if name in VARIES:
                assert type(told) is type(real)
            case str() if ID.fullmatch(told):
                assert self.ids.setdefault(told, real) == real
            case _:
                assert told == real, name

    def compare_answers(self, told: Message, reply: Reply) -> None:
        assert int(told.first_line) == reply.status, reply.body
        for name, value in told.headers.items():
            assert name.title() in reply.headers
            if name not in {"Link", "Location"}:
                assert reply.headers[name.title()] == value
        if reply.content_type == "text/event-stream":
            for one, other in zip(events(told.body), events(reply.body.decode()), strict=True):
                assert one["event"] == other["event"]
                assert one["id"].isdigit()
                self.compare(json.loads(one["data"]), json.loads(other["data"]))
        else:
            self.compare(json.loads(told.body.replace("...", '"...": true')), reply.json)
        if location := told.headers.get("Location"):
            assert reply.headers["Location"] == self.real(location)


async def send(system: System, request: Message, reader: Reader) -> Reply:
    method, path = request.first_line.split()
    url = URL(reader.real(path), encoded=True)
    headers = {"Content-Type": "application/json"} | request.headers
    async with system.client.request(
        method, url, data=reader.real(request.body).encode() or None, headers=headers
    ) as response:
        return await Reply.read(response)


async def is_known(system: System, action: str) -> bool:
    return action in {known.name for known in await system.store.reads.actions()}


async def test_the_examples_are_answered_as_they_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalogue, "FRESH", 0)
    settings = quick_settings(tmp_path, handlers="handlers,tests.integration.openapi.actions")
    reader = Reader()
    count = 0
    async with System.open(settings) as system, system.worker():
        await system.broker.publish(b"hello", message_id="", priority=4, timeout=1)  # no task
        await until_dead(system.broker, 1)
        await eventually(lambda: is_known(system, "resize"))
        for request, answer in examples():
            count += 1
            given_up = time.monotonic() + 10
            while True:
                reply = await send(system, request, reader)
                try:
                    reader.compare_answers(answer, reply)
                except AssertionError as error:
                    # What is read may not have happened yet.
                    if not request.first_line.startswith("GET") or time.monotonic() > given_up:
                        raise AssertionError(f"{request.first_line}: {error}\n{reply.body.decode()}") from error
                    await asyncio.sleep(0.02)
                else:
                    break
    assert count >= 15


async def test_the_next_page_is_where_the_link_header_says(tmp_path: Path) -> None:
    async with System.open(quick_settings(tmp_path)) as system:
        ids = [await system.submit("x", tags=["a b", "ü&="]) for _ in range(5)]
        url = "/tasks?limit=2&status=queued&status=pending&tag=%C3%BC%26%3D"
        seen: list[str] = []
        while url:
            answer = await system.request("GET", URL(url, encoded=True))
            seen += [task["id"] for task in answer.body["tasks"]]
            link = answer.headers.get("Link", "")
            assert bool(link) == ("next" in answer.body)
            url = link.removeprefix("<").removesuffix('>; rel="next"')
    assert seen == ids[::-1]
