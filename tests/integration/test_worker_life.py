"""A worker's start and end: what it finishes, what it gives back, what it leaves behind."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any

import pytest
from tests.conformance.waiting import eventually
from tests.integration import actions
from tests.integration.system import System, WatchedBroker, quick_settings

from taskqueue import Depends, action
from taskqueue.actions import registry
from taskqueue.broker.memory import MemoryBroker
from taskqueue.process import FatalError
from taskqueue.store.workers import rescue
from taskqueue.telemetry import WorkerStopping
from taskqueue_worker.heartbeat import BEATS_PER_LEASE
from taskqueue_worker.worker import LEASES_DETACHED


async def test_a_stopping_worker_finishes_what_it_runs(system: System) -> None:
    async with system.worker() as worker:
        id = await system.submit("hold", {"name": "x"})
        await actions.started("x")
        stopping = asyncio.create_task(worker.stop())
        await system.told(WorkerStopping)
        await system.beats(2)
        assert not stopping.done()
        actions.let_go("x")
        await stopping
    task = await system.task(id)
    assert (task["status"], task["attempt"]) == ("completed", 1)


async def test_a_stopping_worker_takes_nothing_new(system: System) -> None:
    async with system.worker(consumers=1) as worker:
        running = await system.submit("hold", {"name": "x"})
        await actions.started("x")
        stopping = asyncio.create_task(worker.stop())
        await system.told(WorkerStopping)
        waiting = await system.submit("note", {"text": "taken"})
        actions.let_go("x")
        await stopping
    assert (await system.task(running))["status"] == "completed"
    assert (await system.task(waiting))["status"] in {"pending", "queued"}
    assert not actions.notes
    async with system.worker():
        assert (await system.until(waiting))["status"] == "completed"


@pytest.mark.parametrize("action", ["hold", "hold_thread"])
async def test_what_does_not_end_in_time_is_released_and_costs_no_attempt(system: System, action: str) -> None:
    async with system.worker(drain_timeout=0.1) as worker:
        id = await system.submit(action, {"name": "x"}, max_attempts=1)
        await actions.started("x")
        await worker.stop()
    task = await system.task(id)
    assert (task["status"], task["attempt"], task["failures"]) == ("pending", 1, 0)
    assert [(attempt["outcome"], attempt["error"]) for attempt in task["attempts"]] == [("shutdown", None)]
    actions.let_go("x")
    async with system.worker():
        task = await system.until(id)
    assert (task["status"], task["attempt"], task["failures"]) == ("completed", 2, 0)
    assert [attempt["outcome"] for attempt in task["attempts"]] == ["shutdown", "ok"]


async def test_a_handler_may_clean_up_when_its_worker_stops(system: System) -> None:
    async with system.worker(drain_timeout=0.1) as worker:
        id = await system.submit("clean_up", {"name": "x", "seconds": 0.2})
        await actions.started("x")
        await worker.stop()
    assert actions.notes == ["cleaning", "clean"]
    assert (await system.task(id))["status"] == "pending"


async def test_a_worker_that_has_stopped_is_known_no_more(tmp_path: Path) -> None:
    """A beat after its goodbye would be taken for a lost worker's."""

    class SlowToLeave(MemoryBroker):
        @asynccontextmanager
        async def consume(self, prefetch: int) -> AsyncIterator[Any]:
            async with super().consume(prefetch) as consumer:
                yield consumer
            await asyncio.sleep(0.2)

    async with System.open(quick_settings(tmp_path, lease=0.05), SlowToLeave()) as system:
        async with system.worker():
            id = await system.submit("uppercase", {"text": "x"})
            await system.until(id)
            assert len(await system.store.reads.worker_beats()) == 1
        assert await system.store.reads.worker_beats() == {}


async def test_a_worker_without_its_handlers_does_not_start(system: System) -> None:
    for handlers in ("no_such_module", "tests.integration.no_such_module"):
        async with system.worker(handlers=handlers) as worker:
            with pytest.raises(FatalError, match=f"{handlers}.*can't be imported"):
                await worker.running
    assert await system.store.reads.worker_beats() == {}


@pytest.fixture
def own_actions(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test registers is forgotten at its end."""
    monkeypatch.setattr(registry, "ACTIONS", dict(registry.ACTIONS))


@pytest.mark.usefixtures("own_actions")
async def test_a_workers_resources_are_open_until_what_it_runs_is_over(system: System) -> None:
    async def pool() -> AsyncIterator[str]:
        actions.notes.append("opens")
        yield "pool"
        actions.notes.append("closes")

    @action
    async def use(name: str, pool: Annotated[str, Depends(pool)]) -> str:
        await actions.hold(name)
        actions.notes.append(f"uses {name}")
        return pool

    async with system.worker(consumers=2) as worker:
        actions.let_go("x")
        first = await system.until(await system.submit("use", {"name": "x"}))
        held = await system.submit("use", {"name": "y"})
        await actions.started("y")
        stopping = asyncio.create_task(worker.stop())
        await system.told(WorkerStopping)
        actions.let_go("y")
        await stopping
    assert [(await system.task(id))["result"] for id in (first["id"], held)] == ["pool", "pool"]
    assert actions.notes == ["opens", "uses x", "uses y", "closes"]


@pytest.mark.usefixtures("own_actions")
async def test_a_worker_whose_resource_cannot_be_opened_takes_nothing(system: System) -> None:
    async def pool() -> None:
        raise ConnectionError("refused")

    @action
    async def use(pool: Annotated[None, Depends(pool)]) -> None: ...

    id = await system.submit("use")
    async with system.worker() as worker:
        with pytest.raises(FatalError, match=r"pool' can't be opened: ConnectionError: refused"):
            await worker.running
    assert ((await system.task(id))["attempt"], await system.store.reads.worker_beats()) == (0, {})


@pytest.mark.usefixtures("own_actions")
async def test_a_worker_that_is_told_to_stop_while_it_opens_its_resources_does_so_at_once(system: System) -> None:
    opening = asyncio.Event()

    async def first() -> AsyncIterator[None]:
        yield
        actions.notes.append("closes the first")

    async def slow(first: Annotated[None, Depends(first)]) -> AsyncIterator[None]:
        opening.set()
        try:
            await asyncio.Event().wait()
            yield
        finally:
            actions.notes.append("gives up the slow one")

    @action
    async def use(slow: Annotated[None, Depends(slow)]) -> None: ...

    async with system.worker() as worker:
        await opening.wait()
        await worker.stop()
    assert actions.notes == ["gives up the slow one", "closes the first"]
    assert await system.store.reads.worker_beats() == {}


async def test_a_thread_that_ignores_its_timeout_keeps_its_slot(system: System) -> None:
    async with system.worker(consumers=2) as worker:
        stuck = await system.submit("hold_thread", {"name": "stuck"}, timeout=0.1, max_attempts=1)
        task = await system.until(stuck)
        assert (task["status"], task["error"]["type"]) == ("failed", "Timeout")
        long = await system.submit("hold", {"name": "long"})
        await actions.started("long")
        waiting = await system.submit("note", {"text": "ran"})
        await system.beats(2)
        assert not actions.notes, "the slot of a thread that still runs was given away"
        actions.let_go("stuck")
        await system.until(waiting)
        assert not worker.running.done()
        actions.let_go("long")
        assert (await system.until(long))["status"] == "completed"


async def test_a_worker_that_has_lost_all_its_slots_to_threads_ends_and_says_so(system: System) -> None:
    async with system.worker(consumers=2, max_attempts=1) as worker:
        stuck = [
            await system.submit("hold_thread", {"name": f"stuck {number}"}, timeout=0.1, max_attempts=1)
            for number in range(2)
        ]
        waiting = await system.submit("note", {"text": "ran"})
        with pytest.raises(FatalError, match="every consumer is held"):
            async with asyncio.timeout(10):
                await worker.running
    for id in stuck:
        assert (await system.task(id))["status"] == "failed"
    async with system.worker():
        assert (await system.until(waiting))["status"] == "completed"


async def test_a_worker_that_is_lost_is_rescued_by_another_and_its_late_result_refused(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with System.open(quick_settings(tmp_path, lease=0.3)) as system, system.worker(consumers=1):
        id = await system.submit("hold", {"name": "x"})
        await actions.started("x")
        [(lost, beat)] = (await system.store.reads.worker_beats()).items()
        # As another worker sees it that has waited for a lease: the counter stands at this beat.
        while await system.store.write(rescue, lost, beat, "{}", lambda _: 60_000) is None:
            beat = (await system.store.reads.worker_beats())[lost]
        actions.let_go("x")
        await eventually(lambda: "outcome refused" in caplog.text)
        task = await system.task(id)
        assert (task["status"], task["failures"]) == ("pending", 1)
        assert [attempt["outcome"] for attempt in task["attempts"]] == ["worker_lost"]
        other = await system.submit("uppercase", {"text": "x"})
        assert (await system.until(other))["status"] == "completed", "it goes on with its next beat"


async def test_a_worker_whose_consumer_does_not_come_back_ends_although_the_broker_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broker = WatchedBroker()
    async with System.open(quick_settings(tmp_path), broker) as system, system.worker(lease=0.2) as worker:
        await system.until(await system.submit("note", {"text": "ran"}))
        monkeypatch.setattr(type(broker.consumers[0]), "attached", False)
        with pytest.raises(FatalError, match="a consumer could not be restored"):
            await worker.running


async def test_a_consumer_that_is_paused_behind_a_long_task_does_not_end_its_worker(system: System) -> None:
    async with system.worker(consumers=1, lease=0.1, give_back_after=0.01) as worker:
        long = await system.submit("hold", {"name": "long"})
        await actions.started("long")
        await system.beats((LEASES_DETACHED + 1) * BEATS_PER_LEASE)
        assert not worker.running.done()
        actions.let_go("long")
        assert (await system.until(long))["status"] == "completed"
