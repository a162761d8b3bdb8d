"""What a task submits is stored with its completion, whatever goes wrong: all of it, once, or nothing."""

from pathlib import Path

import pytest
from tests.faults.cluster import Cluster
from tests.faults.local import Local
from tests.integration.actions import let_go, started

from taskqueue.store.workers import rescue
from taskqueue.task import Status

ERROR = '{"type":"WorkerLost","message":"on purpose","traceback":null}'


@pytest.mark.docker
@pytest.mark.parametrize(
    ("point", "attempts", "children"),
    [
        ("before store.complete", ["worker_lost", "ok"], 0),
        ("before verbs.submit", ["worker_lost", "ok"], 0),  # within the transaction, after the completion
        ("after store.complete", ["ok"], 3),
    ],
)
async def test_a_worker_killed_around_a_completion_has_stored_what_its_task_submitted_with_it_or_not_at_all(
    cluster: Cluster, point: str, attempts: list[str], children: int
) -> None:
    await cluster.start_api()
    doomed = await cluster.start_worker(crash_at=point, consumers=1, reconcile_after=3600)
    id = await cluster.must_submit("fan_out", data={"values": [1, 2, 3]}, expect=3)
    assert await doomed.ended() == -9
    assert len(cluster.rows("SELECT 1 FROM task WHERE parent = ?", id)) == children
    await cluster.start_worker(reconcile_after=3600)
    await cluster.keeps_the_promise()
    assert cluster.outcomes(id) == attempts
    query = "SELECT status, result ->> '$.output' AS output FROM task WHERE parent = ? ORDER BY seq"
    assert cluster.rows(query, id) == [{"status": "completed", "output": value} for value in (1, 2, 3)]


@pytest.mark.docker
@pytest.mark.parametrize("how", ["lost", "blind", "failed"])
async def test_a_completion_whose_answer_is_lost_has_stored_what_its_task_submitted_once(
    cluster: Cluster, how: str
) -> None:
    await cluster.start_api()
    await cluster.start_worker(crash_at=f"{how} store.complete")
    id = await cluster.must_submit("fan_out", data={"values": [1, 2, 3]}, expect=3)
    await cluster.keeps_the_promise()
    assert len(cluster.rows("SELECT 1 FROM task WHERE parent = ?", id)) == 3


async def test_a_late_result_brings_no_children(tmp_path: Path) -> None:
    """Its worker was taken for lost meanwhile."""
    async with Local.open(tmp_path, lease=3600) as local:
        async with local.worker():
            task = await local.submit("spread", {"names": ["a"], "gate": "gate"}, max_attempts=1)
            await started("gate")
            [(worker, beat)] = (await local.store.reads.worker_beats()).items()
            await local.store.write(rescue, worker, beat, ERROR, lambda failures: 0)
            let_go("gate")
        assert (await local.task(task.id)).status is Status.FAILED
        assert local.rows("SELECT id FROM task WHERE parent IS NOT NULL") == []
        local.check()
