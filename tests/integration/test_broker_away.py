"""The broker away, refusing or silent: a POST is accepted all the same, soon, and the task runs later."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from enum import Enum, auto
from pathlib import Path

import pytest
from tests.conformance.waiting import eventually
from tests.integration.system import Answer, System, quick_settings

from taskqueue.broker import BrokerState, PublishError
from taskqueue.broker.memory import MemoryBroker
from taskqueue.settings import Settings

#: Seconds in which a POST is answered, whatever the broker does.
PROMISE = 2


class Fault(Enum):
    """What a broker does instead of confirming a message."""

    DISCONNECTED = auto()
    BLOCKED = auto()
    #: It raises at once.
    REFUSING = auto()
    #: It raises when the time is up.
    SILENT = auto()
    #: It takes the message, but its confirmation comes too late.
    LATE = auto()
    #: It raises what the protocol doesn't know.
    BROKEN = auto()


class FaultyBroker(MemoryBroker):
    """The real memory broker, and what publishing does to it while it has a fault."""

    fault: Fault | None = None
    #: How often it was asked to publish.
    asked = 0

    @property
    def state(self) -> BrokerState:
        match self.fault:
            case Fault.DISCONNECTED:
                return BrokerState.DISCONNECTED
            case Fault.BLOCKED:
                return BrokerState.BLOCKED
            case _:
                return super().state

    async def publish(self, body: bytes, *, message_id: str, priority: int, timeout: float) -> None:
        self.asked += 1
        if self.fault in {None, Fault.LATE}:
            await super().publish(body, message_id=message_id, priority=priority, timeout=timeout)
        match self.fault:
            case None:
                return
            case Fault.BROKEN:
                raise RuntimeError("nobody expected this")
            case Fault.SILENT | Fault.LATE:
                await asyncio.sleep(timeout)
        raise PublishError("not confirmed")


@pytest.fixture
def broker() -> FaultyBroker:
    return FaultyBroker()


@pytest.fixture
async def system(tmp_path: Path, broker: FaultyBroker) -> AsyncIterator[System]:
    settings = quick_settings(tmp_path, publish_timeout=0.1, write_timeout=0.3, dispatch_lease=1.4)
    async with System.open(settings, broker) as system:
        yield system


@pytest.mark.parametrize("fault", Fault)
async def test_a_post_is_accepted_as_pending_and_the_task_runs_once_the_broker_is_back(
    system: System, broker: FaultyBroker, fault: Fault
) -> None:
    broker.fault = fault
    answer = await system.post("/tasks", json={"action": "uppercase", "data": {"text": "x"}})
    assert answer.status == 202
    assert answer.body["status"] == "pending"
    async with system.worker():
        broker.fault = None
        task = await system.until(answer.body["id"])
    assert task["result"] == {"output": "X"}
    assert [attempt["outcome"] for attempt in task["attempts"]] == ["ok"]


@pytest.mark.parametrize("fault", [fault for fault in Fault if fault is not Fault.LATE])
async def test_a_running_worker_goes_on_once_the_broker_is_back(
    system: System, broker: FaultyBroker, fault: Fault, monkeypatch: pytest.MonkeyPatch
) -> None:
    demote_expired, sweeps = system.store.bulk.demote_expired, 0

    async def sweep(lease: int) -> int:
        nonlocal sweeps
        sweeps += 1
        return await demote_expired(lease)

    monkeypatch.setattr(system.store.bulk, "demote_expired", sweep)
    async with system.worker() as worker:
        broker.fault = fault
        ids = [await system.submit("uppercase", {"text": "x"}) for _ in range(3)]
        before = sweeps
        await eventually(lambda: sweeps >= before + 5)
        if broker.state is BrokerState.CONNECTED:  # each is asked for again by the relay, once its lease is over
            await eventually(lambda: broker.asked >= 3 * len(ids))
        assert [(await system.task(id))["status"] for id in ids] == ["pending"] * 3
        broker.fault = None
        for id in ids:
            assert (await system.until(id))["status"] == "completed"
        assert not worker.running.done()


async def test_the_default_settings_keep_the_promise(tmp_path: Path) -> None:
    broker = FaultyBroker()
    async with System.open(Settings(data_dir=tmp_path), broker) as system:
        broker.fault = Fault.SILENT

        async def post() -> tuple[Answer, float]:
            started = time.monotonic()
            answer = await system.post("/tasks", json={"action": "x"})
            return answer, time.monotonic() - started

        for answer, took in await asyncio.gather(*(post() for _ in range(5))):
            assert (answer.status, answer.body["status"]) == (202, "pending")
            assert took < PROMISE


async def test_readiness_tells_the_broker_and_does_not_depend_on_it(system: System, broker: FaultyBroker) -> None:
    for fault, told in ((Fault.DISCONNECTED, "disconnected"), (Fault.BLOCKED, "blocked"), (None, "connected")):
        broker.fault = fault
        answer = await system.get("/readyz")
        assert answer.status == 200
        assert answer.body["broker"] == told


async def test_a_task_whose_message_is_not_confirmed_is_named_in_the_log(
    system: System, broker: FaultyBroker, caplog: pytest.LogCaptureFixture
) -> None:
    broker.fault = Fault.REFUSING
    id = await system.submit("uppercase")
    [record] = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert "not confirmed" in record.message
    assert {"task_id": id, "action": "uppercase"}.items() <= vars(record).items()


async def test_tasks_of_a_lost_queue_are_published_again(system: System, broker: FaultyBroker) -> None:
    ids = [await system.submit("uppercase", {"text": "x"}) for _ in range(3)]
    async with system.broker.consume(10) as lost:
        for _ in ids:
            await (await anext(aiter(lost))).ack()  # gone, and nobody has claimed them
    async with system.worker(reconcile_after=0.2):
        for id in ids:
            assert (await system.until(id))["status"] == "completed"
