"""Dispatch leases end late, never or twice: none takes off another publisher's, or strands its task."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.faults.local import Local, new_task
from tests.integration.store.given import claiming

from taskqueue.store import Refusal, verbs
from taskqueue.task import Claim, Outcome, Status

#: How long a lease lasts, in milliseconds.
LEASE = 10_000
FIRST = "first publish"
ERROR = '{"type":"Test","message":"on purpose"}'


@pytest.fixture
async def local(tmp_path: Path) -> AsyncIterator[Local]:
    async with Local.open(tmp_path) as local:
        await local.add_worker()
        yield local


async def leased(local: Local) -> tuple[str, list[tuple[int, str]]]:
    """A task under the lease of its submission: its id, and what settles or demotes it."""
    task = new_task()
    seq = await local.store.write(verbs.submit, task, FIRST, LEASE)
    return task.id, [(seq, FIRST)]


async def relayed(local: Local, token: str = "relay") -> list[tuple[int, str]]:
    """All that is due, leased by a relay, and what marks it."""
    due = await local.store.write(verbs.lease_due, [4], 10, LEASE, token)
    return [(dispatch.seq, dispatch.dispatch_id) for dispatch in due]


def lease_of(local: Local, id: str) -> tuple[str, str | None]:
    row = local.row(id)
    return row["status"], row["dispatch_id"]


async def test_a_confirmed_lease_is_taken_off_and_its_task_waits_on(local: Local) -> None:
    id, publish = await leased(local)
    assert lease_of(local, id) == ("queued", FIRST)
    await local.store.write(verbs.settle, publish)
    assert lease_of(local, id) == ("queued", None)
    local.clock.offset += 10 * LEASE
    assert not await local.store.bulk.demote_expired(LEASE)
    await local.claimed(id)


async def test_a_lease_that_ran_out_is_demoted_and_due_and_the_relay_has_it(local: Local) -> None:
    id, [(seq, _)] = await leased(local)
    assert not await local.store.bulk.demote_expired(LEASE)
    assert not await relayed(local), "a relay took what another one publishes"
    local.clock.offset += LEASE + 1
    assert await local.store.bulk.demote_expired(LEASE) == 1
    assert lease_of(local, id) == ("pending", None)
    assert await relayed(local) == [(seq, f"{id}.relay")]


async def test_a_lease_from_before_the_clock_was_set_back_has_run_out(local: Local) -> None:
    await leased(local)
    local.clock.offset -= 3_600_000
    assert await local.store.bulk.demote_expired(LEASE) == 1
    assert len(await relayed(local)) == 1, "it is not due, by a clock that was set back"


async def test_a_settle_that_comes_after_the_relays_lease_does_not_take_that_off(local: Local) -> None:
    id, publish = await leased(local)
    local.clock.offset += LEASE + 1
    await local.store.bulk.demote_expired(LEASE)
    marks = await relayed(local)
    await local.store.write(verbs.settle, publish)
    assert lease_of(local, id) == ("pending", f"{id}.relay")
    assert not await relayed(local, "another"), "two relays have it"
    assert len(await local.store.write(verbs.mark_queued, marks)) == 1


async def test_a_demotion_that_comes_after_the_relay_has_published_does_not_make_it_publish_again(
    local: Local,
) -> None:
    id, publish = await leased(local)
    local.clock.offset += LEASE + 1
    await local.store.bulk.demote_expired(LEASE)
    marks = await relayed(local)
    assert not await local.store.write(verbs.demote, publish)
    assert lease_of(local, id) == ("pending", f"{id}.relay")
    await local.store.write(verbs.mark_queued, marks)
    assert not await local.store.write(verbs.demote, publish)
    assert lease_of(local, id) == ("queued", None)
    assert not await relayed(local, "another")


@pytest.mark.parametrize("late", [verbs.settle, verbs.demote])
async def test_the_late_end_of_a_lease_strands_no_task_that_has_failed_into_its_backoff(
    local: Local, late: object
) -> None:
    id, publish = await leased(local)
    claim = await local.claimed(id)
    assert lease_of(local, id) == ("running", None)
    await local.store.write(late, publish)  # type: ignore[arg-type]
    assert await local.store.write(verbs.back_off, claim, Outcome.ERROR, ERROR, 1000) is Status.PENDING
    await local.store.write(late, publish)  # type: ignore[arg-type]
    assert not await relayed(local), "its backoff was cut short"
    assert await local.store.write(claiming, id, "w") is Refusal.NOT_CLAIMABLE, "a second message cut it short"
    local.clock.offset += 1001
    marks = await relayed(local)
    await local.store.write(late, publish)  # type: ignore[arg-type]
    assert await local.store.write(verbs.mark_queued, marks) == {seq for seq, _ in publish}
    await local.claimed(id)


async def test_a_mark_for_an_earlier_lease_of_the_relays_does_not_count(local: Local) -> None:
    task = new_task()
    await local.store.write(verbs.submit, task)
    slow = await relayed(local, "slow")
    local.clock.offset += LEASE + 1
    quick = await relayed(local, "quick")
    assert not await local.store.write(verbs.mark_queued, slow), "a mark took the place of another publish's"
    assert lease_of(local, task.id) == ("pending", f"{task.id}.quick")
    assert len(await local.store.write(verbs.mark_queued, quick)) == 1


@pytest.mark.parametrize("settled", [True, False])
async def test_a_cancel_ends_the_lease_and_nothing_of_it_comes_back(local: Local, settled: bool) -> None:
    id, publish = await leased(local)
    if settled:
        await local.store.write(verbs.settle, publish)
    assert await local.store.write(verbs.cancel, id) is Status.CANCELLED
    assert lease_of(local, id) == ("cancelled", None)
    await local.store.write(verbs.settle, publish)
    assert not await local.store.write(verbs.demote, publish)
    local.clock.offset += LEASE + 1
    assert not await local.store.bulk.demote_expired(LEASE)
    assert not isinstance(await local.store.write(claiming, id, "w"), Claim)
    local.check()


async def test_a_lost_queue_demotes_also_what_is_still_leased(local: Local) -> None:
    id, publish = await leased(local)
    assert await local.store.bulk.demote_all() == 1
    await local.store.write(verbs.settle, publish)
    assert lease_of(local, id) == ("pending", None)
    assert len(await relayed(local)) == 1
