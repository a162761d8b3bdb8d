"""Who takes which task, and what becomes of those whose action nobody knows."""

import contextlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.integration.store.given import (
    DAY,
    NOON,
    Clock,
    claiming,
    looking,
    new_task,
    published,
    queued,
    status_of,
    stored,
    submitted,
    task_of,
    worker_info,
)

from taskqueue.store import CatchAll, GivenUp, Refusal, Repertoire, SetAside, Store, verbs, workers
from taskqueue.task import Claim, Status

NOTHING = Repertoire(frozenset())
SHIPPED = Repertoire(frozenset({"sum"}), CatchAll.SHIPPED)
OWN = Repertoire(frozenset({"mail"}), CatchAll.OWN)
MINUTE = 60_000


def described(*names: str, own: bool = True) -> str:
    """A worker's actions, as it tells them."""
    entry = {"own": own, "arguments": {}, "accepts": {}, "defaults": {}, "version": None}
    return json.dumps([entry | {"name": name} for name in names])


async def known(store: Store, *names: str, worker: str = "other", own: bool = True) -> None:
    """A worker that has told its actions."""
    info = worker_info(worker)
    values = {name: getattr(info, name) for name in info.__slots__} | {"actions": described(*names, own=own)}
    await store.write(workers.beat, type(info)(**values))


async def offered(
    store: Store, repertoire: Repertoire = NOTHING, id: str = "t", patience: int = DAY
) -> Claim | Refusal | SetAside | GivenUp:
    """What a claim of a worker is answered that has this repertoire."""
    return await store.write(verbs.claim, id, "w", repertoire, patience)


# Who takes what


async def test_a_worker_takes_what_it_has_by_its_name(store: Store) -> None:
    await queued(store)
    assert isinstance(await offered(store, Repertoire(frozenset({"act"}))), Claim)


async def test_a_worker_without_the_action_takes_no_task(store: Store) -> None:
    await queued(store)
    assert await offered(store) == SetAside("t", "act", first=True)
    assert await offered(store, Repertoire(frozenset({"another"})), "t") is Refusal.NOT_CLAIMABLE


async def test_the_catch_all_that_ships_takes_all_where_there_are_no_other_actions(store: Store) -> None:
    await known(store, "sum", "uppercase", "*", own=False)
    await queued(store)
    assert isinstance(await offered(store, SHIPPED), Claim)


@pytest.mark.parametrize("own", ["mail", "act", "*"])
async def test_the_catch_all_that_ships_takes_nothing_once_there_was_an_action_of_ones_own(
    store: Store, own: str
) -> None:
    await known(store, "sum", own)
    await store.write(workers.retire, "other")
    await queued(store)
    await queued(store, "s", action="sum")
    assert isinstance(await offered(store, SHIPPED), SetAside)
    assert isinstance(await offered(store, SHIPPED, "s"), Claim), "what has a name is taken all the same"


async def test_one_that_ships_says_nothing_of_ones_own_of_the_same_name(store: Store) -> None:
    await known(store, "*", "sum")
    await known(store, "*", "sum", worker="stock", own=False)
    assert {known.own for known in await store.reads.catalogue()} == {True}
    await queued(store)
    assert isinstance(await offered(store, SHIPPED), SetAside)


async def test_a_task_that_is_retried_waits_anew_for_a_worker_that_knows_it(
    store: Store, database: Path, clock: Clock
) -> None:
    await queued(store)
    await offered(store)
    with contextlib.closing(looking(database)) as db, db:
        # As a worker of a version before does that has a catch-all: it knows of no wait.
        db.execute("UPDATE task SET status = 'failed', error = '{}', processed_at = created_at")
    clock.move(2 * DAY)
    assert await store.write(verbs.retry, "t")
    assert (await task_of(store)).unknown_since is None


async def test_ones_own_catch_all_takes_what_nobody_has_by_its_name(store: Store) -> None:
    await known(store, "mail")
    await queued(store)
    assert isinstance(await offered(store, OWN), Claim)


async def test_ones_own_catch_all_leaves_what_another_worker_has_by_its_name(store: Store) -> None:
    await known(store, "act")
    await queued(store)
    assert isinstance(await offered(store, OWN), SetAside)
    await store.write(workers.retire, "other")
    await queued(store, "u")
    assert isinstance(await offered(store, OWN, "u"), SetAside), "it may be starting anew"


async def test_a_worker_that_is_not_known_sets_nothing_aside(
    store: Store, unchanged: Callable[[], object]
) -> None:
    await queued(store)
    await store.write(workers.retire, "w")
    before = unchanged()
    assert await offered(store) is Refusal.WORKER_UNKNOWN
    assert unchanged() == before


async def test_what_is_not_due_or_is_claimed_is_not_set_aside(store: Store) -> None:
    await submitted(store, run_at=NOON + 1)
    await queued(store, "u")
    await store.write(claiming, "u", "v")
    assert [await offered(store, id=id) for id in ("t", "u")] == [Refusal.NOT_CLAIMABLE] * 2
    assert await offered(store, id="none") is Refusal.UNKNOWN


# Set aside


@pytest.mark.parametrize("how", [published, queued])
async def test_it_is_set_aside_at_no_cost(store: Store, how: Callable[..., object], clock: Clock) -> None:
    await how(store)
    clock.move(5)
    await offered(store)
    task = await task_of(store)
    assert (task.status, task.run_at, task.unknown_since) == (Status.PENDING, NOON + 1_005, NOON + 5)
    assert (task.attempt, task.failures, task.attempts, task.error) == (0, 0, (), None)
    assert task.waits_for_worker


async def queue_again(store: Store, clock: Clock) -> None:
    """Once it is due."""
    clock.now = (await task_of(store)).run_at
    [dispatch] = await store.write(verbs.lease_due, (4,), 1, 1_000, f"{clock.now:x}")
    await store.write(verbs.mark_queued, [(dispatch.seq, dispatch.dispatch_id)])


async def next_pause(store: Store, clock: Clock) -> int:
    """In milliseconds."""
    await queue_again(store, clock)
    await offered(store)
    return (await task_of(store)).run_at - clock.now


async def test_each_pause_is_as_long_as_it_has_waited_up_to_a_minute(store: Store, clock: Clock) -> None:
    await queued(store)
    await offered(store)
    pauses = [await next_pause(store, clock) for _ in range(9)]
    assert pauses == [1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000, 60_000]
    assert (await task_of(store)).unknown_since == NOON


async def test_where_the_clock_was_set_back_it_waits_from_then_on(store: Store, clock: Clock) -> None:
    await queued(store)
    await offered(store)
    await queue_again(store, clock)
    clock.now = NOON - 10 * MINUTE
    assert isinstance(await offered(store), SetAside)
    task = await task_of(store)
    assert (task.unknown_since, task.run_at) == (clock.now, clock.now + 1_000)


async def test_the_first_task_of_an_action_is_told_from_the_others(store: Store) -> None:
    for id in "tuv":
        await queued(store, id)
    await queued(store, "other", action="other")
    answers = [await offered(store, id=id) for id in "tuv"]
    assert answers == [SetAside(id, "act", first=id == "t") for id in "tuv"]
    assert await offered(store, id="other") == SetAside("other", "other", first=True)
    assert await store.reads.set_aside_counts() == {"act": 3, "other": 1}


async def test_it_can_be_claimed_and_waits_no_more(store: Store, clock: Clock) -> None:
    await queued(store)
    await offered(store)
    clock.move(1_000)
    assert isinstance(await store.write(claiming, "t", "v"), Claim)
    task = await task_of(store)
    assert (task.attempt, task.unknown_since) == (1, None)
    assert await store.reads.set_aside_counts() == {}


async def test_it_can_be_cancelled_and_retried(store: Store) -> None:
    await queued(store)
    await offered(store)
    assert await store.write(verbs.cancel, "t") is Status.CANCELLED
    assert await store.reads.set_aside_counts() == {}
    await store.write(verbs.retry, "t")
    task = await task_of(store)
    assert (task.status, task.waits_for_worker) == (Status.PENDING, False)


# Given up


async def test_after_a_while_it_fails_as_an_unknown_action(store: Store, clock: Clock) -> None:
    await queued(store)
    await offered(store, patience=1_500)
    assert (await task_of(store)).run_at == NOON + 1_000
    clock.move(1_000)
    assert isinstance(await offered(store, patience=1_500), SetAside)
    assert (await task_of(store)).run_at == NOON + 1_500, "not later than it has to fail"
    clock.move(500)
    assert await offered(store, patience=1_500) == GivenUp("t", "act")
    task = await task_of(store)
    assert (task.status, task.processed_at, task.waits_for_worker) == (Status.FAILED, NOON + 1_500, False)
    assert (task.attempt, task.failures, task.attempts) == (0, 0, ())
    error = json.loads(task.error or "")
    assert error == {
        "type": "UnknownAction",
        "message": "no worker knows the action 'act', for 1.5 s by now",
        "traceback": None,
    }


async def test_where_nothing_waits_it_fails_at_once(store: Store) -> None:
    await queued(store)
    assert await offered(store, patience=0) == GivenUp("t", "act")
    assert await status_of(store) == Status.FAILED
    assert await offered(store) is Refusal.NOT_CLAIMABLE


# Taken up


async def test_what_was_set_aside_is_due_in_its_order_for_who_knows_its_action(store: Store, clock: Clock) -> None:
    for id in "ab":
        await queued(store, id)
        await offered(store, id=id)
        clock.move(10)
    await queued(store, "other", action="other")
    await offered(store, id="other")
    await submitted(store, "later", run_at=NOON + MINUTE)
    assert await store.bulk.take_up(Repertoire(frozenset({"act"}))) == 2
    assert [(await task_of(store, id)).run_at for id in "ab"] == [NOON, NOON + 10]
    assert (await task_of(store, "other")).run_at > clock.now
    assert (await task_of(store, "later")).run_at == NOON + MINUTE
    assert await store.bulk.take_up(Repertoire(frozenset({"act"}))) == 0, "they are due"


@pytest.mark.parametrize(("repertoire", "taken"), [(SHIPPED, 0), (OWN, 1), (NOTHING, 0)])
async def test_a_catch_all_takes_up_what_it_takes(store: Store, repertoire: Repertoire, taken: int) -> None:
    await known(store, "act")
    for id, action in (("t", "act"), ("u", "other")):
        await queued(store, id, action=action)
        await offered(store, id=id)
    assert await store.bulk.take_up(repertoire) == taken


async def test_any_number_is_taken_up(store: Store) -> None:
    for n in range(1_100):
        store.write(verbs.submit, new_task(str(n)), f"{n}.0", 1_000)
        last = store.write(verbs.claim, str(n), "w", NOTHING, DAY)
    await last
    assert await store.bulk.take_up(Repertoire(frozenset({"act"}))) == 1_100


# The catalogue


async def test_a_worker_tells_its_actions_with_its_first_beat(store: Store, database: Path, clock: Clock) -> None:
    await known(store, "act", "mail")
    assert [action.name for action in await store.reads.actions()] == ["act", "mail"]
    [worker] = [worker for worker in await store.reads.workers() if worker.id == "other"]
    assert worker.actions == ["act", "mail"]
    clock.move(7)
    await known(store, "act", "mail")
    assert {action.last_seen for action in await store.reads.actions()} == {NOON}


async def test_what_the_newest_worker_tells_of_an_action_counts(store: Store, database: Path) -> None:
    await known(store, "act")
    entry = {"name": "act", "own": True, "arguments": {}, "accepts": {"type": "object"}, "defaults": {}}
    info = worker_info("newer")
    values = {name: getattr(info, name) for name in info.__slots__}
    values["actions"] = json.dumps([entry | {"version": "2.0"}])
    await store.write(workers.beat, type(info)(**values))
    [accepts] = await store.reads.catalogue()
    assert json.loads(accepts.accepts) == {"type": "object"}
    assert [action.version for action in await store.reads.actions()] == ["2.0"]


@pytest.mark.parametrize("end", ["retire", "rescue"])
async def test_what_a_worker_knew_is_known_after_its_end(store: Store, clock: Clock, end: str) -> None:
    await known(store, "act")
    clock.move(MINUTE)
    if end == "retire":
        await store.write(workers.retire, "other")
    else:
        await store.write(workers.rescue, "other", 0, "{}", lambda failures: 0)
    [action] = await store.reads.actions()
    assert (action.name, action.last_seen) == ("act", NOON + MINUTE)


async def test_what_no_worker_knows_is_forgotten_in_the_end(store: Store, clock: Clock) -> None:
    await known(store, "act")
    await known(store, "mail", worker="another")
    await store.write(workers.retire, "other")
    assert await store.bulk.prune("actions", before=NOON) == 0
    assert await store.bulk.prune("actions", before=NOON + 1) == 1
    assert [action.name for action in await store.reads.actions()] == ["mail"]


async def test_a_beat_tells_the_memory_of_its_process(store: Store, database: Path) -> None:
    await store.write(workers.beat, worker_info("w"), 12_345)
    [row] = stored(database, "SELECT memory FROM workers WHERE id = 'w'")
    assert row == {"memory": 12_345}
