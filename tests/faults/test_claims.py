"""Claims of a worker that others don't know, or that it does not know of itself."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.faults.cluster import until
from tests.faults.local import Local, new_task
from tests.integration import actions
from tests.integration.store.given import claiming

from taskqueue.broker import Delivery
from taskqueue.contract.limits import MAX_PAYLOAD_BYTES
from taskqueue.store import verbs
from taskqueue.store.engine.sqlite.locks import WriteLock
from taskqueue.store.workers import rescue
from taskqueue.task import Claim, Status
from taskqueue.telemetry import DuplicateDropped, MessageBuried, StrayReleased
from taskqueue_worker import consume

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

        await local.until_taken()
        assert not local.rows("SELECT id FROM workers"), "it has beaten too early for this test"
        await until(local.is_final(task.id), "the task to end")
        assert await only_worker(local) == worker
    assert await local.outcomes(task.id) == ["ok"]
    assert not local.all_told(DuplicateDropped)
    assert not local.all_told(MessageBuried)
    local.check()


async def test_a_worker_that_has_beaten_since_is_not_taken_for_lost(local: Local) -> None:
    worker = await local.add_worker()
    task = new_task()
    await local.store.write(verbs.submit, task)
    claim = await local.claimed(task.id, worker)
    [(_, stood_at)] = (await local.store.reads.worker_beats()).items()
    await local.add_worker(worker)  # its next beat
    assert await local.store.write(rescue, worker, stood_at, ERROR, lambda _: 0) is None
    assert await local.store.write(verbs.complete, claim, "{}") is Status.COMPLETED


async def test_a_task_is_claimed_whatever_its_message_holds(local: Local) -> None:
    """Nothing of the message is looked at before its claim is committed: it can't kill a worker uncounted."""
    task = new_task(data={"value": 7})
    await local.store.write(verbs.submit, task, f"{task.id}.0", lease=60_000)
    body = b"[" * MAX_PAYLOAD_BYTES
    await local.broker.publish(body, message_id=f"{task.id}.0", priority=4, timeout=1)
    async with local.worker():
        await until(local.is_final(task.id), "the task to end")
    assert await local.outcomes(task.id) == ["ok"]
    assert not local.broker.dead


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"[[[]]]," * (MAX_PAYLOAD_BYTES // 7), "more than 250000 JSON values and names"),
        (b" " * (MAX_PAYLOAD_BYTES + 1), f"more than {MAX_PAYLOAD_BYTES} bytes"),
        (b'{"data":' + b"[" * 5000 + b"]" * 5000 + b"}", "JSON nested too deeply"),
    ],
    ids=["values", "bytes", "levels"],
)
async def test_a_strangers_message_that_is_too_large_is_buried_unparsed(
    local: Local, monkeypatch: pytest.MonkeyPatch, body: bytes, why: str
) -> None:
    parsed: list[bytes] = []
    monkeypatch.setattr(consume, "decode", parsed.append)
    await local.broker.publish(body, message_id="a stranger's", priority=4, timeout=1)
    async with local.worker():
        await until(lambda: local.broker.dead, "it to be buried")
    [letter] = local.broker.dead
    assert letter.reason.startswith(f"malformed message: {why}")
    assert not parsed


async def test_a_message_is_not_acknowledged_before_its_claim_is_committed(local: Local) -> None:
    task = new_task(data={"value": 7})
    async with local.worker() as worker:
        await until(local.is_final((await local.submit(data={"value": 1})).id), "the worker to work")
        await local.store.write(verbs.submit, task, f"{task.id}.0", lease=5_000)
        with contextlib.closing(WriteLock(local.settings.database)) as lock, lock.held(10):
            payload = task.payload.encode()
            await local.broker.publish(payload, message_id=f"{task.id}.0", priority=4, timeout=1)
            await local.until_taken()
            worker.stopping.set()  # which withdraws the claim
            await local.until_stopping()
        await worker.stop()
    assert local.row(task.id)["status"] == "queued"
    assert await local.broker.ready_count() == 1, "the message was gone, and its task not claimed"


async def test_a_task_that_runs_in_a_workers_name_but_in_none_of_its_slots_is_released(
    local: Local,
) -> None:
    async with local.worker() as running:
        worker = await only_worker(local)
        held = await local.submit("hold", {"name": "held"})
        await actions.started("held")
        stray = new_task(data={"value": 7})
        await local.store.write(verbs.submit, stray)
        if not isinstance(await local.store.write(claiming, stray.id, worker), Claim):
            pytest.fail("the relay was quicker")
        await until(local.is_final(stray.id), "the stray to be released, and run")
        assert await local.outcomes(stray.id) == ["shutdown", "ok"]
        assert local.row(stray.id)["failures"] == 0
        actions.let_go("held")
        await until(local.is_final(held.id), "the other one to end")
        assert not running.running.done()
    assert await local.outcomes(held.id) == ["ok"], "what is in a slot was released, too"
    assert [told.claim.id for told in local.all_told(StrayReleased)] == [stray.id]
    local.check()


async def test_a_claim_whose_message_takes_long_to_acknowledge_is_no_stray(
    local: Local, monkeypatch: pytest.MonkeyPatch
) -> None:
    acking, go_on = asyncio.Event(), asyncio.Event()
    async with local.broker.consume(1) as consumer:
        await local.submit(data={"value": 7})
        delivery = consumer.take()
        assert delivery is not None
        await delivery.ack()
    ack = type(delivery).ack

    async def slow(self: Delivery) -> None:
        acking.set()
        await go_on.wait()
        await ack(self)  # type: ignore[arg-type]

    monkeypatch.setattr(type(delivery), "ack", slow)
    async with local.worker():
        task = await local.submit(data={"value": 7})
        await acking.wait()
        [beaten] = (await local.store.reads.worker_beats()).values()

        async def beaten_on() -> bool:
            return next(iter((await local.store.reads.worker_beats()).values())) > beaten + 4

        await until(beaten_on, "more beats")
        go_on.set()
        await until(local.is_final(task.id), "the task to end")
    assert await local.outcomes(task.id) == ["ok"]
    assert not local.all_told(StrayReleased)
