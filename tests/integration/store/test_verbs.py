"""The verbs of an attempt, and of clients: the edge that each takes, what it leaves, and unmet guards that change
nothing."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.integration.store.given import (
    ERROR,
    LEASE,
    NOON,
    Clock,
    attempts_of,
    beat,
    claimed,
    claiming,
    published,
    queued,
    running,
    status_of,
    stored,
    submitted,
    task_of,
)

from taskqueue.store import Refusal, Store, verbs, workers
from taskqueue.store.verbs import ATTEMPTS_KEPT
from taskqueue.task import Attempt, Claim, Outcome, Status

Unchanged = Callable[[], object]


# claim


async def test_a_queued_task_is_claimed(store: Store, database: Path, clock: Clock) -> None:
    await queued(store, timeout=1500, request_id="r", tags=("red", "green"))
    clock.move(5)
    assert await store.write(claiming, "t", "w") == Claim(
        seq=1,
        id="t",
        attempt=1,
        worker="w",
        action="act",
        payload='{"id":"t"}',
        failures=0,
        max_attempts=3,
        timeout=1500,
        started_at=NOON + 5,
        request_id="r",
        priority=4,
        tags=("red", "green"),
        waited=5,
    )
    [row] = stored(database)
    assert (row["status"], row["attempt"], row["worker_id"], row["queued_at"]) == ("running", 1, "w", None)
    assert await attempts_of(store) == [Attempt(1, "w", NOON + 5, None, None, None, "r")]


async def test_a_task_is_claimed_before_its_publisher_comes_round(store: Store, database: Path) -> None:
    await published(store)
    await claimed(store)
    [row] = stored(database)
    assert (row["dispatch_id"], row["dispatch_until"]) == (None, None)


async def test_a_task_is_not_claimed_before_its_time(store: Store, clock: Clock) -> None:
    await submitted(store, run_at=NOON + 500)
    clock.move(499)
    assert await store.write(claiming, "t", "w") is Refusal.NOT_CLAIMABLE
    clock.move(1)
    await claimed(store)


async def test_a_duplicate_message_does_not_shorten_a_backoff(store: Store, clock: Clock) -> None:
    claim = await running(store)
    await store.write(verbs.back_off, claim, Outcome.ERROR, ERROR, 60_000)
    clock.move(59_999)
    assert await store.write(claiming, "t", "w") is Refusal.NOT_CLAIMABLE


async def test_a_task_is_claimed_once(store: Store, unchanged: Unchanged) -> None:
    await running(store)
    before = unchanged()
    assert await store.write(claiming, "t", "v") is Refusal.NOT_CLAIMABLE
    assert await store.write(claiming, "t", "w") is Refusal.NOT_CLAIMABLE
    assert unchanged() == before


@pytest.mark.parametrize("end", ["completed", "failed", "cancelled"])
async def test_a_final_task_is_not_claimed(store: Store, unchanged: Unchanged, end: str) -> None:
    await finished(store, end)
    before = unchanged()
    assert await store.write(claiming, "t", "v") is Refusal.NOT_CLAIMABLE
    assert unchanged() == before


async def test_an_unknown_task_is_not_claimed(store: Store) -> None:
    assert await store.write(claiming, "unknown", "w") is Refusal.UNKNOWN


async def test_a_claim_moves_the_attempt_before_it_to_the_others(store: Store, database: Path) -> None:
    await store.write(verbs.release, await running(store))
    assert stored(database, "SELECT * FROM attempts") == []
    await claimed(store, worker="v")
    assert await attempts_of(store) == [
        Attempt(1, "w", NOON, NOON, Outcome.SHUTDOWN, None),
        Attempt(2, "v", NOON, None, None, None),
    ]
    [earlier] = stored(database, "SELECT number, worker_id, outcome FROM attempts")
    assert earlier == {"number": 1, "worker_id": "w", "outcome": "shutdown"}


async def test_a_task_that_succeeds_at_once_has_no_row_but_its_own(store: Store, database: Path) -> None:
    await store.write(verbs.complete, await running(store), "{}")
    assert stored(database, "SELECT * FROM attempts") == []
    assert [attempt.outcome for attempt in await attempts_of(store)] == [Outcome.OK]


async def test_each_claim_has_the_next_number(store: Store) -> None:
    await queued(store)
    for number in range(1, 5):
        claim = await claimed(store, worker="wv"[number % 2])
        assert claim.attempt == number
        await store.write(verbs.release, claim)
    assert [attempt.number for attempt in await attempts_of(store)] == [1, 2, 3, 4]


async def test_a_worker_that_was_taken_for_lost_claims_nothing_until_it_beats(store: Store) -> None:
    await queued(store)
    await store.write(workers.retire, "w")
    assert await store.write(claiming, "t", "w") is Refusal.WORKER_UNKNOWN
    assert await status_of(store) is Status.QUEUED
    assert await attempts_of(store) == []
    await beat(store, "w")
    await claimed(store)


# complete, back_off, fail, release, snooze


async def test_a_result_completes_a_task(store: Store, clock: Clock) -> None:
    claim = await running(store)
    clock.move(7)
    assert await store.write(verbs.complete, claim, '{"output":1}')
    task = await task_of(store)
    assert (task.status, task.result, task.error) == (Status.COMPLETED, '{"output":1}', None)
    assert (task.processed_at, task.attempt, task.failures) == (NOON + 7, 1, 0)
    assert await attempts_of(store) == [Attempt(1, "w", NOON, NOON + 7, Outcome.OK, None)]


async def test_a_result_after_failures_clears_their_error(store: Store) -> None:
    await store.write(verbs.back_off, await running(store), Outcome.ERROR, ERROR, 0)
    await store.write(verbs.complete, await claimed(store), "{}")
    task = await task_of(store)
    assert (task.error, task.failures, task.attempt) == (None, 1, 2)
    assert [attempt.error for attempt in await attempts_of(store)] == [ERROR, None]


async def test_a_result_counts_although_a_cancel_was_asked(store: Store) -> None:
    claim = await running(store)
    await store.write(verbs.cancel, "t")
    assert await store.write(verbs.complete, claim, "{}")
    assert await status_of(store) is Status.COMPLETED
    assert (await attempts_of(store))[0].outcome is Outcome.OK


@pytest.mark.parametrize("outcome", [Outcome.ERROR, Outcome.TIMEOUT])
async def test_a_failed_attempt_is_tried_again_later(store: Store, clock: Clock, outcome: Outcome) -> None:
    claim = await running(store)
    clock.move(7)
    assert await store.write(verbs.back_off, claim, outcome, ERROR, 2_500) is Status.PENDING
    task = await task_of(store)
    assert (task.status, task.error, task.processed_at) == (Status.PENDING, ERROR, None)
    assert (task.run_at, task.failures, task.attempt) == (NOON + 2507, 1, 1)
    assert await attempts_of(store) == [Attempt(1, "w", NOON, NOON + 7, outcome, ERROR)]
    clock.move(2500)
    assert (await claimed(store, worker="v")).failures == 1


@pytest.mark.parametrize("outcome", [Outcome.ERROR, Outcome.TIMEOUT])
async def test_a_last_failure_is_final(store: Store, clock: Clock, outcome: Outcome) -> None:
    claim = await running(store)
    clock.move(7)
    assert await store.write(verbs.fail, claim, outcome, ERROR) is Status.FAILED
    task = await task_of(store)
    assert (task.status, task.error, task.processed_at, task.failures) == (Status.FAILED, ERROR, NOON + 7, 1)
    assert await attempts_of(store) == [Attempt(1, "w", NOON, NOON + 7, outcome, ERROR)]


async def test_a_released_task_costs_nothing_and_is_due_at_once(store: Store, clock: Clock) -> None:
    claim = await running(store)
    clock.move(7)
    assert await store.write(verbs.release, claim) is Status.PENDING
    task = await task_of(store)
    assert (task.status, task.failures, task.attempt, task.run_at) == (Status.PENDING, 0, 1, NOON + 7)
    assert await attempts_of(store) == [Attempt(1, "w", NOON, NOON + 7, Outcome.SHUTDOWN, None)]
    await claimed(store, worker="v")


async def test_a_snoozed_task_costs_nothing_and_is_due_later(store: Store, clock: Clock) -> None:
    await store.write(verbs.back_off, await running(store), Outcome.ERROR, ERROR, 0)
    claim = await claimed(store)
    clock.move(7)
    assert await store.write(verbs.snooze, claim, 2_500) is Status.PENDING
    task = await task_of(store)
    assert (task.status, task.failures, task.attempt, task.run_at) == (Status.PENDING, 1, 2, NOON + 2507)
    assert task.error == ERROR, "of the last attempt that failed"
    assert (await attempts_of(store))[1] == Attempt(2, "w", NOON, NOON + 7, Outcome.SNOOZED, None)
    assert await store.write(claiming, "t", "v") is Refusal.NOT_CLAIMABLE
    clock.move(2_500)
    await claimed(store, worker="v")


async def test_of_very_many_attempts_the_last_hundred_are_kept(store: Store) -> None:
    claim = await running(store)
    for _ in range(ATTEMPTS_KEPT - 1):
        await store.write(verbs.snooze, claim, 0)
        claim = await claimed(store)
    assert [attempt.number for attempt in await attempts_of(store)] == list(range(1, ATTEMPTS_KEPT + 1))
    for _ in range(3):
        await store.write(verbs.snooze, claim, 0)
        claim = await claimed(store)
    assert [attempt.number for attempt in await attempts_of(store)] == list(range(4, ATTEMPTS_KEPT + 4))


ENDINGS: dict[str, Callable[[Store, Claim], Awaitable[Any]]] = {
    "complete": lambda store, claim: store.write(verbs.complete, claim, "{}"),
    "back_off": lambda store, claim: store.write(verbs.back_off, claim, Outcome.ERROR, ERROR, 1_000),
    "fail": lambda store, claim: store.write(verbs.fail, claim, Outcome.TIMEOUT, ERROR),
    "release": lambda store, claim: store.write(verbs.release, claim),
    "snooze": lambda store, claim: store.write(verbs.snooze, claim, 1_000),
}
ending = pytest.mark.parametrize("ending", ENDINGS.values(), ids=ENDINGS)


async def finished(store: Store, end: str) -> None:
    claim = await running(store)
    match end:
        case "completed":
            await store.write(verbs.complete, claim, "{}")
        case "failed":
            await store.write(verbs.fail, claim, Outcome.ERROR, ERROR)
        case "cancelled":
            await store.write(verbs.cancel, "t")
            await store.write(verbs.release, claim)


@pytest.mark.parametrize("verb", ["back_off", "fail", "release", "snooze"])
async def test_a_cancel_that_was_asked_ends_what_did_not_complete(store: Store, clock: Clock, verb: str) -> None:
    claim = await running(store)
    await store.write(verbs.cancel, "t")
    clock.move(7)
    assert await ENDINGS[verb](store, claim) is Status.CANCELLED
    task = await task_of(store)
    assert (task.status, task.processed_at, task.failures) == (Status.CANCELLED, NOON + 7, 0)
    assert task.error == (None if verb in {"release", "snooze"} else ERROR)
    assert await attempts_of(store) == [Attempt(1, "w", NOON, NOON + 7, Outcome.CANCELLED, task.error)]


@ending
@pytest.mark.parametrize("cancel_asked", [False, True])
@pytest.mark.parametrize(
    "change",
    [{"attempt": 0}, {"attempt": 2}, {"worker": "v"}, {"worker": ""}, {"seq": 2}, {"seq": 3}, {"seq": 9}],
    ids=str,
)
async def test_an_ending_needs_its_own_claim(
    store: Store,
    unchanged: Unchanged,
    ending: Callable[..., Awaitable[Any]],
    change: dict[str, Any],
    cancel_asked: bool,
) -> None:
    claim = await running(store)
    await running(store, "other", "v")
    await store.write(verbs.release, await running(store, "waiting"))
    if cancel_asked:
        await store.write(verbs.cancel, "t")
    before = unchanged()
    assert not await ending(store, replace(claim, **change))
    assert unchanged() == before


@ending
@pytest.mark.parametrize("verb", ENDINGS)
async def test_an_attempt_ends_once(
    store: Store, unchanged: Unchanged, ending: Callable[..., Awaitable[Any]], verb: str
) -> None:
    claim = await running(store)
    assert await ENDINGS[verb](store, claim)
    before = unchanged()
    assert not await ending(store, claim)
    assert unchanged() == before


@ending
@pytest.mark.parametrize("worker", ["w", "v"])
async def test_a_zombies_late_ending_does_not_touch_the_next_attempt(
    store: Store, unchanged: Unchanged, ending: Callable[..., Awaitable[Any]], worker: str
) -> None:
    claim = await running(store)
    await store.write(workers.rescue, "w", 0, ERROR, lambda _: 0)
    await beat(store, "w")
    await claimed(store, worker=worker)
    before = unchanged()
    assert not await ending(store, claim)
    assert unchanged() == before


# cancel


async def asked(store: Store, worker: str) -> dict[str, bool]:
    """What a beat tells: which tasks run in the worker's name, and whether to cancel them."""
    return {held.claim.id: held.cancel_requested for held in await beat(store, worker)}


given_queued = pytest.mark.parametrize("given", [queued, published])


async def test_a_pending_task_is_cancelled_at_once(store: Store, clock: Clock, database: Path) -> None:
    await submitted(store)
    await store.write(verbs.lease_due, [4], 10, LEASE, "x")
    clock.move(7)
    assert await store.write(verbs.cancel, "t") is Status.CANCELLED
    task = await task_of(store)
    assert (task.status, task.processed_at, task.cancel_requested) == (Status.CANCELLED, NOON + 7, True)
    assert stored(database)[0]["dispatch_id"] is None
    assert task.attempts == ()


@given_queued
async def test_a_queued_task_is_cancelled_at_once_and_its_message_finds_nothing(
    store: Store, given: Callable[[Store], Awaitable[object]]
) -> None:
    await given(store)
    assert await store.write(verbs.cancel, "t") is Status.CANCELLED
    assert await store.write(claiming, "t", "w") is Refusal.NOT_CLAIMABLE


async def test_a_running_tasks_worker_is_asked_at_its_next_beat(store: Store) -> None:
    await running(store)
    await running(store, "other")
    assert await asked(store, "w") == {"t": False, "other": False}
    assert await store.write(verbs.cancel, "t") is Status.RUNNING
    assert (await task_of(store)).cancel_requested
    assert await asked(store, "w") == {"t": True, "other": False}
    assert await asked(store, "w") == {"t": True, "other": False}
    assert await asked(store, "v") == {}


@pytest.mark.parametrize("end", ["completed", "failed", "cancelled"])
async def test_a_final_task_is_not_cancelled(store: Store, unchanged: Unchanged, end: str) -> None:
    await finished(store, end)
    before = unchanged()
    assert await store.write(verbs.cancel, "t") == end
    assert unchanged() == before


async def test_an_unknown_task_is_not_cancelled(store: Store) -> None:
    assert await store.write(verbs.cancel, "unknown") is None


# retry


@pytest.mark.parametrize("end", ["failed", "cancelled"])
async def test_a_retried_task_has_all_its_attempts_again(store: Store, clock: Clock, end: str) -> None:
    await finished(store, end)
    attempts = await attempts_of(store)
    clock.move(7)
    assert await store.write(verbs.retry, "t", "r")
    task = await task_of(store)
    assert (task.status, task.run_at, task.processed_at, task.error) == (Status.PENDING, NOON + 7, None, None)
    assert (task.attempt, task.failures, task.cancel_requested, task.request_id) == (1, 0, False, "r")
    assert await attempts_of(store) == attempts
    await claimed(store, worker="v")
    assert await attempts_of(store) == [*attempts, Attempt(2, "v", NOON + 7, None, None, None, "r")]


async def test_only_failed_and_cancelled_tasks_are_retried(store: Store, unchanged: Unchanged) -> None:
    await submitted(store, "pending")
    await queued(store, "queued")
    await running(store, "running")
    await store.write(verbs.complete, await running(store, "completed"), "{}")
    before = unchanged()
    for id in ("pending", "queued", "running", "completed", "unknown"):
        assert not await store.write(verbs.retry, id)
    assert unchanged() == before


# delete


@pytest.mark.parametrize("end", ["completed", "failed", "cancelled"])
async def test_a_final_task_is_deleted_with_all_that_is_known_of_it(
    store: Store, database: Path, end: str
) -> None:
    await store.write(verbs.release, await running(store, tags=("a", "b")))
    claim = await claimed(store)
    if end == "completed":
        await store.write(verbs.complete, claim, "{}")
    else:
        if end == "cancelled":
            await store.write(verbs.cancel, "t")
        await store.write(verbs.fail, claim, Outcome.ERROR, ERROR)
    assert stored(database, "SELECT * FROM attempts")
    assert await store.write(verbs.delete, "t")
    for table in ("task", "attempts", "task_tags"):
        assert stored(database, f"SELECT * FROM {table}") == []
    assert not await store.write(verbs.delete, "t")


async def test_only_final_tasks_are_deleted(store: Store, unchanged: Unchanged) -> None:
    await submitted(store, "pending")
    await queued(store, "queued")
    await running(store, "running")
    before = unchanged()
    for id in ("pending", "queued", "running", "unknown"):
        assert not await store.write(verbs.delete, id)
    assert unchanged() == before
