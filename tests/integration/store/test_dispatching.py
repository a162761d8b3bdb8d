"""The verbs that bring a task to the broker, and back: what each leaves, and unmet guards that change nothing."""

from collections.abc import Callable
from pathlib import Path

import pytest
from tests.integration.store.given import (
    ERROR,
    LEASE,
    NOON,
    Clock,
    attempts_of,
    claimed,
    claiming,
    new_task,
    published,
    queued,
    running,
    status_of,
    stored,
    submitted,
    task_of,
)

from taskqueue.store import Refusal, Store, verbs
from taskqueue.task import Outcome, Status, Task

HOUR = 3_600_000
#: Most urgent first.
PRIORITIES = (8, 4, 0)

Unchanged = Callable[[], object]


async def leased(store: Store, token: str = "x", *, limit: int = 100) -> list[str]:
    return [task.id for task in await store.write(verbs.lease_due, PRIORITIES, limit, LEASE, token)]


async def leased_publish(store: Store, token: str = "x") -> tuple[int, str]:
    [dispatch] = await store.write(verbs.lease_due, PRIORITIES, 100, LEASE, token)
    return dispatch.seq, dispatch.dispatch_id


# submit


async def test_a_task_that_waits_is_pending_and_complete(store: Store) -> None:
    seq = await submitted(store, run_at=NOON + 5, priority=8, max_attempts=7, timeout=1500, tags=("a", "b"))
    assert await store.reads.get("t") == Task(
        seq=seq,
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
        tags=("a", "b"),
        progress=None,
        attempts=(),
    )


async def test_a_task_that_its_submitter_publishes_is_queued_under_its_lease(
    store: Store, database: Path, clock: Clock
) -> None:
    clock.move(7)
    await published(store)
    [row] = stored(database)
    assert (row["status"], row["queued_at"], row["run_at"]) == ("queued", NOON + 7, NOON)
    assert (row["dispatch_id"], row["dispatch_until"]) == ("t.0", NOON + 7 + LEASE)


async def test_an_id_can_be_submitted_once(store: Store) -> None:
    await submitted(store)
    with pytest.raises(Exception, match="UNIQUE"):
        await submitted(store, action="another")
    assert (await task_of(store)).action == "act"


async def test_a_place_is_never_given_again(store: Store) -> None:
    first = await submitted(store)
    await store.write(verbs.cancel, "t")
    await store.write(verbs.delete, "t")
    assert await submitted(store) > first


async def test_an_unknown_task_is_none(store: Store) -> None:
    assert await store.reads.get("unknown") is None
    assert await store.reads.known(["unknown"]) == {}


async def test_stored_tasks_are_known_by_their_ids(store: Store) -> None:
    places = {id: await submitted(store, id) for id in ("a", "b")}
    assert await store.reads.known(["a", "c", "b"]) == places


# settle


async def test_a_confirmed_lease_is_taken_off(store: Store, database: Path, clock: Clock) -> None:
    publish = await published(store)
    clock.move(7)
    await store.write(verbs.settle, [publish])
    [row] = stored(database)
    assert (row["status"], row["queued_at"]) == ("queued", NOON)
    assert (row["dispatch_id"], row["dispatch_until"]) == (None, None)


@pytest.mark.parametrize("dispatch_id", ["other", "", "T.0"])
async def test_another_publishers_lease_is_not_taken_off(
    store: Store, unchanged: Unchanged, dispatch_id: str
) -> None:
    seq, _ = await published(store)
    before = unchanged()
    await store.write(verbs.settle, [(seq, dispatch_id), (seq + 1, "t.0")])
    assert unchanged() == before


async def test_a_late_settling_does_not_touch_the_lease_of_the_relay(store: Store, database: Path) -> None:
    late = await published(store)
    await store.write(verbs.demote, [late])
    publish = await leased_publish(store)
    await store.write(verbs.settle, [late, publish])
    assert stored(database)[0]["dispatch_id"] == publish[1]


@pytest.mark.parametrize("later", ["running", "completed", "cancelled", "deleted", "pending"])
async def test_a_late_settling_changes_nothing_that_has_gone_on(
    store: Store, unchanged: Unchanged, later: str
) -> None:
    publish = await published(store)
    if later in {"cancelled", "deleted"}:
        await store.write(verbs.cancel, "t")
    else:
        claim = await claimed(store)
        if later == "completed":
            await store.write(verbs.complete, claim, "{}")
        if later == "pending":
            await store.write(verbs.back_off, claim, Outcome.ERROR, ERROR, 60)
    if later == "deleted":
        await store.write(verbs.delete, "t")
    before = unchanged()
    await store.write(verbs.settle, [publish])
    assert unchanged() == before


# demote


async def test_what_was_not_confirmed_is_pending_and_due(store: Store, database: Path, clock: Clock) -> None:
    publish = await published(store)
    clock.move(7)
    assert await store.write(verbs.demote, [publish]) == {publish[0]}
    [row] = stored(database)
    assert (row["status"], row["queued_at"], row["run_at"]) == ("pending", None, NOON)
    assert (row["dispatch_id"], row["dispatch_until"]) == (None, None)
    assert await leased(store) == ["t"]


async def test_what_was_not_confirmed_is_due_although_the_clock_was_set_back(store: Store, clock: Clock) -> None:
    publish = await published(store)
    clock.move(-HOUR)
    await store.write(verbs.demote, [publish])
    assert (await task_of(store)).run_at == NOON - HOUR
    assert await leased(store) == ["t"]


async def test_only_an_own_publish_is_demoted(store: Store, unchanged: Unchanged) -> None:
    seq, _ = await published(store)
    await running(store, "running")
    before = unchanged()
    assert await store.write(verbs.demote, [(seq, "other"), (seq + 1, "running.0"), (seq + 7, "x")]) == set()
    assert unchanged() == before


async def test_a_settled_publish_is_not_demoted(store: Store) -> None:
    publish = await published(store)
    await store.write(verbs.settle, [publish])
    assert await store.write(verbs.demote, [publish]) == set()
    assert await status_of(store) is Status.QUEUED


async def test_a_lease_that_ran_out_is_demoted(store: Store, clock: Clock) -> None:
    seq, _ = await published(store)
    await queued(store, "confirmed")
    clock.move(LEASE - 1)
    assert await store.bulk.demote_expired(LEASE) == 0
    clock.move(1)
    assert await store.write(verbs.demote_expired, LEASE, 100) == {seq}
    assert (await status_of(store), await status_of(store, "confirmed")) == (Status.PENDING, Status.QUEUED)
    assert await leased(store) == ["t"]


async def test_a_lease_from_before_the_clock_was_set_back_is_demoted(store: Store, clock: Clock) -> None:
    await published(store)
    clock.move(-1)
    assert await store.bulk.demote_expired(LEASE) == 1


async def test_a_late_confirm_of_what_was_demoted_changes_nothing(store: Store, unchanged: Unchanged) -> None:
    publish = await published(store)
    await store.write(verbs.demote, [publish])
    before = unchanged()
    await store.write(verbs.settle, [publish])
    assert await store.write(verbs.mark_queued, [publish]) == set()
    assert unchanged() == before


async def test_only_tasks_that_were_queued_for_long_are_demoted(store: Store, clock: Clock) -> None:
    await queued(store, "old")
    await queued(store, "urgent", priority=8)
    clock.move(1)
    await queued(store, "young")
    assert await store.bulk.demote_lost(4, NOON, also_later=False) == 1
    assert await status_of(store, "old") is Status.PENDING
    assert await status_of(store, "young") is await status_of(store, "urgent") is Status.QUEUED


@pytest.mark.parametrize("also_later", [False, True])
async def test_tasks_queued_before_the_clock_was_set_back_are_demoted_where_asked(
    store: Store, clock: Clock, also_later: bool
) -> None:
    # Their message may be lost like any other's; nobody knows how long ago they were queued.
    await queued(store)
    clock.move(-HOUR)
    assert await store.bulk.demote_lost(4, NOON - 2 * HOUR, also_later=also_later) == also_later


async def test_all_queued_tasks_are_demoted_whatever_their_leases(store: Store, database: Path) -> None:
    await published(store, "leased")
    await queued(store, "settled")
    assert await store.bulk.demote_all() == 2
    for row in stored(database):
        assert (row["status"], row["queued_at"], row["dispatch_id"], row["attempt"]) == ("pending", None, None, 0)
    assert sorted(await leased(store)) == ["leased", "settled"]


@pytest.mark.parametrize("how", ["all", "lost", "expired"])
async def test_any_number_of_tasks_is_demoted(
    store: Store, clock: Clock, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    monkeypatch.setattr("taskqueue.store.bulk._SLICE", 3)
    for n in range(9):
        await published(store, str(n))
    clock.move(LEASE)
    match how:
        case "all":
            assert await store.bulk.demote_all() == 9
        case "lost":
            assert await store.bulk.demote_lost(4, NOON, also_later=False) == 9
        case "expired":
            assert await store.bulk.demote_expired(LEASE) == 9
    assert {task.status for task in (await store.reads.find(limit=100)).tasks} == {Status.PENDING}


async def test_only_queued_tasks_are_demoted(store: Store, clock: Clock, unchanged: Unchanged) -> None:
    await running(store, "running")
    await store.write(verbs.complete, await running(store, "completed"), "{}")
    await submitted(store, "leased")
    assert await leased(store) == ["leased"]
    clock.move(LEASE)
    before = unchanged()
    assert await store.bulk.demote_all() == 0
    assert await store.bulk.demote_expired(LEASE) == 0
    assert await store.bulk.demote_lost(4, NOON + LEASE, also_later=True) == 0
    assert unchanged() == before


# lease_due


async def test_large_tasks_are_leased_a_few_at_a_time(store: Store) -> None:
    third = "é" * (verbs.LEASED_BYTES // 6 + 1)
    for number in range(5):
        await submitted(store, f"{number}", payload=third, priority=8 if number < 2 else 4, run_at=number)
    assert await leased(store) == ["0", "1", "2"], "what is left goes to the next priority"
    assert await leased(store) == ["3", "4"]
    await submitted(store, "larger", payload=third * 4, run_at=5)
    await submitted(store, "small", run_at=6)
    assert await leased(store) == ["larger"], "at least one"
    assert await leased(store) == ["small"]


async def test_a_due_task_is_leased_with_a_dispatch_id_that_its_mark_needs(store: Store) -> None:
    seq = await submitted(store, priority=8)
    [dispatch] = await store.write(verbs.lease_due, PRIORITIES, 10, LEASE, "x")
    assert (dispatch.seq, dispatch.id, dispatch.payload, dispatch.priority) == (seq, "t", '{"id":"t"}', 8)
    assert dispatch.dispatch_id == "t.x"
    assert await store.write(verbs.mark_queued, [(seq, dispatch.dispatch_id)]) == {seq}


async def test_a_leased_task_stays_pending_and_tells_nothing(store: Store, database: Path) -> None:
    await submitted(store)
    events = stored(database, "SELECT * FROM events")
    await leased(store)
    assert await status_of(store) is Status.PENDING
    assert stored(database, "SELECT * FROM events") == events


async def test_a_task_is_leased_to_one_relay_at_a_time(store: Store, clock: Clock) -> None:
    await submitted(store)
    assert await leased(store, "x") == ["t"]
    assert await leased(store, "y") == []
    clock.move(LEASE - 1)
    assert await leased(store, "y") == []
    clock.move(1)
    assert await leased(store, "y") == ["t"]


async def test_a_new_lease_makes_the_old_publishs_mark_void(store: Store, clock: Clock) -> None:
    await submitted(store)
    old = await leased_publish(store, "x")
    clock.move(LEASE)
    new = await leased_publish(store, "y")
    assert await store.write(verbs.mark_queued, [old]) == set()
    assert await store.write(verbs.mark_queued, [new]) == {new[0]}


async def test_a_task_is_not_leased_before_its_time(store: Store, clock: Clock) -> None:
    await submitted(store, run_at=NOON + 500)
    clock.move(499)
    assert await leased(store) == []
    clock.move(1)
    assert await leased(store) == ["t"]


async def test_only_pending_tasks_are_leased(store: Store) -> None:
    await published(store, "published")
    await queued(store, "queued")
    await running(store, "running")
    await store.write(verbs.complete, await running(store, "completed"), "{}")
    await store.write(verbs.fail, await running(store, "failed"), Outcome.ERROR, ERROR)
    await submitted(store, "cancelled")
    await store.write(verbs.cancel, "cancelled")
    assert await leased(store) == []


async def test_a_relays_lease_from_before_the_clock_was_set_back_counts_as_over(
    store: Store, clock: Clock
) -> None:
    await submitted(store, run_at=NOON - HOUR)
    assert await leased(store, "x") == ["t"]
    clock.move(-1)
    assert await leased(store, "y") == ["t"]


async def test_the_limit_takes_the_urgent_first_then_the_oldest(store: Store) -> None:
    for n, (priority, run_at) in enumerate([(0, 1), (4, 3), (8, 9), (4, 2), (8, 8), (0, 0)]):
        await submitted(store, str(n), priority=priority, run_at=run_at)
    assert sorted(await leased(store, "a", limit=2)) == ["2", "4"]
    assert sorted(await leased(store, "b", limit=1)) == ["3"]
    assert await leased(store, "c", limit=2) == ["1", "5"]
    assert await leased(store, "d", limit=2) == ["0"]


# mark_queued


async def test_confirmed_tasks_are_queued(store: Store, database: Path, clock: Clock) -> None:
    for id in ("a", "b"):
        await submitted(store, id)
    leases = await store.write(verbs.lease_due, PRIORITIES, 10, LEASE, "x")
    clock.move(7)
    marked = await store.write(verbs.mark_queued, [(lease.seq, lease.dispatch_id) for lease in leases])
    assert marked == {lease.seq for lease in leases}
    for row in stored(database):
        assert (row["status"], row["queued_at"]) == ("queued", NOON + 7)
        assert (row["dispatch_id"], row["dispatch_until"]) == (None, None)


@pytest.mark.parametrize("dispatch_id", ["other", "", "T.X"])
async def test_a_mark_of_another_publish_changes_nothing(
    store: Store, unchanged: Unchanged, dispatch_id: str
) -> None:
    seq = await submitted(store)
    await leased(store)
    before = unchanged()
    assert await store.write(verbs.mark_queued, [(seq, dispatch_id), (seq + 1, "t.x")]) == set()
    assert unchanged() == before


async def test_a_mark_of_a_task_that_nobody_publishes_changes_nothing(store: Store) -> None:
    seq = await submitted(store)
    assert await store.write(verbs.mark_queued, [(seq, "t.x")]) == set()
    assert await status_of(store) is Status.PENDING


async def test_a_late_mark_does_not_strand_a_task_that_failed_meanwhile(store: Store) -> None:
    # Published, and claimed and failed before its publisher came round to mark it.
    await submitted(store)
    publish = await leased_publish(store)
    claim = await claimed(store)
    assert await store.write(verbs.back_off, claim, Outcome.ERROR, ERROR, 60_000) is Status.PENDING
    assert await store.write(verbs.mark_queued, [publish]) == set()
    assert await status_of(store) is Status.PENDING


@pytest.mark.parametrize("end", ["running", "completed", "cancelled"])
async def test_a_late_mark_changes_no_later_status(store: Store, end: str) -> None:
    await submitted(store)
    publish = await leased_publish(store)
    if end == "cancelled":
        await store.write(verbs.cancel, "t")
    else:
        claim = await claimed(store)
        if end == "completed":
            await store.write(verbs.complete, claim, "{}")
    assert await store.write(verbs.mark_queued, [publish]) == set()
    assert await status_of(store) == end


async def test_a_task_published_before_the_clock_was_set_back_is_claimed(store: Store, clock: Clock) -> None:
    # Refused, its message would be dropped, and the mark that comes then would leave it queued without one.
    await submitted(store)
    publish = await leased_publish(store)
    clock.move(-HOUR)
    await claimed(store)
    assert await store.write(verbs.mark_queued, [publish]) == set()


async def test_a_demoted_task_is_claimed_by_its_first_message_if_that_comes(store: Store) -> None:
    # An unconfirmed publish may have arrived all the same.
    await store.write(verbs.demote, [await published(store)])
    await claimed(store)
    assert await store.write(claiming, "t", "v") is Refusal.NOT_CLAIMABLE
    assert [attempt.worker for attempt in await attempts_of(store)] == ["w"]


async def test_a_lease_that_no_task_needs_is_no_write(store: Store, unchanged: Unchanged) -> None:
    await store.write(verbs.submit, new_task(run_at=NOON + 1))
    before = unchanged()
    assert await leased(store) == []
    await store.write(verbs.settle, [])
    assert await store.write(verbs.mark_queued, []) == set()
    assert await store.write(verbs.demote, []) == set()
    assert unchanged() == before
