"""The answer to a COMMIT is lost, in a process of its own: everybody is told the truth, or nothing."""

import aiohttp
import pytest
from tests.faults.cluster import Cluster, until

pytestmark = pytest.mark.docker


async def test_a_submission_whose_commits_answer_got_lost_is_accepted_once(cluster: Cluster) -> None:
    await cluster.start_api(crash_at="lost store.submit_all")
    id = await cluster.must_submit(data={"value": 7}, expect=7)
    await cluster.start_worker()
    await cluster.keeps_the_promise()
    assert [row["id"] for row in cluster.rows("SELECT id FROM task")] == [id]


async def test_a_batch_whose_commits_answer_got_lost_is_accepted_once_and_so_is_its_key(cluster: Cluster) -> None:
    await cluster.start_api(crash_at="lost store.submit_all")
    body = {"tasks": [{"action": "echo", "data": {"value": number}} for number in range(20)]}
    answers = []
    for _ in range(2):
        async with cluster.http.post("/tasks/batch", json=body, headers={"Idempotency-Key": "k"}) as response:
            assert response.status == 202
            answers.append(await response.json())
    assert answers[0] == answers[1]
    cluster.accepted = {task["id"]: number for number, task in enumerate(answers[0]["tasks"])}
    await cluster.start_worker()
    await cluster.keeps_the_promise()
    assert len(cluster.rows("SELECT id FROM task")) == 20


async def test_a_submission_whose_commit_failed_is_refused_and_not_stored(cluster: Cluster) -> None:
    await cluster.start_api(crash_at="failed store.submit_all")
    async with cluster.http.post("/tasks", json={"action": "echo", "data": {"value": 1}}) as response:
        assert (response.status, await response.json()) == (503, {"error": "failed to queue task"})
    assert not cluster.rows("SELECT id FROM task")
    await cluster.must_submit(data={"value": 2}, expect=2)
    await cluster.start_worker()
    await cluster.keeps_the_promise()
    assert len(cluster.rows("SELECT id FROM task")) == 1


async def test_a_submission_that_can_not_be_read_back_gets_no_answer_and_is_not_lost(cluster: Cluster) -> None:
    await cluster.start_api(crash_at="blind store.submit_all")
    with pytest.raises(aiohttp.ServerDisconnectedError):
        await cluster.http.post("/tasks", json={"action": "echo", "data": {"value": 7}})
    [row] = cluster.rows("SELECT id FROM task")
    cluster.accepted[row["id"]] = 7
    await cluster.start_worker()  # its lease runs out: nobody has published it
    await cluster.keeps_the_promise()


async def test_an_outcome_whose_commits_answer_got_lost_is_recorded_once_and_told_as_recorded(
    cluster: Cluster,
) -> None:
    await cluster.start_api()
    worker = await cluster.start_worker(crash_at="lost store.complete")
    id = await cluster.must_submit(data={"value": 7}, expect=7)
    await worker.says("task completed")
    await cluster.keeps_the_promise()
    assert cluster.outcomes(id) == ["ok"]
    assert "outcome refused" not in worker.log.read_text()


async def test_an_outcome_that_can_not_be_read_back_is_told_once_it_can_be_and_ends_no_worker(
    cluster: Cluster,
) -> None:
    await cluster.start_api()
    worker = await cluster.start_worker(crash_at="blind store.complete")
    id = await cluster.must_submit(data={"value": 7}, expect=7)
    await worker.says("task completed")
    await cluster.echo(10)
    await cluster.keeps_the_promise()
    assert cluster.outcomes(id) == ["ok"]
    assert worker.handle.returncode is None


@pytest.mark.parametrize("verb", ["back_off", "fail"])
async def test_a_failure_whose_commits_answer_got_lost_counts_once(cluster: Cluster, verb: str) -> None:
    await cluster.start_api()
    worker = await cluster.start_worker(crash_at=f"lost store.{verb}")
    id = await cluster.must_submit("fail", max_attempts=2)
    await cluster.keeps_the_promise()
    await worker.says("task failed")
    assert (cluster.outcomes(id), cluster.row(id)["failures"]) == (["error", "error"], 2)
    assert "outcome refused" not in worker.log.read_text()


async def test_an_outcome_whose_commit_failed_is_recorded_at_the_next_try(cluster: Cluster) -> None:
    await cluster.start_api()
    worker = await cluster.start_worker(crash_at="failed store.complete")
    id = await cluster.must_submit(data={"value": 7}, expect=7)
    await cluster.keeps_the_promise()
    assert cluster.outcomes(id) == ["ok"]
    assert "an outcome waits for the store" in worker.log.read_text()


async def test_a_claim_whose_commits_answer_got_lost_is_released_after_two_beats(cluster: Cluster) -> None:
    await cluster.start_api()
    worker = await cluster.start_worker(crash_at="lost store.claim", reconcile_after=3600)
    id = await cluster.must_submit(data={"value": 7}, expect=7)
    await cluster.keeps_the_promise()
    assert (cluster.outcomes(id), cluster.row(id)["failures"]) == (["shutdown", "ok"], 0)
    assert worker.handle.returncode is None


async def test_an_outcome_and_a_claim_that_share_a_commit_whose_answer_got_lost_both_come_right(
    cluster: Cluster,
) -> None:
    await cluster.start_api()
    worker = await cluster.start_worker(consumers=1, crash_at="lost store.complete", reconcile_after=3600)
    first = await cluster.must_submit("hold", data={"marks": str(cluster.folder)}, expect="held")
    await until((cluster.folder / f"{first}.1").exists, "the first task to run")
    second = await cluster.must_submit(data={"value": 7}, expect=7)
    (cluster.folder / "go").touch()
    await cluster.keeps_the_promise()
    assert (cluster.outcomes(first), cluster.outcomes(second)) == (["ok"], ["shutdown", "ok"])
    assert "outcome refused" not in worker.log.read_text()
