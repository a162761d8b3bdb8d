"""How far a task has come: told by its handler, stored in the task, sent in the stream."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from tests.conformance.waiting import eventually
from tests.integration import actions
from tests.integration.system import System

from taskqueue.actions import TaskContext
from taskqueue.store import StoreUnavailableError, verbs
from taskqueue.store.workers import held_by
from taskqueue.task import Claim, Status

HANDLERS = ["report", "report_in_thread"]


async def told(system: System, id: str) -> list[float]:
    """The fractions of the progress events of a task, in order."""
    events = await system.store.reads.events_after(0, limit=100_000)
    return [json.loads(event.progress)["fraction"] for event in events if event.task_id == id and event.progress]


@pytest.mark.parametrize("action", HANDLERS)
async def test_progress_stands_in_the_running_task(system: System, action: str) -> None:
    async with system.worker():
        id = await system.submit(action, {"name": "gate", "fractions": [0.25]})

        async def stands() -> bool:
            return bool((await system.task(id))["progress"])

        await eventually(stands)
        task = await system.task(id)
        assert task["status"] == Status.RUNNING
        assert task["progress"] == {"fraction": 0.25, "message": "at 0.25" if action == "report" else None}
        actions.let_go("gate")
        await system.until(id)


@pytest.mark.parametrize("action", HANDLERS)
async def test_the_last_progress_before_the_end_is_stored_and_told_before_the_end(
    system: System, action: str
) -> None:
    async with system.worker():
        id = await system.submit(action, {"name": "", "fractions": [0.1, 0.5, 1]})
        task = await system.until(id)
    assert (task["status"], task["progress"]["fraction"]) == ("completed", 1)
    kinds = [
        "progress" if event.progress else event.status
        for event in await system.store.reads.events_after(0, limit=100)
        if event.task_id == id
    ]
    assert kinds[-2:] == ["progress", Status.COMPLETED]


async def test_the_last_progress_is_stored_although_the_one_before_is_being_written(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The handler returns while the store is slow with what it told before."""
    writing, go_on = asyncio.Event(), asyncio.Event()
    write = system.store.write
    told: list[str] = []

    async def slow(claim: Claim, progress: str) -> bool:
        if not told:
            writing.set()
            await go_on.wait()
        told.append(progress)
        return await write(verbs.tell_progress, claim, progress)

    on_progress(system, monkeypatch, slow)
    async with system.worker():
        id = await system.submit("report", {"name": "gate", "fractions": [0.5]})
        await writing.wait()
        actions.let_go("gate")
        asyncio.get_running_loop().call_later(0.1, go_on.set)
        task = await system.until(id)
    assert task["progress"]["fraction"] == 0.5
    assert len(told) == 1


async def test_of_many_in_a_moment_the_last_counts(system: System) -> None:
    async with system.worker():
        id = await system.submit("report", {"name": "", "fractions": [n / 1000 for n in range(1001)]})
        assert (await system.until(id))["progress"]["fraction"] == 1
    fractions = await told(system, id)
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1
    assert len(fractions) < 20, "a chatty handler must not load the store"


async def test_another_attempt_begins_without_progress(system: System) -> None:
    async with system.worker():
        id = await system.submit("report", {"name": "first", "fractions": [0.75]})
        await actions.started("first")

        async def stands() -> bool:
            return bool((await system.task(id))["progress"])

        await eventually(stands)
        await system.store.write(verbs.release, await running_claim(system))
        task = await system.until(id, Status.RUNNING)
        actions.let_go("first")
        await system.until(id)
    fractions = await told(system, id)
    assert fractions == [0.75, 0.75]
    assert task["progress"] in (None, {"fraction": 0.75, "message": "at 0.75"})


async def running_claim(system: System) -> Claim:
    """The claim of the one task that runs."""
    [worker] = await system.store.reads.workers()
    [held] = await system.store.write(held_by, worker.id)
    return held.claim


def on_progress(system: System, monkeypatch: pytest.MonkeyPatch, tell: Callable[..., Awaitable[bool]]) -> None:
    """Have progress told to this, and not to the store."""
    write = system.store.write

    def write_or_tell(verb: Any, *values: Any) -> asyncio.Future[Any]:
        return asyncio.ensure_future(tell(*values)) if verb is verbs.tell_progress else write(verb, *values)

    monkeypatch.setattr(system.store, "write", write_or_tell)


async def test_progress_of_a_claim_that_was_lost_changes_nothing(system: System) -> None:
    async with system.worker():
        id = await system.submit("hold", {"name": "gate"})
        await actions.started("gate")
        claim = await running_claim(system)
        actions.let_go("gate")
        await system.until(id)
        _, last = await system.store.reads.event_range()
        assert not await system.store.write(verbs.tell_progress, claim, '{"fraction": 0.1, "message": null}')
    assert (await system.task(id))["progress"] is None
    assert not await system.store.reads.events_after(last, limit=10)


async def test_what_a_thread_tells_after_its_attempt_is_nobodys(system: System) -> None:
    async with system.worker():
        id = await system.submit("report_too_late", {"name": "gate"}, timeout=0.1, max_attempts=1)
        assert (await system.until(id))["status"] == "failed"
        actions.let_go("gate")
        await eventually(lambda: actions.notes == ["told"])
        other = await system.submit("uppercase", {"text": "x"})
        await system.until(other)
    assert (await system.task(id))["progress"] is None


async def test_a_store_that_is_busy_with_progress_does_not_fail_the_task(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(*_: Any) -> bool:
        raise StoreUnavailableError("on purpose")

    on_progress(system, monkeypatch, refuse)
    async with system.worker():
        id = await system.submit("report", {"name": "", "fractions": [0.1, 1]})
        task = await system.until(id)
    assert (task["status"], task["progress"]) == ("completed", None)


@pytest.mark.parametrize("fraction", [-0.001, 1.001, float("nan"), float("inf")])
def test_a_fraction_out_of_range_is_refused(fraction: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        TaskContext("t", "act", 1).progress(fraction)


def test_a_message_of_500_characters_is_taken_and_a_longer_one_refused() -> None:
    context = TaskContext("t", "act", 1)
    context.progress(0, "x" * 500)
    with pytest.raises(ValueError, match="500 characters"):
        context.progress(1, "x" * 501)


async def test_a_handler_that_tells_nonsense_fails(system: System) -> None:
    async with system.worker():
        id = await system.submit("report", {"name": "", "fractions": [2]}, max_attempts=1)
        task = await system.until(id)
    assert (task["status"], task["error"]["type"]) == ("failed", "ValueError")


async def test_progress_comes_in_the_stream_at_once(system: System) -> None:
    async with system.worker():
        id = await system.submit("report", {"name": "gate", "fractions": [0.5]})
        began = time.monotonic()
        async with system.client.get(f"/tasks/{id}/events") as response:
            while True:
                line = (await response.content.readline()).decode()
                assert line, "the stream has ended"
                progress = line.startswith("data: ") and json.loads(line[6:])["progress"]
                if progress == {"fraction": 0.5, "message": "at 0.5"}:
                    break
        assert time.monotonic() - began < 5
        actions.let_go("gate")
        await system.until(id)
