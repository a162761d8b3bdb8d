"""How long a request may take."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.conformance.waiting import eventually
from tests.integration.system import System, quick_settings


@pytest.fixture
async def system(tmp_path: Path) -> AsyncIterator[System]:
    async with System.open(quick_settings(tmp_path, request_timeout=0.3)) as system:
        yield system


async def slowly(text: bytes, seconds: float) -> AsyncIterator[bytes]:
    yield text[:5]
    await asyncio.sleep(seconds)
    yield text[5:]


@pytest.mark.parametrize("path", ["/tasks", "/tasks/batch", "/tasks/cancel"])
async def test_a_body_that_does_not_come_is_not_waited_for(system: System, path: str) -> None:
    async with asyncio.timeout(5):
        answer = await system.post(path, data=slowly(b'{"action": "x"}', 60))
    assert (answer.status, answer.body) == (408, {"error": "the body did not come in time; nothing was done"})


async def test_what_was_answered_as_too_late_is_not_stored_later(system: System) -> None:
    answer = await system.post("/tasks", data=slowly(b'{"action": "x"}', 0.6))
    assert answer.status == 408
    server = system.client.server.runner.server
    await eventually(lambda: not server.connections)
    assert await system.count() == 0
    assert (await system.post("/tasks", data=slowly(b'{"action": "x"}', 0.01))).status == 202


async def test_a_write_under_way_is_not_cut_off(system: System, monkeypatch: pytest.MonkeyPatch) -> None:
    write = system.store.write

    async def late(*arguments: Any) -> Any:
        await asyncio.sleep(2 * system.settings.request_timeout)
        return await write(*arguments)

    monkeypatch.setattr(system.store, "write", late)
    assert (await system.post("/tasks", json={"action": "x"})).status == 202
    assert await system.count() == 1


async def test_a_read_that_takes_too_long_is_ended(system: System, monkeypatch: pytest.MonkeyPatch) -> None:
    async def never(*_: Any, **__: Any) -> None:
        await asyncio.sleep(60)

    monkeypatch.setattr(system.store.reads, "find", never)
    async with asyncio.timeout(5):
        answer = await system.get("/tasks")
    assert (answer.status, answer.body) == (503, {"error": "the request took too long"})
    assert answer.headers["Retry-After"]


async def test_waits_and_streams_may_take_longer(system: System) -> None:
    id = await system.submit("x", delay=1000)
    assert (await system.get(f"/tasks/{id}", headers={"Prefer": "wait=1"})).status == 200
    async with system.client.get(f"/tasks/{id}/events") as stream:
        assert await stream.content.readline()
        await asyncio.sleep(0.5)
        await system.post(f"/tasks/{id}/cancel")
        assert b"cancelled" in await stream.content.read()
