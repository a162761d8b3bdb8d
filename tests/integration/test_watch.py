"""Streams of events: each change of each process, in order, once. Beginnings and ends: `test_stream_ends.py`."""

import asyncio
import contextlib
import random
import time
from typing import Any

import pytest
from tests.conformance.waiting import eventually
from tests.integration import actions
from tests.integration.system import System
from tests.integration.test_stream_ends import Sent, listening, told
from tests.integration.test_wait import counted, watcher

from taskqueue.contract.events import EventData
from taskqueue.task import Event
from taskqueue_api.live.watcher import Watcher

#: Seconds within which a change is told.
SOON = 0.5


async def until_cancelled(system: System, path: str, id: str, after: int | None = 0) -> list[Sent]:
    """What a stream tells until a task is told as cancelled."""
    sent: list[Sent] = []
    async with listening(system, path, after) as response:
        assert response.content_type == "text/event-stream"
        assert response.headers["Cache-Control"] == "no-store"
        assert response.headers["X-Accel-Buffering"] == "no"
        async for event in told(response):
            sent.append(event)
            if event.data and (event.data.get("id"), event.data.get("status")) == (id, "cancelled"):
                break
    return sent


async def cancelled(system: System, **members: Any) -> str:
    id = await system.submit("last", delay=1000, **members)
    await system.post(f"/tasks/{id}/cancel")
    return id


async def every_event(system: System) -> list[Event]:
    return await system.store.reads.events_after(0, limit=100_000)


async def test_the_whole_life_of_a_task_is_told_in_order(system: System) -> None:
    async with system.worker():
        await system.until(await system.submit("uppercase", {"text": "x"}))  # it makes sure of its queue first
        id = await system.submit("fail", {"until_attempt": 2}, tags=["a", "b"])
        await system.until(id)
    sent = await until_cancelled(system, "/events", await cancelled(system))
    life = [event.data for event in sent if event.data["id"] == id]
    path = [(change["status"], change["attempt"]) for change in life]
    # A claim may come before the relay's mark.
    assert [change for change in path if change != ("queued", 1)] == [
        ("queued", 0),
        ("running", 1),
        ("pending", 1),
        ("running", 2),
        ("completed", 2),
    ]
    for change in life:
        assert (change["action"], change["tags"], change["progress"]) == ("fail", ["a", "b"], None)
    times = [change["at"] for change in life]
    assert times == sorted(times)
    assert abs(times[-1] - time.time()) < 60
    ids = [int(event.id) for event in sent]
    assert ids == list(range(1, len(ids) + 1)), "every change, once"
    assert {event.kind for event in sent} == {"status"}


async def test_a_stream_goes_on_once_the_database_is_back_and_says_once_that_it_was_away(
    system: System, caplog: pytest.LogCaptureFixture
) -> None:
    await cancelled(system)
    async with listening(system, "/events", 0) as response:
        stream = told(response)
        await anext(stream)
        moved = system.settings.database.rename(system.settings.data_dir / "moved.db")
        await eventually(lambda: "nothing is read or written" in caplog.text)
        await eventually(lambda: "events can't be read" in caplog.text)
        moved.rename(system.settings.database)
        await eventually(lambda: "work goes on" in caplog.text)
        id = await cancelled(system)
        async for event in stream:
            if event.data and event.data["id"] == id:
                break
    assert caplog.text.count("events can't be read") == 1


async def test_the_stream_of_a_task_tells_where_it_stands_and_its_own_changes_until_the_end(
    system: System,
) -> None:
    async with system.worker(consumers=3):
        id = await system.submit("report", {"name": "gate", "fractions": [0.5]})
        await actions.started("gate")
        async with listening(system, f"/tasks/{id}/events") as response:
            stream = told(response)
            first = await anext(stream)
            assert (first.kind, first.data["status"], first.data["id"]) == ("status", "running", id)
            await system.until(await system.submit("uppercase", {"text": "x"}))
            actions.let_go("gate")
            rest = [event async for event in stream]
    assert {event.data["id"] for event in rest} == {id}
    assert [event.data["status"] for event in rest][-1] == "completed"
    assert {event.kind for event in rest} <= {"status", "progress"}


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("status=cancelled", ["ab", "b", "last"]),
        ("status=queued,cancelled", ["ab", "b", "x", "last"]),
        ("status=queued&status=cancelled", ["ab", "b", "x", "last"]),
        ("action=last", ["last"]),
        ("tag=b&status=cancelled", ["ab", "b", "last"]),
        ("tag=a&status=cancelled", ["ab", "last"]),
        ("tag=a&action=y", []),
    ],
)
async def test_a_stream_is_filtered_like_a_list(system: System, query: str, expected: list[str]) -> None:
    names = {
        await cancelled(system, tags=["a", "b"]): "ab",
        await cancelled(system, tags=["b"]): "b",
        await system.submit("x"): "x",
    }
    await eventually(lambda: queued(system))
    if "action=last" in query:
        names = {}
    last = await cancelled(system, tags=["a", "b"])
    if not expected:
        assert not [event for event in await filtered(system, query) if event.data]
        return
    sent = await until_cancelled(system, f"/events?{query}", last)
    if names:
        seen = list(dict.fromkeys(names.get(event.data["id"], "last") for event in sent))
        assert sorted(seen) == sorted(expected)
    else:
        assert {event.data["action"] for event in sent} == {"last"}


async def queued(system: System) -> bool:
    return bool((await system.get("/tasks?status=queued")).body["count"])


async def filtered(system: System, query: str) -> list[Sent]:
    """What comes until the server stops."""
    sent = []
    async with listening(system, f"/events?{query}", 0) as response:
        await eventually(lambda: watcher(system).listeners == 1)
        watcher(system).close()
        async for event in told(response):
            sent.append(event)  # noqa: PERF401  # what has come before it ends counts
    return sent


@pytest.mark.parametrize("query", ["status=done", "action=", "tag=", "limit=1", "created_after=1", "tag=a&tag=b"])
async def test_a_bad_filter_is_refused(system: System, query: str) -> None:
    assert (await system.get(f"/events?{query}")).status == 400


async def test_a_change_of_another_process_is_told_soon(system: System) -> None:
    async with System.open(system.settings) as other, listening(system, "/events") as response:
        stream = told(response)
        late = []
        for _ in range(20):
            await other.submit("x", delay=1000)
            event = await anext(stream)
            late.append(time.time() - event.data["at"])
    assert sorted(late)[10] < SOON
    assert max(late) < 2 * SOON


async def test_what_comes_after_the_stream_has_opened_is_told(system: System) -> None:
    """Without an id it begins there and then, however fast the first change follows."""
    for _ in range(20):
        async with listening(system, "/events") as response:
            id = await system.submit("x", delay=1000)
            event = await anext(told(response))
            assert (event.data["id"], event.data["status"]) == (id, "pending")


async def busy(system: System, stop: asyncio.Event) -> int:
    """Keep tasks coming, and going; return how many."""
    count = 0
    while not stop.is_set():
        await system.submit("uppercase", {"text": "x"})
        count += 1
    return count


async def test_a_client_that_resumes_again_and_again_under_load_misses_nothing_and_sees_nothing_twice(
    system: System,
) -> None:
    dice = random.Random(11)
    seen: list[int] = []
    stop = asyncio.Event()
    async with system.worker():
        working = [asyncio.create_task(busy(system, stop)) for _ in range(2)]
        while len(seen) < 600:
            async with listening(system, "/events", seen[-1] if seen else 0) as response:
                stream = told(response)
                for _ in range(dice.randrange(1, 60)):
                    event = await anext(stream)
                    assert event.kind == "status"
                    seen.append(int(event.id))
        stop.set()
        assert sum(await asyncio.gather(*working)) > 100
    assert seen == list(range(1, len(seen) + 1))


async def test_many_followers_are_told_the_same_and_cost_one_reader(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, start = await system.store.reads.event_range()

    async def follow() -> list[int]:
        seen: list[int] = []
        async with contextlib.aclosing(watcher(system).follow(start, 60)) as batches:
            async for events in batches:
                seen += [event.seq for event in events]
                if len(seen) >= 300:
                    break
        return seen

    followers = [asyncio.create_task(follow()) for _ in range(100)]
    await eventually(lambda: watcher(system).listeners == 100)
    reads = counted(system.store, monkeypatch)
    for _ in range(3):
        await system.post("/tasks/batch", json={"tasks": [{"action": "x", "delay": 9}] * 100})
    results = await asyncio.gather(*followers)
    expected = [event.seq for event in await every_event(system)]
    assert all(seen == expected for seen in results)
    assert reads["events_after"] < 20


async def test_an_event_is_made_into_text_once_however_many_follow(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Event] = []
    make = EventData.of

    def note(event: Event) -> EventData:
        made.append(event)
        return make(event)

    monkeypatch.setattr(EventData, "of", note)
    async with contextlib.AsyncExitStack() as stack:
        streams = [await stack.enter_async_context(listening(system, "/events")) for _ in range(20)]
        await system.post("/tasks/batch", json={"tasks": [{"action": "x", "delay": 9}] * 50})
        for stream in streams:
            following = told(stream)
            assert [(await anext(following)).data["status"] for _ in range(50)] == ["pending"] * 50
    assert [event.seq for event in made] == [event.seq for event in await every_event(system)]


async def test_the_first_event_of_a_tasks_stream_tells_since_when_it_is_so(system: System) -> None:
    id = await system.submit("hold", {"name": "gate"}, run_at=1)
    async with system.worker():
        await actions.started("gate")
        async with listening(system, f"/tasks/{id}/events") as response:
            first = await anext(told(response))
        [attempt] = (await system.task(id))["attempts"]
        actions.let_go("gate")
        task = await system.until(id)
    assert (first.data["status"], first.data["at"]) == ("running", attempt["started_at"])
    async with listening(system, f"/tasks/{id}/events") as response:
        assert (await anext(told(response))).data["at"] == task["processed_at"]


async def test_who_is_slow_is_not_buffered_for_and_misses_nothing(system: System) -> None:
    """Thousands of events come while a follower takes none: what it has missed is read from the store."""
    following = Watcher(system.store, batch=100, tail=500)

    async def keep_up() -> None:
        async with contextlib.aclosing(following.follow(0, 60)) as batches:
            async for events in batches:
                if events[-1].seq == 3001:
                    return

    running = asyncio.create_task(following.run())
    try:
        async with contextlib.aclosing(following.follow(0, 60)) as batches:
            await system.submit("x", delay=9)
            seen = [event.seq for event in await anext(batches)]
            for _ in range(3):
                await system.post("/tasks/batch", json={"tasks": [{"action": "x", "delay": 9}] * 1000})
            await keep_up()
            largest = 0
            while len(seen) < 3001:
                events = await anext(batches)
                largest = max(largest, len(events))
                seen += [event.seq for event in events]
    finally:
        running.cancel()
    assert seen == list(range(1, 3002))
    assert largest <= 500


async def test_listeners_that_come_and_go_leave_nothing_behind(system: System) -> None:
    for _ in range(5):
        async with listening(system, "/events", 0) as response:
            await system.submit("x", delay=9)
            await anext(told(response))
        await system.submit("x", delay=9)  # nobody listens; written to, the server notices that its client left
    followers = [
        asyncio.create_task(until_cancelled(system, "/events", await cancelled(system))) for _ in range(3)
    ]
    await asyncio.gather(*followers)


async def test_streams_end_when_the_server_stops(system: System) -> None:
    id = await system.submit("x", delay=1000)
    async with listening(system, "/events") as everything, listening(system, f"/tasks/{id}/events") as one:
        stream = told(one)
        assert (await anext(stream)).data["status"] == "pending"
        await eventually(lambda: watcher(system).listeners == 2)
        began = time.monotonic()
        await system.client.server.close()
        assert time.monotonic() - began < 3
        assert [event async for event in told(everything)] == []
        assert [event async for event in stream] == []
