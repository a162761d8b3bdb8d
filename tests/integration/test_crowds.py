"""Crowds of streams and waits: each is served, others get their turn in between, and there is an end to them."""

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.conformance.waiting import eventually
from tests.integration.programs import Client, Programs
from tests.integration.raw import get
from tests.integration.system import System, quick_settings
from tests.integration.test_wait import listening, watcher

from taskqueue.task import Event
from taskqueue_migrate.runner import migrate

#: What a process is to bear (fewer than the 1,024 files that it may open at many a site).
STREAMS, WAITS, TASKS = 300, 500, 1000
#: Seconds within which others are answered meanwhile, also where the machine is busy with other tests.
SOON = 5


@contextlib.contextmanager
def ticks() -> Iterator[list[int]]:
    """The present turn of the event loop, in a list of one."""
    loop = asyncio.get_running_loop()
    now = [0]

    def tick() -> None:
        nonlocal handle
        now[0] += 1
        handle = loop.call_soon(tick)

    handle = loop.call_soon(tick)
    yield now
    handle.cancel()


async def wait_tasks(system: System, count: int) -> int:
    """Submit so many tasks; the last event that tells of them."""
    await system.post("/tasks/batch", json={"tasks": [{"action": "x", "delay": 1000}] * count})
    return (await system.store.reads.event_range())[1]


async def test_of_many_streams_one_a_tick_is_handed_a_batch(system: System) -> None:
    served: Counter[int] = Counter()
    batches: list[int] = []
    with ticks() as now:

        async def follow() -> list[int]:
            seen: list[int] = []
            async with contextlib.aclosing(watcher(system).follow(0, 60)) as events:
                async for batch in events:
                    served[now[0]] += 1
                    batches.append(len(batch))
                    seen += [event.seq for event in batch]
                    if len(seen) == TASKS:
                        return seen
            raise AssertionError

        following = [asyncio.create_task(follow()) for _ in range(100)]
        await eventually(lambda: watcher(system).listeners == 100)
        last = await wait_tasks(system, TASKS)
        async with asyncio.timeout(20):
            for seen in await asyncio.gather(*following):
                assert seen == list(range(1, last + 1))
    assert max(served.values()) == 1
    assert max(batches) <= 500


async def test_of_many_streams_that_have_missed_much_one_reads_the_store_at_a_time(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    last = await wait_tasks(system, TASKS)
    read, under_way, most = system.store.reads.events_after, 0, 0

    async def noted(*arguments: Any, **options: Any) -> list[Event]:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        try:
            return await read(*arguments, **options)
        finally:
            under_way -= 1

    monkeypatch.setattr(system.store.reads, "events_after", noted)

    async def catch_up() -> list[int]:
        seen: list[int] = []
        async with contextlib.aclosing(watcher(system).follow(0, 60)) as events:
            while len(seen) < TASKS:
                seen += [event.seq for event in await anext(events)]
        return seen

    async with asyncio.timeout(20):
        for seen in await asyncio.gather(*(catch_up() for _ in range(50))):
            assert seen == list(range(1, last + 1))
    assert most <= 2, "one of them, and the watcher itself"


async def test_a_wait_too_many_is_refused_until_another_ends(tmp_path: Path) -> None:
    async with System.open(quick_settings(tmp_path, max_waits=2)) as system:
        id = await system.submit("x", delay=1000)
        prefer = {"Prefer": "wait=60"}
        waiting = [asyncio.create_task(system.get(f"/tasks/{id}", headers=prefer)) for _ in range(2)]
        await listening(system, 2)
        for answer in (
            await system.get(f"/tasks/{id}", headers=prefer),
            await system.post("/tasks", json={"action": "x"}, headers=prefer),
        ):
            error = "too many requests wait for a task; nothing was done"
            assert (answer.status, answer.body) == (503, {"error": error})
            assert int(answer.headers["Retry-After"]) > 0
        assert await system.count() == 1
        assert (await system.get(f"/tasks/{id}")).status == 200
        await system.post(f"/tasks/{id}/cancel")
        assert {(await answer).body["status"] for answer in waiting} == {"cancelled"}
        assert (await system.get(f"/tasks/{id}", headers=prefer)).status == 200


class Listener(asyncio.Protocol):
    """A client that asks once, and counts the events that it is told."""

    def __init__(self, request: bytes) -> None:
        self._request = request
        self._end = b""
        self.status = b""
        self.events = 0

    def connection_made(self, transport: Any) -> None:
        transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self.status = self.status or data[9:12]
        data = self._end + data
        self.events += data.count(b"\nid: ")
        self._end = data[-4:]


@pytest.mark.timeout(120)
async def test_a_crowd_of_streams_and_waits_opened_at_once_is_served_and_hinders_nobody(
    programs: Programs, client: Client
) -> None:
    programs.data.mkdir()
    migrate(programs.data / "tasks.db")
    api = await programs.start("taskqueue-api", broker_url="amqp://127.0.0.1:1")
    url = await api.url()
    host, port = url.removeprefix("http://").split(":")
    tag = {"action": "x", "delay": 1000}
    ids = [await client.submit(url, **tag) for _ in range(10)]
    loop = asyncio.get_running_loop()

    async def ask(request: bytes) -> Listener:
        _, listener = await loop.create_connection(lambda: Listener(request), host, int(port))
        return listener

    took: list[float] = []

    async def probe() -> None:
        while True:
            began = time.monotonic()
            for path in ("/livez", "/readyz", "/tasks?limit=1"):
                await client.get(url + path)
            took.append(time.monotonic() - began)
            await asyncio.sleep(0.02)

    probing = asyncio.create_task(probe())
    streams, waits = await asyncio.gather(
        asyncio.gather(*(ask(get(b"/events")) for _ in range(STREAMS))),
        asyncio.gather(*(ask(get(f"/tasks/{ids[n % 10]}".encode(), b"Prefer: wait=60")) for n in range(WAITS))),
    )
    await eventually(lambda: all(stream.status == b"200" for stream in streams))
    # So much happens in a second or two as when thousands of tasks are drained.
    await client.post(f"{url}/tasks/batch", {"tasks": [tag] * TASKS})
    await client.post(f"{url}/tasks/cancel", {"action": "x"})
    expected = 2 * TASKS + 10
    await eventually(lambda: all(stream.events == expected for stream in streams))
    await eventually(lambda: all(wait.status == b"200" for wait in waits))
    probing.cancel()
    assert len(took) > 3
    assert max(took) < SOON
