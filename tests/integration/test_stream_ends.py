"""How streams of events begin, resume and end, also where something fails meanwhile."""

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest
from aiohttp import ClientResponse, ClientTimeout
from tests.conformance.waiting import eventually
from tests.integration import actions
from tests.integration.store.given import task_of
from tests.integration.system import System

from taskqueue.contract.events import EventData
from taskqueue.store import StoreUnavailableError
from taskqueue.store.engine.sqlite.engine import SqliteEngine
from taskqueue.task import Status
from taskqueue_api.resources import events

#: Seconds for a stream to tell what it should.
PATIENCE = ClientTimeout(10)


@dataclass
class Sent:
    """An event of a stream; a comment has neither id nor data."""

    kind: str
    id: str = ""
    data: Any = None


async def told(response: ClientResponse) -> AsyncIterator[Sent]:
    """The events of a stream, until it ends."""
    while True:
        block = ""
        while not block.endswith("\n\n"):
            line = (await response.content.readline()).decode()
            if not line:
                return
            block += line
        if block.startswith(":"):
            yield Sent(block.strip())
        else:
            fields = dict(line.split(": ", 1) for line in block.strip().splitlines())
            yield Sent(fields["event"], fields["id"], json.loads(fields["data"]))


@contextlib.asynccontextmanager
async def listening(system: System, path: str, after: int | str | None = None) -> AsyncIterator[ClientResponse]:
    headers = {} if after is None else {"Last-Event-ID": str(after)}
    async with system.client.get(path, headers=headers, timeout=PATIENCE) as response:
        yield response


async def whole(system: System, path: str, after: int | str | None = None) -> list[Sent]:
    async with listening(system, path, after) as response:
        assert response.status == 200
        return [sent async for sent in told(response)]


async def cancelled(system: System) -> str:
    id = await system.submit("x", delay=1000)
    await system.post(f"/tasks/{id}/cancel")
    return id


async def add_events(system: System, count: int) -> None:
    answer = await system.post("/tasks/batch", json={"tasks": [{"action": "y", "delay": 9}] * count})
    assert answer.status == 202


async def test_the_stream_of_a_final_task_tells_it_and_ends_and_then_says_stop(system: System) -> None:
    id = await cancelled(system)
    [sent] = await whole(system, f"/tasks/{id}/events")
    assert (sent.kind, sent.data["status"]) == ("status", "cancelled")
    async with listening(system, f"/tasks/{id}/events", sent.id) as response:
        assert response.status == 204


async def test_an_end_that_was_missed_is_told_however_much_came_after_it(system: System) -> None:
    id = await system.submit("x", delay=1000)
    _, seen = await system.store.reads.event_range()
    await add_events(system, 1000)
    await system.post(f"/tasks/{id}/cancel")
    await add_events(system, 1000)
    [sent] = await whole(system, f"/tasks/{id}/events", seen)
    assert sent.data["status"] == "cancelled"


async def test_the_stream_of_a_final_task_ends_after_a_reset_too(system: System) -> None:
    id = await cancelled(system)
    await system.store.bulk.prune("events", before=2**60)
    await system.submit("x")
    reset, status = await whole(system, f"/tasks/{id}/events", 0)
    assert (reset.kind, reset.data) == ("reset", {})
    assert status.data["status"] == "cancelled"
    assert status.id == reset.id


async def test_a_task_that_is_run_again_is_told_again(system: System) -> None:
    id = await cancelled(system)
    [sent] = await whole(system, f"/tasks/{id}/events")
    await system.post(f"/tasks/{id}/retry")
    await system.post(f"/tasks/{id}/cancel")
    statuses = [again.data["status"] for again in await whole(system, f"/tasks/{id}/events", sent.id)]
    assert (statuses[0], statuses[-1]) == ("pending", "cancelled")


async def test_a_stream_of_no_task_is_answered_404(system: System) -> None:
    for after in (None, "0"):
        async with listening(system, "/tasks/x/events", after) as response:
            assert response.status == 404


async def test_a_stream_resumed_in_the_moment_of_the_first_event_of_all_is_told_it(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = SqliteEngine.read

    async def read_then_submit(engine: SqliteEngine, query: str, **values: Any) -> Any:
        rows = await read(engine, query, **values)
        if "event" in query:
            monkeypatch.undo()
            await system.submit("x", delay=1000)
        return rows

    monkeypatch.setattr(SqliteEngine, "read", read_then_submit)
    async with listening(system, "/events", 0) as response:
        sent = await anext(told(response))
    assert (sent.kind, sent.id) == ("status", "1")


async def test_a_stream_ends_where_the_store_fails_so_that_its_client_resumes(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object, **__: object) -> None:
        raise StoreUnavailableError("on purpose")

    await system.submit("x")
    monkeypatch.setattr(system.store.reads, "events_after", fail)
    assert await whole(system, "/events", 0) == []
    monkeypatch.undo()
    assert (await system.get("/tasks")).body["count"] == 1


async def test_a_stream_that_can_not_begin_is_answered_503(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object, **__: object) -> None:
        raise StoreUnavailableError("on purpose")

    id = await system.submit("x", delay=1000)
    for read in ("event_range", "outline"):
        with monkeypatch.context() as patch:
            patch.setattr(system.store.reads, read, fail)
            async with listening(system, f"/tasks/{id}/events") as response:
                assert (response.status, response.content_type) == (503, "application/json")
                assert await response.json() == {"error": "database unavailable"}


async def test_a_quiet_stream_sends_a_comment_also_while_others_are_busy(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "HEARTBEAT", 0.3)
    async with listening(system, "/events?action=nothing") as response, asyncio.TaskGroup() as group:

        async def be_busy() -> None:
            while True:
                await system.submit("busy")
                await asyncio.sleep(0.02)

        busy = group.create_task(be_busy())
        assert (await anext(told(response))).kind == ": heartbeat"
        busy.cancel()


async def test_a_reader_that_takes_nothing_is_dropped(system: System, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "SLOW", 0.2)
    # More than the kernel buffers.
    monkeypatch.setattr(EventData, "to_json", lambda _: "x" * 100_000)
    await add_events(system, 200)
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.setblocking(False)
    await asyncio.get_running_loop().sock_connect(connection, (system.client.host, system.client.port))
    with contextlib.closing(connection):
        server = system.client.server.runner.server
        others = len(server.connections)
        await asyncio.get_running_loop().sock_sendall(
            connection, b"GET /events HTTP/1.1\r\nHost: x\r\nLast-Event-ID: 1\r\n\r\n"
        )
        await eventually(lambda: len(server.connections) > others)
        async with asyncio.timeout(5):
            await eventually(lambda: len(server.connections) == others)


@pytest.mark.parametrize("id", ["-1", "x", "1.5", "", "9" * 19, "\u0661"])
async def test_an_event_id_that_is_none_is_refused(system: System, id: str) -> None:
    for path in ("/events", f"/tasks/{await system.submit('x')}/events"):
        async with listening(system, path, id) as response:
            assert response.status == 400
            assert (await response.json()) == {"error": "Last-Event-ID: not one of ours"}


async def test_an_event_id_from_the_future_is_refused(system: System) -> None:
    id = await system.submit("x", delay=1000)
    _, last = await system.store.reads.event_range()
    for path in ("/events", f"/tasks/{id}/events"):
        async with listening(system, path, str(last)) as response:
            assert response.status == 200
        for future in (last + 1, 10**18 - 1):
            async with listening(system, path, str(future)) as response:
                assert response.status == 400
                error = f"Last-Event-ID: {future} is still to come; the last event so far is {last}"
                assert (await response.json()) == {"error": error}


async def test_progress_does_not_count_as_an_end(system: System) -> None:
    async with system.worker():
        id = await system.submit("report", {"name": "gate", "fractions": [0.5]})
        running = await task_of(system.store, id)

        async def told_progress() -> bool:
            return bool((await system.task(id))["progress"])

        await eventually(told_progress)
        assert await system.store.reads.end_event(running.seq) is None
        actions.let_go("gate")
        await system.until(id)
    [*_, last] = await system.store.reads.events_after(0, limit=100)
    assert last.status == Status.COMPLETED
    assert await system.store.reads.end_event(running.seq) == last.seq
