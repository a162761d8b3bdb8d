"""Each verb of the store: the edge that it takes, what it leaves behind, and unmet guards that change nothing."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.integration.store.given import NOON, Clock, beat, claimed, new_task, stored

from taskqueue.store import Filter, Refusal, StoreUnavailableError, TaskStore
from taskqueue.store.schema import SCHEMA_VERSION
from taskqueue.task import Attempt, Claim, Outcome, Status, Task

ERROR = '{"type":"ValueError"}'
HOUR = 3_600_000


async def task_of(store: TaskStore, id: str = "t") -> Task:
    task = await store.get(id)
    assert task is not None
    return task


async def status_of(store: TaskStore, id: str = "t") -> Status:
    return (await task_of(store, id)).status


async def queued(store: TaskStore, id: str = "t", **changes: Any) -> None:
    await store.submit(new_task(id, **changes), dispatch_id=f"{id}.0", lease=10)
    assert await store.mark_queued(id, f"{id}.0")


async def running(store: TaskStore, id: str = "t", worker: str = "w", **changes: Any) -> Claim:
    await queued(store, id, **changes)
    return await claimed(store, id, worker)


@pytest.fixture
def unchanged(database: Path) -> Callable[[], tuple[Any, ...]]:
    """All that is stored of tasks and attempts, to compare."""
    return lambda: (stored(database), stored(database, "SELECT * FROM attempts"))


# submit


async def test_a_submitted_task_is_pending_and_complete(store: TaskStore) -> None:
    await store.submit(new_task(run_at=NOON + 5, priority=8, max_attempts=7, timeout=1500))
    assert await store.get("t") == Task(
        id="t",
        action="act",
        payload='{"id":"t"}',
        status=Status.PENDING,
        result=None,
        error=None,
        created_at=NOON,
        run_at=NOON + 5,
        processed_at=None,
        priority=8,
        attempt=0,
        failures=0,
        max_attempts=7,
        timeout=1500,
        cancel_requested=False,
        tags=(),
        progress=None,
    )
    assert await store.attempts_of("t") == []


async def test_an_id_can_be_submitted_once(store: TaskStore) -> None:
    await store.submit(new_task())
    with pytest.raises(Exception, match="UNIQUE"):
        await store.submit(new_task(action="another"))
    assert (await task_of(store)).action == "act"


async def test_an_unknown_task_is_none(store: TaskStore) -> None:
    assert await store.get("unknown") is None
    assert await store.attempts_of("unknown") == []


# mark_queued


async def test_a_confirmed_task_is_queued(store: TaskStore, database: Path, clock: Clock) -> None:
    await store.submit(new_task(), dispatch_id="d", lease=10)
    clock.move(7)
    assert await store.mark_queued("t", "d")
    [row] = stored(database)
    assert (row["status"], row["queued_at"]) == ("queued", NOON + 7)
    assert (row["dispatch_id"], row["dispatch_until"]) == (None, None)


@pytest.mark.parametrize("dispatch_id", ["other", "", "D"])
async def test_a_mark_of_another_publish_changes_nothing(
    store: TaskStore, unchanged: Callable[[], object], dispatch_id: str
) -> None:
    await store.submit(new_task(), dispatch_id="d", lease=10)
    before = unchanged()
    assert not await store.mark_queued("t", dispatch_id)
    assert unchanged() == before


async def test_a_mark_of_a_task_that_nobody_publishes_changes_nothing(store: TaskStore) -> None:
    await store.submit(new_task())
    assert not await store.mark_queued("t", "d")
    assert not await store.mark_queued("unknown", "d")
    assert await status_of(store) is Status.PENDING


async def test_a_late_mark_does_not_strand_a_task_that_failed_meanwhile(store: TaskStore) -> None:
    # Published, and claimed and failed before its publisher came round to mark it.
    await store.submit(new_task(), dispatch_id="d", lease=10)
    claim = await claimed(store)
    assert await store.retry(claim, Outcome.ERROR, ERROR, delay=60) is Status.PENDING
    assert not await store.mark_queued("t", "d")
    assert await status_of(store) is Status.PENDING


@pytest.mark.parametrize("end", ["running", "completed", "cancelled"])
async def test_a_late_mark_changes_no_later_status(store: TaskStore, end: str) -> None:
    await store.submit(new_task(), dispatch_id="d", lease=10)
    if end == "cancelled":
        await store.cancel("t")
    else:
        claim = await claimed(store)
        if end == "completed":
            await store.complete(claim, "{}")
    assert not await store.mark_queued("t", "d")
    assert await status_of(store) == end


# lease_due


async def leased(store: TaskStore, token: str = "x", *, limit: int = 100, lease: float = 10) -> list[str]:
    return [dispatch.id for dispatch in await store.lease_due(limit=limit, lease=lease, token=token)]


async def test_a_due_task_is_leased_with_a_dispatch_id_that_its_mark_needs(store: TaskStore) -> None:
    await store.submit(new_task(priority=8))
    [dispatch] = await store.lease_due(limit=10, lease=10, token="x")
    assert (dispatch.id, dispatch.payload, dispatch.priority) == ("t", '{"id":"t"}', 8)
    assert await store.mark_queued("t", dispatch.dispatch_id)


async def test_a_task_is_leased_to_one_relay_at_a_time(store: TaskStore, clock: Clock) -> None:
    await store.submit(new_task())
    assert await leased(store, "x") == ["t"]
    assert await leased(store, "y") == []
    clock.move(9_999)
    assert await leased(store, "y") == []
    clock.move(1)
    assert await leased(store, "y") == ["t"]


async def test_the_lease_of_a_submit_keeps_the_relay_away(store: TaskStore, clock: Clock) -> None:
    await store.submit(new_task(), dispatch_id="d", lease=10)
    assert await leased(store) == []
    clock.move(10_000)
    assert await leased(store) == ["t"]


async def test_a_new_lease_makes_the_old_publishs_mark_void(store: TaskStore, clock: Clock) -> None:
    await store.submit(new_task(), dispatch_id="d", lease=10)
    clock.move(10_000)
    [dispatch] = await store.lease_due(limit=10, lease=10, token="x")
    assert not await store.mark_queued("t", "d")
    assert await store.mark_queued("t", dispatch.dispatch_id)


async def test_a_task_is_not_leased_before_its_time(store: TaskStore, clock: Clock) -> None:
    await store.submit(new_task(run_at=NOON + 500))
    clock.move(499)
    assert await leased(store) == []
    clock.move(1)
    assert await leased(store) == ["t"]


async def test_only_pending_tasks_are_leased(store: TaskStore) -> None:
    await queued(store, "queued")
    await running(store, "running")
    await store.complete(await running(store, "completed"), "{}")
    await store.fail(await running(store, "failed"), Outcome.ERROR, ERROR)
    await store.submit(new_task("cancelled"))
    await store.cancel("cancelled")
    assert await leased(store) == []


async def test_a_lease_from_before_the_clock_was_set_back_counts_as_over(store: TaskStore, clock: Clock) -> None:
    await store.submit(new_task(run_at=NOON - HOUR), dispatch_id="d", lease=10)
    clock.move(-1)
    assert await leased(store) == ["t"]


async def test_the_limit_takes_the_urgent_first_then_the_oldest(store: TaskStore) -> None:
    for n, (priority, run_at) in enumerate([(0, 1), (4, 3), (8, 9), (4, 2), (8, 8), (0, 0)]):
        await store.submit(new_task(str(n), priority=priority, run_at=run_at))
    assert sorted(await leased(store, "a", limit=2)) == ["2", "4"]
    assert sorted(await leased(store, "b", limit=1)) == ["3"]
    assert await leased(store, "c", limit=2) == ["1", "5"]
    assert await leased(store, "d", limit=2) == ["0"]


async def test_a_task_of_no_listed_priority_would_never_run_so_none_is_made(store: TaskStore) -> None:
    for priority in (0, 4, 8):
        await store.submit(new_task(str(priority), priority=priority))
    assert sorted(await leased(store)) == ["0", "4", "8"]


# requeue


async def test_queued_tasks_become_pending_again(store: TaskStore, database: Path) -> None:
    await queued(store)
    assert await store.requeue() == 1
    [row] = stored(database)
    assert (row["status"], row["queued_at"], row["attempt"], row["failures"]) == ("pending", None, 0, 0)
    assert await leased(store) == ["t"]


async def test_only_tasks_that_were_queued_for_long_become_pending(store: TaskStore, clock: Clock) -> None:
    await queued(store, "old")
    clock.move(1)
    await queued(store, "young")
    clock.move(59_999)
    assert await store.requeue(queued_for=60) == 1
    assert await status_of(store, "old") is Status.PENDING
    assert await status_of(store, "young") is Status.QUEUED


@pytest.mark.parametrize("queued_for", [0, 60])
async def test_tasks_queued_before_the_clock_was_set_back_become_pending(
    store: TaskStore, clock: Clock, queued_for: float
) -> None:
    # Their message may be lost like any other's; nobody knows how long ago they were queued.
    await queued(store)
    clock.move(-HOUR)
    assert await store.requeue(queued_for=queued_for) == 1


async def test_any_number_of_tasks_becomes_pending(store: TaskStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("taskqueue.store.many._SLICE", 3)
    for n in range(10):
        await queued(store, str(n))
    assert await store.requeue() == 10
    assert {task.status for task in (await store.find(limit=100)).tasks} == {Status.PENDING}


async def test_only_queued_tasks_become_pending(store: TaskStore, unchanged: Callable[[], object]) -> None:
    await running(store, "running")
    await store.complete(await running(store, "completed"), "{}")
    await store.submit(new_task("leased"), dispatch_id="d", lease=10)
    before = unchanged()
    assert await store.requeue() == 0
    assert unchanged() == before


# claim


async def test_a_queued_task_is_claimed(store: TaskStore, database: Path, clock: Clock) -> None:
    await queued(store, timeout=1500)
    clock.move(5)
    assert await store.claim("t", "w") == Claim("t", 1, "w", "act", '{"id":"t"}', 0, 3, 1500)
    [row] = stored(database)
    assert (row["status"], row["attempt"], row["worker_id"], row["queued_at"]) == ("running", 1, "w", None)
    assert await store.attempts_of("t") == [Attempt(1, "w", NOON + 5, None, None, None)]


async def test_a_pending_task_is_claimed_before_its_mark(store: TaskStore, database: Path) -> None:
    await store.submit(new_task(), dispatch_id="d", lease=10)
    await claimed(store)
    [row] = stored(database)
    assert (row["dispatch_id"], row["dispatch_until"]) == (None, None)


async def test_a_task_is_not_claimed_before_its_time(store: TaskStore, clock: Clock) -> None:
    await store.submit(new_task(run_at=NOON + 500))
    clock.move(499)
    assert await store.claim("t", "w") is Refusal.NOT_CLAIMABLE
    clock.move(1)
    await claimed(store)


async def test_a_duplicate_message_does_not_shorten_a_backoff(store: TaskStore, clock: Clock) -> None:
    claim = await running(store)
    await store.retry(claim, Outcome.ERROR, ERROR, delay=60)
    clock.move(59_999)
    assert await store.claim("t", "w") is Refusal.NOT_CLAIMABLE


async def test_a_task_published_before_the_clock_was_set_back_is_claimed(store: TaskStore, clock: Clock) -> None:
    # Refused, its message would be dropped, and the mark that comes then would leave it queued without one.
    await store.submit(new_task(), dispatch_id="d", lease=10)
    clock.move(-HOUR)
    await claimed(store)
    assert not await store.mark_queued("t", "d")


async def test_a_task_is_claimed_once(store: TaskStore, unchanged: Callable[[], object]) -> None:
    await running(store)
    before = unchanged()
    assert await store.claim("t", "v") is Refusal.NOT_CLAIMABLE
    assert await store.claim("t", "w") is Refusal.NOT_CLAIMABLE
    assert unchanged() == before


@pytest.mark.parametrize("end", ["completed", "failed", "cancelled"])
async def test_a_final_task_is_not_claimed(store: TaskStore, unchanged: Callable[[], object], end: str) -> None:
    await finished(store, end)
    before = unchanged()
    assert await store.claim("t", "v") is Refusal.NOT_CLAIMABLE
    assert unchanged() == before


async def test_an_unknown_task_is_not_claimed(store: TaskStore) -> None:
    assert await store.claim("unknown", "w") is Refusal.UNKNOWN


async def test_each_claim_has_the_next_number(store: TaskStore) -> None:
    await queued(store)
    for number in range(1, 5):
        claim = await claimed(store, worker="wv"[number % 2])
        assert claim.attempt == number
        await store.release(claim)
    assert [attempt.number for attempt in await store.attempts_of("t")] == [1, 2, 3, 4]


async def test_a_worker_that_was_taken_for_lost_claims_nothing_until_it_beats(store: TaskStore) -> None:
    await queued(store)
    await store.retire_worker("w")
    with pytest.raises(StoreUnavailableError, match="taken for lost"):
        await store.claim("t", "w")
    assert await status_of(store) is Status.QUEUED
    assert await store.attempts_of("t") == []
    await beat(store, "w")
    await claimed(store)


# complete, retry, fail, release


async def test_a_result_completes_a_task(store: TaskStore, clock: Clock) -> None:
    claim = await running(store)
    clock.move(7)
    assert await store.complete(claim, '{"output":1}')
    task = await task_of(store)
    assert (task.status, task.result, task.error) == (Status.COMPLETED, '{"output":1}', None)
    assert (task.processed_at, task.attempt, task.failures) == (NOON + 7, 1, 0)
    assert await store.attempts_of("t") == [Attempt(1, "w", NOON, NOON + 7, Outcome.OK, None)]


async def test_a_result_after_failures_clears_their_error(store: TaskStore) -> None:
    await store.retry(await running(store), Outcome.ERROR, ERROR, delay=0)
    await store.complete(await claimed(store), "{}")
    task = await task_of(store)
    assert (task.error, task.failures, task.attempt) == (None, 1, 2)
    assert [attempt.error for attempt in await store.attempts_of("t")] == [ERROR, None]


async def test_a_result_counts_although_a_cancel_was_asked(store: TaskStore) -> None:
    claim = await running(store)
    await store.cancel("t")
    assert await store.complete(claim, "{}")
    assert await status_of(store) is Status.COMPLETED
    assert (await store.attempts_of("t"))[0].outcome is Outcome.OK


@pytest.mark.parametrize("outcome", [Outcome.ERROR, Outcome.TIMEOUT])
async def test_a_failed_attempt_is_tried_again_later(store: TaskStore, clock: Clock, outcome: Outcome) -> None:
    claim = await running(store)
    clock.move(7)
    assert await store.retry(claim, outcome, ERROR, delay=2.5) is Status.PENDING
    task = await task_of(store)
    assert (task.status, task.error, task.processed_at) == (Status.PENDING, ERROR, None)
    assert (task.run_at, task.failures, task.attempt) == (NOON + 2507, 1, 1)
    assert await store.attempts_of("t") == [Attempt(1, "w", NOON, NOON + 7, outcome, ERROR)]
    clock.move(2500)
    assert (await claimed(store, worker="v")).failures == 1


@pytest.mark.parametrize("outcome", [Outcome.ERROR, Outcome.TIMEOUT])
async def test_a_last_failure_is_final(store: TaskStore, clock: Clock, outcome: Outcome) -> None:
    claim = await running(store)
    clock.move(7)
    assert await store.fail(claim, outcome, ERROR) is Status.FAILED
    task = await task_of(store)
    assert (task.status, task.error, task.processed_at, task.failures) == (Status.FAILED, ERROR, NOON + 7, 1)
    assert await store.attempts_of("t") == [Attempt(1, "w", NOON, NOON + 7, outcome, ERROR)]


async def test_a_released_task_costs_nothing_and_is_due_at_once(store: TaskStore, clock: Clock) -> None:
    claim = await running(store)
    clock.move(7)
    assert await store.release(claim) is Status.PENDING
    task = await task_of(store)
    assert (task.status, task.failures, task.attempt, task.run_at) == (Status.PENDING, 0, 1, NOON + 7)
    assert await store.attempts_of("t") == [Attempt(1, "w", NOON, NOON + 7, Outcome.SHUTDOWN, None)]
    assert await leased(store) == ["t"]


ENDINGS: dict[str, Callable[[TaskStore, Claim], Awaitable[Any]]] = {
    "complete": lambda store, claim: store.complete(claim, "{}"),
    "retry": lambda store, claim: store.retry(claim, Outcome.ERROR, ERROR, delay=1),
    "fail": lambda store, claim: store.fail(claim, Outcome.TIMEOUT, ERROR),
    "release": lambda store, claim: store.release(claim),
}
ending = pytest.mark.parametrize("ending", ENDINGS.values(), ids=ENDINGS)


async def finished(store: TaskStore, end: str) -> None:
    claim = await running(store)
    match end:
        case "completed":
            await store.complete(claim, "{}")
        case "failed":
            await store.fail(claim, Outcome.ERROR, ERROR)
        case "cancelled":
            await store.cancel("t")
            await store.release(claim)


@pytest.mark.parametrize("verb", ["retry", "fail", "release"])
async def test_a_cancel_that_was_asked_ends_what_did_not_complete(
    store: TaskStore, clock: Clock, verb: str
) -> None:
    claim = await running(store)
    await store.cancel("t")
    clock.move(7)
    assert await ENDINGS[verb](store, claim) is Status.CANCELLED
    task = await task_of(store)
    assert (task.status, task.processed_at, task.failures) == (Status.CANCELLED, NOON + 7, 0)
    assert task.error == (None if verb == "release" else ERROR)
    assert await store.attempts_of("t") == [Attempt(1, "w", NOON, NOON + 7, Outcome.CANCELLED, task.error)]


@ending
@pytest.mark.parametrize("cancel_asked", [False, True])
@pytest.mark.parametrize(
    "change", [{"attempt": 0}, {"attempt": 2}, {"worker": "v"}, {"worker": ""}, {"id": "other"}], ids=str
)
async def test_an_ending_needs_its_own_claim(
    store: TaskStore,
    unchanged: Callable[[], object],
    ending: Callable[..., Awaitable[Any]],
    change: dict[str, Any],
    cancel_asked: bool,
) -> None:
    claim = await running(store)
    await running(store, "other", "v")
    await store.release(await running(store, "waiting"))
    if cancel_asked:
        await store.cancel("t")
    before = unchanged()
    assert not await ending(store, replace(claim, **change))
    assert unchanged() == before


@ending
@pytest.mark.parametrize("verb", ENDINGS)
async def test_an_attempt_ends_once(
    store: TaskStore, unchanged: Callable[[], object], ending: Callable[..., Awaitable[Any]], verb: str
) -> None:
    claim = await running(store)
    assert await ENDINGS[verb](store, claim)
    before = unchanged()
    assert not await ending(store, claim)
    assert unchanged() == before


@ending
@pytest.mark.parametrize("worker", ["w", "v"])
async def test_a_zombies_late_ending_does_not_touch_the_next_attempt(
    store: TaskStore, unchanged: Callable[[], object], ending: Callable[..., Awaitable[Any]], worker: str
) -> None:
    claim = await running(store)
    await store.rescue("w", 0, error=ERROR, backoff=lambda _: 0)
    await beat(store, "w")
    await claimed(store, worker=worker)
    before = unchanged()
    assert not await ending(store, claim)
    assert unchanged() == before


# cancel


async def test_a_pending_task_is_cancelled_at_once(store: TaskStore, clock: Clock, database: Path) -> None:
    await store.submit(new_task(run_at=NOON + HOUR), dispatch_id="d", lease=10)
    clock.move(7)
    assert await store.cancel("t") is Status.CANCELLED
    task = await task_of(store)
    assert (task.status, task.processed_at, task.cancel_requested) == (Status.CANCELLED, NOON + 7, True)
    assert stored(database)[0]["dispatch_id"] is None
    assert await store.attempts_of("t") == []


async def test_a_queued_task_is_cancelled_at_once_and_its_message_finds_nothing(store: TaskStore) -> None:
    await queued(store)
    assert await store.cancel("t") is Status.CANCELLED
    assert await store.claim("t", "w") is Refusal.NOT_CLAIMABLE


async def test_a_running_tasks_worker_is_asked_at_its_next_beat(store: TaskStore) -> None:
    await running(store)
    await running(store, "other")
    assert await beat(store, "w") == []
    assert await store.cancel("t") is Status.RUNNING
    assert (await task_of(store)).cancel_requested
    assert await beat(store, "w") == [("t", 1)]
    assert await beat(store, "w") == [("t", 1)]
    assert await beat(store, "v") == []


@pytest.mark.parametrize("end", ["completed", "failed", "cancelled"])
async def test_a_final_task_is_not_cancelled(store: TaskStore, unchanged: Callable[[], object], end: str) -> None:
    await finished(store, end)
    before = unchanged()
    assert await store.cancel("t") == end
    assert unchanged() == before


async def test_an_unknown_task_is_not_cancelled(store: TaskStore) -> None:
    assert await store.cancel("unknown") is None


# beat, rescue, retire_worker


async def test_each_beat_raises_the_workers_counter(store: TaskStore, database: Path, clock: Clock) -> None:
    assert await store.worker_beats() == {"w": 0, "v": 0}
    clock.move(5)
    await beat(store, "w")
    assert await store.worker_beats() == {"w": 1, "v": 0}
    [row] = stored(database, "SELECT * FROM workers WHERE id = 'w'")
    assert row == {
        "id": "w",
        "host": "host",
        "pid": 1,
        "consumers": 2,
        "prefetch": 5,
        "started_at": NOON,
        "last_seen": NOON + 5,
        "beat": 1,
        "actions": "[]",
    }


async def test_a_lost_workers_tasks_are_rescued_and_it_is_forgotten(store: TaskStore, clock: Clock) -> None:
    await running(store)
    await running(store, "last", max_attempts=1)
    await running(store, "others", "v")
    clock.move(7)
    failures: list[int] = []
    rescued = await store.rescue("w", 0, error=ERROR, backoff=lambda n: failures.append(n) or 2.5)
    assert sorted((claim.id, status) for claim, status in rescued or []) == [
        ("last", Status.FAILED),
        ("t", Status.PENDING),
    ]
    assert failures == [1]
    task, last = await task_of(store), await task_of(store, "last")
    assert (task.status, task.run_at, task.failures, task.error) == (Status.PENDING, NOON + 2507, 1, ERROR)
    assert (last.status, last.processed_at, last.failures) == (Status.FAILED, NOON + 7, 1)
    for id in ("t", "last"):
        assert await store.attempts_of(id) == [Attempt(1, "w", NOON, NOON + 7, Outcome.WORKER_LOST, ERROR)]
    assert await status_of(store, "others") is Status.RUNNING
    assert await store.worker_beats() == {"v": 0}


async def test_a_rescue_counts_all_failures_so_far(store: TaskStore) -> None:
    await store.retry(await running(store, max_attempts=2), Outcome.ERROR, ERROR, delay=0)
    await claimed(store)
    [(claim, status)] = await store.rescue("w", 0, error=ERROR, backoff=lambda _: 0) or []
    assert (claim.id, status) == ("t", Status.FAILED)


async def test_a_lost_workers_task_is_cancelled_where_that_was_asked(store: TaskStore) -> None:
    await running(store)
    await store.cancel("t")
    [(claim, status)] = await store.rescue("w", 0, error=ERROR, backoff=lambda _: 0) or []
    assert (claim.id, status) == ("t", Status.CANCELLED)
    assert (await store.attempts_of("t"))[0].outcome is Outcome.CANCELLED


@pytest.mark.parametrize("counter", [-1, 0, 2])
async def test_a_worker_that_has_beaten_since_is_not_rescued(
    store: TaskStore, unchanged: Callable[[], object], counter: int
) -> None:
    await running(store)
    await beat(store, "w")
    before = unchanged()
    assert await store.rescue("w", counter, error=ERROR, backoff=lambda _: 0) is None
    assert unchanged() == before
    assert "w" in await store.worker_beats()


async def test_a_worker_is_rescued_once(store: TaskStore) -> None:
    await running(store)
    [(claim, status)] = await store.rescue("w", 0, error=ERROR, backoff=lambda _: 0) or []
    assert (claim.id, status) == ("t", Status.PENDING)
    assert await store.rescue("w", 0, error=ERROR, backoff=lambda _: 0) is None


async def test_an_idle_lost_worker_is_forgotten(store: TaskStore) -> None:
    assert await store.rescue("w", 0, error=ERROR, backoff=lambda _: 0) == []
    assert await store.worker_beats() == {"v": 0}


async def test_a_retired_workers_tasks_are_released_and_it_is_forgotten(store: TaskStore) -> None:
    await running(store)
    await running(store, "asked")
    await store.cancel("asked")
    await running(store, "others", "v")
    assert await store.retire_worker("w") == 2
    assert (await task_of(store)).failures == 0
    assert await status_of(store) is Status.PENDING
    assert await status_of(store, "asked") is Status.CANCELLED
    assert await status_of(store, "others") is Status.RUNNING
    assert await store.worker_beats() == {"v": 0}
    assert await store.retire_worker("w") == 0


# Reading


async def test_the_newest_tasks_come_newest_first(store: TaskStore) -> None:
    for n in range(5):
        await store.submit(new_task(str(n), created_at=NOON - n))
    assert [task.id for task in (await store.find(limit=3)).tasks] == ["4", "3", "2"]
    assert [task.id for task in (await store.find(limit=99)).tasks] == ["4", "3", "2", "1", "0"]


@pytest.mark.parametrize("status", Status)
async def test_the_newest_tasks_of_a_status_are_told(store: TaskStore, status: Status) -> None:
    await store.submit(new_task("pending"))
    await queued(store, "queued")
    await running(store, "running")
    await store.complete(await running(store, "completed"), "{}")
    await store.fail(await running(store, "failed"), Outcome.ERROR, ERROR)
    await store.submit(new_task("cancelled"))
    await store.cancel("cancelled")
    page = await store.find(Filter(statuses=frozenset({status})), limit=10)
    assert [task.id for task in page.tasks] == [status]


async def test_a_read_sees_what_was_written_before(store: TaskStore) -> None:
    for n in range(20):
        await store.submit(new_task(str(n)))
        assert await store.get(str(n)) is not None


async def test_the_schemas_version_can_be_read(store: TaskStore) -> None:
    assert await store.schema_version() == SCHEMA_VERSION
