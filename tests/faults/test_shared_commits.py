"""Writes that share a transaction: what one of them suffers is not the others'."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.faults.cluster import until
from tests.faults.local import Local, new_task
from tests.integration import actions

from taskqueue.store import StoreUnavailableError, verbs
from taskqueue.store.engine.protocol import Transaction
from taskqueue.store.engine.sqlite.locks import WriteLock
from taskqueue.task import NewTask
from taskqueue.telemetry import TaskEnded, WorkerStarted


@pytest.fixture
async def local(tmp_path: Path) -> AsyncIterator[Local]:
    async with Local.open(tmp_path) as local:
        await local.add_worker()
        yield local


def submit_and_raise(tx: Transaction, task: NewTask) -> int:
    verbs.submit(tx, task)
    raise ValueError("on purpose")


@pytest.mark.parametrize("places", [{0}, {9}, {4}, {0, 1, 8, 9}])
async def test_of_a_batch_in_which_some_writes_raise_the_others_are_written_once(
    local: Local, places: set[int]
) -> None:
    tasks = [new_task() for _ in range(10)]
    writes = [
        local.store.write(submit_and_raise if place in places else verbs.submit, task)
        for place, task in enumerate(tasks)
    ]
    answers = await asyncio.gather(*writes, return_exceptions=True)
    assert {place for place, answer in enumerate(answers) if isinstance(answer, ValueError)} == places
    rows = local.rows("SELECT seq, id FROM task ORDER BY seq")
    assert [row["id"] for row in rows] == [task.id for place, task in enumerate(tasks) if place not in places]
    assert [row["seq"] for row in rows] == [answer for answer in answers if not isinstance(answer, ValueError)]
    events = local.rows("SELECT task_seq FROM events")
    assert sorted(event["task_seq"] for event in events) == [row["seq"] for row in rows]
    local.check()


async def test_a_claim_whose_neighbour_raises_is_granted_once(local: Local) -> None:
    task = new_task()
    await local.store.write(verbs.submit, task)
    raising = local.store.write(submit_and_raise, new_task())
    claim = await local.claimed(task.id)
    with pytest.raises(ValueError, match="on purpose"):
        await raising
    assert claim.attempt == local.row(task.id)["attempt"] == 1


class Outcomes:
    """The outcomes of a worker, which can't be written until `allowed` is set."""

    def __init__(self, local: Local, monkeypatch: pytest.MonkeyPatch) -> None:
        self.allowed = asyncio.Event()
        self.tried = 0
        write = local.store.write

        def failing(verb: object, *args: object, **kwargs: object) -> asyncio.Future[object]:
            if verb is not verbs.complete or self.allowed.is_set():
                return write(verb, *args, **kwargs)  # type: ignore[arg-type]
            self.tried += 1
            future: asyncio.Future[object] = asyncio.get_running_loop().create_future()
            future.set_exception(StoreUnavailableError("the disk is full"))
            return future

        monkeypatch.setattr(local.store, "write", failing)


async def hold(local: Local) -> str:
    """A task that runs until the gate `first` is opened, and has one message."""
    # A worker that starts publishes again what it finds queued.
    await until(lambda: bool(local.all_told(WorkerStarted)), "the worker to start")
    await local.store.write(lambda tx: None)
    task = await local.submit("hold", {"name": "first"})
    await actions.started("first")
    return task.id


async def test_a_granted_claim_waits_for_the_outcome_before_it(
    local: Local, monkeypatch: pytest.MonkeyPatch
) -> None:
    outcomes = Outcomes(local, monkeypatch)
    async with local.worker(consumers=1):
        first = await hold(local)
        second = (await local.submit("hold", {"name": "second"})).id
        actions.let_go("first")
        await until(lambda: local.row(second)["status"] == "running", "the next claim to be granted")
        tried = outcomes.tried
        await until(lambda: outcomes.tried > tried + 1, "the outcome to be tried again")
        assert actions.gates["second"].arrivals == 0, "the next task began before the outcome was recorded"
        outcomes.allowed.set()
        actions.let_go("second")
        await until(local.is_final(first, second), "both to end")
    assert (await local.outcomes(first), await local.outcomes(second)) == (["ok"], ["ok"])
    local.check()


async def test_a_stop_records_the_outcome_and_withdraws_the_claim_that_would_share_its_commit(
    local: Local,
) -> None:
    async with local.worker(consumers=1, reconcile_after=3600) as worker:
        first = await hold(local)
        second = (await local.submit()).id
        with contextlib.closing(WriteLock(local.settings.database)) as lock, lock.held(10):
            actions.let_go("first")
            await local.until_taken()
            worker.stopping.set()
            await local.until_stopping()
        await worker.stop()
    assert await local.outcomes(first) == ["ok"]
    assert [ended.status for ended in local.all_told(TaskEnded)] == ["completed"]
    assert (local.row(second)["status"], await local.outcomes(second)) == ("queued", [])
    assert [row["id"] for row in local.rows("SELECT id FROM workers")] == ["w"], "it said no goodbye"
    async with local.worker(reconcile_after=3600):
        await until(local.is_final(second), "the message that was given back to bring its task")
    local.check()


async def test_a_stop_gives_the_task_of_a_granted_claim_back_after_all_outcomes(
    local: Local, monkeypatch: pytest.MonkeyPatch
) -> None:
    outcomes = Outcomes(local, monkeypatch)
    async with local.worker(consumers=1, relay_interval=60) as worker:
        first = await hold(local)
        second = (await local.submit()).id
        actions.let_go("first")
        await until(lambda: local.row(second)["status"] == "running", "the next claim to be granted")
        worker.stopping.set()
        await local.until_stopping()
        outcomes.allowed.set()
        await worker.stop()
    assert await local.outcomes(first) == ["ok"]
    assert (local.row(second)["status"], await local.outcomes(second)) == ("pending", ["shutdown"])
    assert local.row(second)["failures"] == 0
    local.check()
