"""`Prefer: wait=N`: a request is answered the moment that its task is final."""

import asyncio
import contextlib
import inspect
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp.test_utils import make_mocked_request
from tests.conformance.waiting import eventually
from tests.integration import actions
from tests.integration.system import Answer, System, quick_settings

from taskqueue.store import Store, StoreUnavailableError, verbs
from taskqueue.task import Status, Task
from taskqueue_api.keys import INTAKE, WATCHER
from taskqueue_api.live.watcher import Watcher
from taskqueue_api.resources.wait import once_final

#: Seconds within which a change is told.
SOON = 0.5


def watcher(system: System) -> Watcher:
    found: Watcher = system.client.server.app[WATCHER]  # type: ignore[attr-defined]
    return found


async def get(system: System, id: str, prefer: str) -> Answer:
    return await system.get(f"/tasks/{id}", headers={"Prefer": prefer})


async def post(system: System, prefer: str, action: str = "uppercase", **data: Any) -> Answer:
    return await system.post("/tasks", json={"action": action, "data": data}, headers={"Prefer": prefer})


def counted(store: Store, monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each read of the store is called, from now on."""
    calls: Counter[str] = Counter()

    def count(name: str, method: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def called(*arguments: Any, **options: Any) -> Any:
            calls[name] += 1
            return await method(*arguments, **options)

        return called

    for name, method in inspect.getmembers(store.reads, inspect.iscoroutinefunction):
        if not name.startswith("_"):
            monkeypatch.setattr(store.reads, name, count(name, method))
    return calls


async def listening(system: System, count: int = 1) -> None:
    """Wait until so many wait."""
    await eventually(lambda: watcher(system).listeners == count)


async def test_a_post_that_waits_is_answered_with_the_whole_task_once_it_is_final(system: System) -> None:
    async with system.worker():
        answer = await post(system, "wait=20", text="x")
        answered = time.time()
    assert (answer.status, answer.body["status"], answer.body["result"]) == (200, "completed", {"output": "X"})
    assert [attempt["outcome"] for attempt in answer.body["attempts"]] == ["ok"]
    assert answer.body == await system.task(answer.body["id"])
    assert answer.headers["Location"] == f"/tasks/{answer.body['id']}"
    assert answer.headers["Preference-Applied"] == "wait=20"
    assert answered - answer.body["processed_at"] < SOON


@pytest.mark.parametrize("end", ["completed", "failed", "cancelled"])
async def test_a_get_that_waits_is_answered_at_each_end(system: System, end: str) -> None:
    id = await system.submit(
        "hold" if end != "failed" else "fail", {"name": "g"} if end != "failed" else {}, max_attempts=1
    )
    waiting = asyncio.create_task(get(system, id, "wait=20"))
    await listening(system)
    if end == "cancelled":
        await system.post(f"/tasks/{id}/cancel")
        answer = await waiting
    else:
        actions.let_go("g")
        async with system.worker():
            answer = await waiting
    assert (answer.status, answer.body["status"]) == (200, end)
    assert time.time() - answer.body["processed_at"] < 2 * SOON


async def test_a_retry_in_between_is_no_end(system: System) -> None:
    async with system.worker():
        answer = await post(system, "wait=20", "fail", until_attempt=3)
    assert (answer.status, answer.body["status"], answer.body["attempt"]) == (200, "completed", 3)


async def test_when_the_time_is_over_a_post_is_answered_202_and_a_get_with_the_task_as_it_is(
    system: System,
) -> None:
    began = time.monotonic()
    answer = await post(system, "wait=1", "hold", name="g")
    assert 1 <= time.monotonic() - began < 5
    assert (answer.status, answer.body) == (202, {"id": answer.body["id"], "status": "queued"})
    assert answer.headers["Preference-Applied"] == "wait=1"
    began = time.monotonic()
    told = await get(system, answer.body["id"], "wait=1")
    assert 1 <= time.monotonic() - began < 5
    assert (told.status, told.body["status"]) == (200, "queued")
    assert told.headers["Preference-Applied"] == "wait=1"


async def test_a_wait_is_capped_and_the_answer_says_by_how_much(tmp_path: Path) -> None:
    async with System.open(quick_settings(tmp_path, max_wait=0.2)) as system:
        id = await system.submit("x", delay=1000)
        for prefer in ("wait=1000", "wait=86400"):
            began = time.monotonic()
            answer = await get(system, id, prefer)
            assert time.monotonic() - began < 5
            assert answer.headers["Preference-Applied"] == "wait=0.2"


async def test_a_wait_of_nothing_is_over_at_once(system: System) -> None:
    answer = await post(system, "wait=0")
    assert (answer.status, answer.headers["Preference-Applied"]) == (202, "wait=0")


@pytest.mark.parametrize(
    "prefer",
    [
        "wait 5",
        "waits=5",
        "await=5",
        "",
        ",",
        "respond-async",
    ],
)
async def test_another_preference_is_ignored(system: System, prefer: str) -> None:
    """As RFC 7240 has it."""
    id = await system.submit("x", delay=1000)
    async with asyncio.timeout(5):
        for answer in (await get(system, id, prefer), await post(system, prefer)):
            assert answer.status in {200, 202}
            assert "Preference-Applied" not in answer.headers


@pytest.mark.parametrize(
    "prefer",
    [
        "wait=-1",
        "wait=1e9",
        "wait=86401",
        "wait=999999999999",
        "wait",
        "wait=",
        "wait=x",
        "wait=1.5",
        'wait="5',
        "respond-async, wait=-1; x=y",
    ],
)
async def test_a_wait_that_makes_no_sense_is_refused(system: System, prefer: str) -> None:
    id = await system.submit("x", delay=1000)
    for answer in (await get(system, id, prefer), await post(system, prefer)):
        assert answer.status == 400
        assert answer.body == {"error": "Prefer: wait is a whole number of seconds from 0 to 86400"}
    assert await system.count() == 1


@pytest.mark.parametrize(
    "prefer",
    [
        "wait=20",
        "Wait=20",
        'wait="20"',
        " wait = 20 ",
        "respond-async, wait=20",
        "wait=20; x=y",
        "wait=20, wait=1",
    ],
)
async def test_a_preference_is_read_as_the_rfc_writes_it(system: System, prefer: str) -> None:
    async with system.worker():
        answer = await post(system, prefer, text="x")
    assert (answer.status, answer.headers["Preference-Applied"]) == (200, "wait=20")


async def test_a_task_that_is_final_already_is_told_at_once(system: System) -> None:
    async with system.worker():
        id = (await post(system, "wait=20", text="x")).body["id"]
    async with asyncio.timeout(5):
        answer = await get(system, id, "wait=60")
    assert (answer.body["status"], answer.headers["Preference-Applied"]) == ("completed", "wait=60")


async def test_an_unknown_task_is_not_waited_for(system: System) -> None:
    async with asyncio.timeout(5):
        assert (await get(system, "x", "wait=60")).status == 404


async def test_a_get_that_waits_reads_its_task_once_before_and_once_after(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    id = await system.submit("uppercase", {"text": "x"})
    reads = counted(system.store, monkeypatch)
    waiting = asyncio.create_task(get(system, id, "wait=60"))
    await eventually(lambda: reads["outline"] == 1)
    async with system.worker():
        assert (await waiting).body["status"] == "completed"
    assert reads["outline"] == 2


async def test_a_get_of_a_final_task_reads_it_once(system: System, monkeypatch: pytest.MonkeyPatch) -> None:
    id = await system.submit("x", delay=1000)
    await system.store.write(verbs.cancel, id)
    reads = counted(system.store, monkeypatch)
    assert (await get(system, id, "wait=60")).body["status"] == "cancelled"
    assert reads["outline"] == 1


def cancel_once_read(system: System, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first that reads a task finds it cancelled right after that, and told as such by the watcher."""
    read = system.store.reads.outline

    async def read_and_cancel(id: str) -> Task | None:
        monkeypatch.setattr(system.store.reads, "outline", read)
        task = await read(id)
        events = await system.store.reads.event_range()
        await system.store.write(verbs.cancel, id)
        async with contextlib.aclosing(watcher(system).follow(events[1], 60)) as batches:
            await anext(batches)
        return task

    monkeypatch.setattr(system.store.reads, "outline", read_and_cancel)


async def test_an_end_between_the_first_look_and_the_waiting_is_not_missed(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    id = await system.submit("x", delay=1000)
    cancel_once_read(system, monkeypatch)
    async with asyncio.timeout(5):
        answer = await get(system, id, "wait=60")
    assert answer.body["status"] == "cancelled"


async def test_a_post_whose_task_ends_before_it_waits_for_it_is_answered_at_once(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = system.client.server.app  # type: ignore[attr-defined]
    accept = app[INTAKE].accept

    async def accept_and_cancel(*tasks: Any, **more: Any) -> Any:
        events = await system.store.reads.event_range()
        accepted = await accept(*tasks, **more)
        await system.store.write(verbs.cancel, accepted[0].id)
        async with contextlib.aclosing(watcher(system).follow(events[1], 60)) as batches:
            async for batch in batches:  # until the watcher has told the end
                if any(event.status is Status.CANCELLED for event in batch):
                    break
        return accepted

    monkeypatch.setattr(app[INTAKE], "accept", accept_and_cancel)
    async with asyncio.timeout(5):
        answer = await post(system, "wait=60", "x")
    assert (answer.status, answer.body["status"]) == (200, "cancelled")


async def test_a_post_whose_task_cannot_be_waited_for_is_accepted_all_the_same(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is stored: answered 503, it would be sent again."""

    async def fail(_: str) -> Any:
        raise StoreUnavailableError("on purpose")

    monkeypatch.setattr(system.store.reads, "outline", fail)
    answer = await post(system, "wait=20", text="x")
    monkeypatch.undo()
    assert (answer.status, answer.body["status"]) == (202, "queued")
    await system.until(answer.body["id"], Status.QUEUED)


async def test_a_thousand_waiters_cost_the_store_one_watcher(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = await system.post("/tasks/batch", json={"tasks": [{"action": "x", "delay": 1000}] * 1000})
    ids = [task["id"] for task in answer.body["tasks"]]
    reads = counted(system.store, monkeypatch)
    request = make_mocked_request("GET", "/", app=system.client.server.app)  # type: ignore[attr-defined]

    async def wait(id: str) -> Task | None:
        async with watcher(system).listening():
            return await once_final(request, id, 60)

    waiters = [asyncio.create_task(wait(id)) for id in ids]
    await listening(system, 1000)
    await eventually(lambda: reads["outline"] == 1000)
    reads.clear()
    began = time.monotonic()
    await eventually(lambda: reads["data_version"] > 20)
    looks = (time.monotonic() - began) / 0.02 + 2
    assert reads.keys() <= {"data_version", "events_after"}, "nobody polls for itself"
    assert reads["data_version"] <= looks
    assert (await system.post("/tasks/cancel", json={"action": "x"})).body["count"] == 1000
    async with asyncio.timeout(10):
        tasks = await asyncio.gather(*waiters)
    assert {task.status for task in tasks if task} == {Status.CANCELLED}
    assert reads["outline"] == 1000
    assert reads["events_after"] < 100
    assert watcher(system).listeners == 0


async def test_nobody_waiting_costs_nothing(system: System, monkeypatch: pytest.MonkeyPatch) -> None:
    """While somebody waits for the same task elsewhere, which costs many looks."""
    id = await system.submit("x", delay=1000)
    await get(system, id, "wait=0")
    async with System.open(system.settings) as other:
        reads, looks = counted(system.store, monkeypatch), counted(other.store, monkeypatch)
        waiting = asyncio.create_task(get(other, id, "wait=60"))
        await eventually(lambda: looks["data_version"] >= 2)
        reads.clear()  # a look may have been under way
        await eventually(lambda: looks["data_version"] >= 8)
        assert not reads
        await other.store.write(verbs.cancel, id)
        await waiting


async def test_what_another_process_did_is_waited_for(system: System) -> None:
    async with System.open(system.settings) as other:
        id = await system.submit("x", delay=1000)
        waiting = asyncio.create_task(get(system, id, "wait=60"))
        await listening(system)
        await other.store.write(verbs.cancel, id)
        answer = await waiting
    assert answer.body["status"] == "cancelled"
    assert time.time() - answer.body["processed_at"] < 2 * SOON


async def test_many_waiters_of_one_task_are_all_answered(system: System) -> None:
    id = await system.submit("uppercase", {"text": "x"})
    waiting = [asyncio.create_task(get(system, id, "wait=60")) for _ in range(50)]
    await listening(system, 50)
    async with system.worker():
        answers = await asyncio.gather(*waiting)
    assert {answer.body["status"] for answer in answers} == {Status.COMPLETED}


async def test_a_server_that_stops_lets_waiters_go_at_once(system: System) -> None:
    id = await system.submit("x", delay=1000)
    waiting = asyncio.create_task(get(system, id, "wait=60"))
    submitting = asyncio.create_task(post(system, "wait=60", "x"))
    await listening(system, 2)
    began = time.monotonic()
    await system.client.server.close()
    assert time.monotonic() - began < 3
    answer, accepted = await waiting, await submitting
    assert (answer.status, answer.body["status"]) == (200, "pending")
    assert (accepted.status, accepted.body["status"]) == (202, "queued")
