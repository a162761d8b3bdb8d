"""Claims of a worker that others don't know, or that it does not know of itself."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.faults.cluster import until
from tests.faults.local import Local, new_task

from taskqueue.store import verbs
from taskqueue.store.workers import rescue
from taskqueue.task import Claim
from taskqueue.telemetry import DuplicateDropped, MessageBuried, StrayReleased

ERROR = '{"type":"Test","message":"on purpose"}'


@pytest.fixture
async def local(tmp_path: Path) -> AsyncIterator[Local]:
    async with Local.open(tmp_path, reconcile_after=3600) as local:
        yield local


async def only_worker(local: Local) -> str:
    """The id of the worker that runs, once it has beaten."""
    await until(lambda: local.rows("SELECT id FROM workers"), "the worker to beat")
    [row] = local.rows("SELECT id FROM workers")
    return str(row["id"])


async def test_a_worker_that_was_taken_for_lost_holds_its_messages_until_it_beats_again(local: Local) -> None:
    async with local.worker(lease=7.5):
        worker = await only_worker(local)
        [(id, beat)] = (await local.store.reads.worker_beats()).items()
        assert await local.store.write(rescue, id, beat, ERROR, lambda _: 0) == []
        task = await local.submit(data={"value": 7})

        async def taken() -> bool:
            return await local.broker.ready_count() == 0

        await until(taken, "the message to be taken")
        assert not local.rows("SELECT id FROM workers"), "it has beaten too early for this test"
        await until(local.is_final(task.id), "the task to end")
        assert await only_worker(local) == worker
    assert await local.outcomes(task.id) == ["ok"]
    assert not local.all_told(DuplicateDropped)
    assert not local.all_told(MessageBuried)
    local.check()


async def test_a_task_that_runs_in_a_workers_name_but_in_none_of_its_slots_is_released(
    local: Local, tmp_path: Path
) -> None:
    async with local.worker() as running:
        worker = await only_worker(local)
        held = await local.submit("hold", {"marks": str(tmp_path)})
        await until((tmp_path / f"{held.id}.1").exists, "a task to run")
        stray = new_task(data={"value": 7})
        await local.store.write(verbs.submit, stray)
        if not isinstance(await local.store.write(verbs.claim, stray.id, worker), Claim):
            pytest.fail("the relay was quicker")
        await until(local.is_final(stray.id), "the stray to be released, and run")
        assert await local.outcomes(stray.id) == ["shutdown", "ok"]
        assert local.row(stray.id)["failures"] == 0
        (tmp_path / "go").touch()
        await until(local.is_final(held.id), "the other one to end")
        assert not running.running.done()
    assert await local.outcomes(held.id) == ["ok"], "what is in a slot was released, too"
    assert [told.claim.id for told in local.all_told(StrayReleased)] == [stray.id]
    local.check()
