"""Between the commit and the confirm: a broker that is silent, a store that is away, a process that stops."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
from tests.faults.cluster import until
from tests.faults.local import Local, new_task

from taskqueue.broker import PublishError
from taskqueue.broker.memory import MemoryBroker
from taskqueue.intake import Told
from taskqueue.store import IdempotentRequest, StoreBusyError
from taskqueue.store.engine.sqlite.locks import WriteLock
from taskqueue.telemetry import LeasesKept


class SilentBroker(MemoryBroker):
    """Takes messages, and confirms none of those whose number is in `silent`."""

    def __init__(self) -> None:
        super().__init__()
        self.published = 0
        self.silent: Callable[[int], bool] = lambda number: True
        #: Whether it loses what it does not confirm.
        self.loses = False
        self.answers = asyncio.Event()
        self.answers.set()

    @property
    def queues_created(self) -> int:
        return 0  # or a worker that starts would take all messages for lost

    async def publish(self, body: bytes, *, message_id: str, priority: int, timeout: float) -> None:
        silent = self.silent(self.published)
        self.published += 1
        await self.answers.wait()
        if not (silent and self.loses):
            await super().publish(body, message_id=message_id, priority=priority, timeout=timeout)
        if silent:
            raise PublishError("not confirmed in time")


@pytest.fixture
def broker() -> SilentBroker:
    return SilentBroker()


@pytest.fixture
async def local(tmp_path: Path, broker: SilentBroker) -> AsyncIterator[Local]:
    async with Local.open(tmp_path, broker, write_timeout=1, dispatch_lease=2.5) as local:
        yield local


@contextlib.contextmanager
def locked(local: Local) -> Iterator[None]:
    """Another process holds the write lock."""
    with contextlib.closing(WriteLock(local.settings.database)) as lock, lock.held(10):
        yield


async def test_of_a_batch_only_what_is_not_confirmed_is_demoted_and_all_of_it_runs_once(
    local: Local, broker: SilentBroker
) -> None:
    broker.silent = lambda number: number % 3 == 0
    tasks = [new_task(data={"value": number}) for number in range(9)]
    accepted = await local.intake.accept(tasks)
    assert isinstance(accepted, list)
    assert [task.status for task in accepted] == ["pending", "queued", "queued"] * 3
    assert [local.row(task.id)["status"] for task in tasks] == ["pending", "queued", "queued"] * 3
    broker.silent = lambda number: False
    async with local.worker():  # the unconfirmed ones have two messages
        await until(local.is_final(*(task.id for task in tasks)), "all to end")
    assert [await local.outcomes(task.id) for task in tasks] == [["ok"]] * 9
    local.check()


async def test_the_answer_kept_with_a_key_is_the_one_that_was_given(local: Local, broker: SilentBroker) -> None:
    def answer(told: Told) -> str:
        return json.dumps(told)

    request = IdempotentRequest("key", "fingerprint", 0)
    task = new_task()
    await local.intake.accept([task], request=request, answer=answer)
    replay = await local.store.reads.first_answer(request)
    assert replay is not None
    assert json.loads(replay.answer) == [[task.id, "pending"]]


async def test_leases_that_could_not_be_settled_are_settled_once_the_store_is_back(
    local: Local, broker: SilentBroker
) -> None:
    broker.silent = lambda number: False
    async with local.intake.running():
        task = await local.submit()
        with locked(local):
            await until(lambda: local.all_told(LeasesKept), "the settling to fail")
        await until(lambda: local.row(task.id)["dispatch_id"] is None, "the lease to be taken off")
    assert local.row(task.id)["status"] == "queued"


async def test_a_stop_settles_what_has_gathered(local: Local, broker: SilentBroker) -> None:
    broker.silent = lambda number: False
    async with local.intake.running():
        task = await local.submit()
        assert local.row(task.id)["dispatch_id"] is not None
    row = local.row(task.id)
    assert (row["status"], row["dispatch_id"]) == ("queued", None)


async def test_a_demotion_that_can_not_be_written_is_done_by_a_sweep_once_the_lease_has_run_out(
    local: Local, broker: SilentBroker
) -> None:
    broker.loses = True
    broker.answers.clear()
    accepting = asyncio.create_task(local.submit(data={"value": 1}))
    await until(lambda: broker.published, "the publish")
    with locked(local):
        broker.answers.set()
        accepted = await accepting
    assert (accepted.status, local.row(accepted.id)["status"]) == ("pending", "queued")
    broker.silent = lambda number: False
    async with local.worker(reconcile_after=3600):
        await until(local.is_final(accepted.id), "the task to end")
    local.check()


async def test_what_can_not_be_stored_is_refused_and_never_published(local: Local, broker: SilentBroker) -> None:
    with locked(local), pytest.raises(StoreBusyError):
        await local.submit()
    assert not local.rows("SELECT * FROM task")
    assert await local.broker.ready_count() == 0
