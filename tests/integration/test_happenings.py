"""What a listener is told of a task on its way, by the API and by its worker."""

from typing import Any

import pytest
from tests.conformance.waiting import eventually
from tests.integration import actions
from tests.integration.system import System

from taskqueue.store import verbs
from taskqueue.store.workers import held_by
from taskqueue.task import Outcome, Status
from taskqueue.telemetry import (
    Committed,
    Published,
    TaskAccepted,
    TaskClaimed,
    TaskEnded,
    WorkerStarted,
    WorkerStopping,
)


@pytest.fixture
def told(system: System) -> list[Any]:
    """What happens from now on, but for commits."""
    happenings: list[Any] = []
    system.telemetry.listen(
        lambda happening: None if isinstance(happening, Committed) else happenings.append(happening)
    )
    return happenings


async def ended(told: list[Any], times: int = 1) -> list[TaskEnded]:
    """The ends of attempts, once there are so many."""

    def ends() -> list[TaskEnded]:
        return [happening for happening in told if isinstance(happening, TaskEnded)]

    await eventually(lambda: len(ends()) >= times)
    return ends()


async def test_the_way_of_a_task_is_told_step_by_step(system: System, told: list[Any]) -> None:
    id = await system.submit("uppercase", {"text": "x"})
    assert told == [Published(id), TaskAccepted(id, "uppercase", Status.QUEUED)]
    told.clear()
    async with system.worker():
        await ended(told)
    started, claimed, end, stopping = told
    assert isinstance(started, WorkerStarted)
    assert {"uppercase", "sum", "*"} <= set(started.actions)
    assert isinstance(claimed, TaskClaimed)
    assert (claimed.claim.id, claimed.claim.attempt, claimed.claim.worker) == (id, 1, started.worker)
    assert end == TaskEnded(claimed.claim, Outcome.OK, Status.COMPLETED, None)
    assert stopping == WorkerStopping(0)


async def test_each_attempt_is_told_with_what_it_led_to(system: System, told: list[Any]) -> None:
    async with system.worker():
        await system.submit("fail", {"until_attempt": 3})
        ends = await ended(told, 3)
    assert [(end.claim.attempt, end.outcome, end.status) for end in ends] == [
        (1, Outcome.ERROR, Status.PENDING),
        (2, Outcome.ERROR, Status.PENDING),
        (3, Outcome.OK, Status.COMPLETED),
    ]
    assert ["on purpose" in (end.error or "") for end in ends] == [True, True, False]


async def test_an_outcome_that_came_too_late_is_told_as_that(system: System, told: list[Any]) -> None:
    async with system.worker(consumers=1):
        id = await system.submit("hold", {"name": "gate"})
        await actions.started("gate")
        [worker] = await system.store.reads.workers()
        [held] = await system.store.write(held_by, worker.id)
        await system.store.write(verbs.fail, held.claim, Outcome.WORKER_LOST, "{}")
        actions.let_go("gate")
        [end] = await ended(told)
    assert (end.claim.id, end.outcome, end.status) == (id, Outcome.OK, None)
    assert (await system.task(id))["status"] == "failed"


async def test_nothing_is_told_of_what_was_not_committed(system: System, told: list[Any]) -> None:
    answer = await system.post("/tasks", json={"action": ""})
    assert answer.status == 400
    assert (await system.post("/tasks/none/cancel")).status == 404
    assert told == []
