"""From schema 3, with programs of the old version still at work: nothing is lost, and they write nothing more."""

import json
from collections.abc import AsyncIterator, Callable, Iterator
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
    claiming,
    stored,
    submitted,
    task_of,
)
from tests.integration.store.old import OldProgram

from taskqueue.store import IdempotentRequest, Store, StoreUnavailableError, now_ms, open_store, verbs, workers
from taskqueue.store.clock import to_ms
from taskqueue.store.schema import SCHEMA_VERSION
from taskqueue.task import FINAL, Claim, Outcome, Status, Task
from taskqueue_migrate.runner import migrate, shipped_migrations

FAR = 4_000_000_000_000
#: What was stored of tasks that are still there, by where each stands.
IDS = {
    "pending": ["due", "later", "leased", "leased from before the clock was set back", "backing off", "retried"],
    "queued": ["queued"],
    "running": ["first attempt", "second attempt"],
    "completed": ["completed", "completed late"],
    "failed": ["failed"],
    "cancelled": ["cancelled"],
}
EACH_ID = [id for ids in IDS.values() for id in ids]
TABLES = (
    "task",
    "attempts",
    "task_tags",
    "events",
    "workers",
    "idempotency_keys",
    "status_counts",
    "minute_counts",
)


def fill(old: OldProgram) -> None:
    """Tasks of all kinds, as an old installation leaves them."""
    old.beat("w")
    old.beat("v")
    old.submit("gone first")
    old.submit("due", priority=8, max_attempts=7, timeout=1500, tags=("red", "green"), key="key")
    old.submit("later", run_at=FAR)
    old.submit("leased", published=True)
    old.submit("leased from before the clock was set back", published=True, run_at=FAR)
    old.queue("queued")
    for id in ("gone with attempts", "backing off", "retried", "second attempt", "completed late", "failed"):
        old.queue(id)
        old.now += 10
        old.start(id)
        old.now += 10
    for id in ("backing off", "second attempt", "completed late"):
        old.end("retry", id, run_at=old.now + (FAR if id == "backing off" else 0))
    for id in ("gone with attempts", "retried", "failed"):
        old.end("fail", id)
    old.now += 70_000
    old.act("rerun", "retried", request_id="again")
    old.start("second attempt", "v")
    old.act("tell_progress", "second attempt", attempt=2, worker="v", progress='{"fraction":0.5}')
    old.start("completed late", "v")
    old.end("complete", "completed late", 2, "v", result='{"output":1}')
    old.queue("first attempt", max_attempts=1)
    old.start("first attempt")
    old.queue("completed", tags=("red",))
    old.start("completed")
    old.end("complete", "completed", result="{}")
    old.submit("cancelled")
    old.act("cancel_waiting", "cancelled")
    old.act("cancel_waiting", "gone first")
    old.submit("gone last")
    old.act("cancel_waiting", "gone last")
    for id in ("gone first", "gone with attempts", "gone last"):
        old.act("delete", id)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A database on schema 3."""
    path = tmp_path / "tasks.db"
    migrate(path, shipped_migrations()[:3])
    return path


@pytest.fixture
def old(path: Path) -> Iterator[OldProgram]:
    old = OldProgram(path)
    fill(old)
    yield old
    old.close()


@pytest.fixture
async def store(path: Path, old: OldProgram, clock: Clock) -> AsyncIterator[Store]:
    """The same database, on this version's schema."""
    migrate(path)
    clock.now = old.now
    async with open_store(path, write_timeout=5, clock=clock) as store:
        yield store


def told(task: Task) -> dict[str, Any]:
    """As an old program tells it."""
    columns = (
        "id action payload status result error created_at run_at processed_at priority attempt failures "
        "max_attempts timeout cancel_requested progress request_id"
    )
    attempts = [
        (it.number, it.worker, it.started_at, it.ended_at, it.outcome, it.error, it.request_id)
        for it in task.attempts
    ]
    known = {name: getattr(task, name) for name in columns.split()}
    return known | {"tags": json.dumps(task.tags), "attempts": attempts}


async def test_each_task_is_told_as_it_was(path: Path, old: OldProgram) -> None:
    before = {id: old.told(id) for id in EACH_ID}
    for status, ids in IDS.items():
        assert {before[id]["status"] for id in ids} == {status}
    seqs = {row["id"]: row["seq"] for row in stored(path, "SELECT id, seq FROM tasks")}
    migrate(path)
    async with open_store(path, write_timeout=5) as store:
        after = {id: told(await task_of(store, id)) for id in EACH_ID}
        assert await store.reads.known(EACH_ID) == seqs
        tagged = await store.reads.find(limit=100)
        assert len(tagged.tasks) == len(EACH_ID)
    # What waited to be marked is due; the rest is as it was.
    late = "leased from before the clock was set back"
    assert NOON < after[late]["run_at"] <= now_ms()
    after[late]["run_at"] = FAR
    assert after == before


def test_it_is_migrated_in_place_with_a_copy_beside_it_and_once(path: Path, old: OldProgram) -> None:
    assert [migration.version for migration in migrate(path)] == list(range(4, SCHEMA_VERSION + 1))
    assert migrate(path) == []
    [copy] = path.parent.glob("tasks.db.before-0004-*")
    assert len(stored(copy, "SELECT * FROM tasks")) == len(EACH_ID)
    assert stored(path, "SELECT name FROM sqlite_schema WHERE type = 'trigger'") == []
    assert stored(path, "PRAGMA foreign_key_check") == []
    assert stored(path, "PRAGMA integrity_check") == [{"integrity_check": "ok"}]


def test_open_attempts_alone_are_moved_into_their_tasks_rows(path: Path, old: OldProgram) -> None:
    before = stored(path, "SELECT * FROM attempts WHERE ended_at IS NOT NULL ORDER BY task_seq, number")
    migrate(path)
    assert stored(path, "SELECT * FROM attempts ORDER BY task_seq, number") == before
    moved = stored(path, "SELECT id FROM task WHERE attempt_started IS NOT NULL ORDER BY id")
    assert [row["id"] for row in moved] == ["first attempt", "second attempt"]


# Counters, events, keys


async def test_counters_are_right_and_those_of_minutes_stay(path: Path, old: OldProgram) -> None:
    before = [
        stored(path, f"SELECT * FROM {table}") for table in ("minute_counts", "minute_times", "created_ranges")
    ]
    migrate(path)
    after = [
        stored(path, f"SELECT * FROM {table}") for table in ("minute_counts", "minute_times", "created_ranges")
    ]
    assert after == before
    async with open_store(path, write_timeout=5) as store:
        assert await store.reads.wrong_counts() == {}
        counted = (await store.reads.overview(since_minute=0, now=NOON, actions=9)).by_status
    assert counted == {status: len(IDS[status]) for status in Status}


async def test_a_client_that_watches_goes_on_where_it_was(path: Path, old: OldProgram) -> None:
    before = stored(path, "SELECT * FROM events ORDER BY seq")
    [last] = stored(path, "SELECT seq FROM sqlite_sequence WHERE name = 'events'")
    assert before[-1]["task_id"] == "gone last", "the last number is not that of a task which is left"
    migrate(path)
    async with open_store(path, write_timeout=5) as store:
        kept = [event for event in before if event["task_id"] in EACH_ID]
        after = await store.reads.events_after(0, limit=10_000)
        assert [(it.seq, it.at, it.task_id, it.status, it.attempt, it.progress) for it in after] == [
            (it["seq"], it["at"], it["task_id"], it["status"], it["attempt"], it["progress"]) for it in kept
        ]
        assert (await store.reads.event_range())[1] == last["seq"]
        for id in IDS["completed"]:
            end = await store.reads.end_event((await task_of(store, id)).seq)
            assert [it["status"] for it in before if it["seq"] == end] == ["completed"]
        await submitted(store, "new")
        assert [event.seq for event in await store.reads.events_after(last["seq"], limit=9)] == [last["seq"] + 1]


async def test_numbers_begin_at_one_where_there_was_nothing(path: Path) -> None:
    migrate(path)
    async with open_store(path, write_timeout=5) as store:
        assert await submitted(store) == 1
        assert [event.seq for event in await store.reads.events_after(0, limit=9)] == [1]


async def test_numbers_go_on_where_all_tasks_were_deleted(path: Path) -> None:
    old = OldProgram(path)
    old.submit("gone")
    old.act("cancel_waiting", "gone")
    old.act("delete", "gone")
    old.close()
    migrate(path)
    async with open_store(path, write_timeout=5) as store:
        await submitted(store)
        assert [event.seq for event in await store.reads.events_after(0, limit=9)] == [3]


async def test_new_tasks_come_after_all_others(store: Store) -> None:
    places = await store.reads.known(EACH_ID)
    assert await submitted(store, "new") > max(places.values())


async def test_a_request_that_is_sent_again_has_its_first_answer(store: Store) -> None:
    replay = await store.reads.first_answer(IdempotentRequest("key", "same", expired=0))
    assert replay is not None
    assert (replay.answer, replay.same_request) == ('{"id":"due"}', True)


# Tasks that wait, and tasks that run


async def test_what_was_leased_is_due_at_once(store: Store, clock: Clock) -> None:
    clock.now = now_ms()
    leased = await store.write(verbs.lease_due, (8, 4, 0), 100, LEASE, "x")
    assert {it.id for it in leased} == {"due", "leased", "leased from before the clock was set back", "retried"}


async def test_a_message_that_is_still_on_its_way_finds_its_task(store: Store) -> None:
    for id in ("queued", "leased"):
        assert isinstance(await store.write(claiming, id, "w"), Claim)


@pytest.mark.parametrize(("id", "worker", "attempts"), [("first attempt", "w", 1), ("second attempt", "v", 2)])
async def test_a_running_task_is_completed_by_who_runs_it(
    store: Store, id: str, worker: str, attempts: int
) -> None:
    [held] = await beat(store, worker)
    assert (held.claim.id, held.claim.attempt) == (id, attempts)
    assert await store.write(verbs.complete, held.claim, "{}") is Status.COMPLETED
    outcomes = [attempt.outcome for attempt in await attempts_of(store, id)]
    assert outcomes == [Outcome.ERROR, Outcome.OK][-attempts:]


async def test_a_running_task_is_rescued_where_its_worker_is_lost(store: Store) -> None:
    before = {id: await attempts_of(store, id) for id in IDS["running"]}
    rescued = []
    for worker, counter in (await store.reads.worker_beats()).items():
        rescued += await store.write(workers.rescue, worker, counter, ERROR, lambda _: 0) or []
    assert {(claim.id, status) for claim, status in rescued} == {
        ("first attempt", Status.FAILED),
        ("second attempt", Status.PENDING),
    }
    for id, attempts in before.items():
        *earlier, last = await attempts_of(store, id)
        assert earlier == attempts[:-1]
        assert (last.number, last.outcome) == (len(attempts), Outcome.WORKER_LOST)


@pytest.mark.parametrize("id", ["retried", "failed"])
async def test_attempts_go_on_after_those_of_the_old_version(store: Store, id: str) -> None:
    before = await attempts_of(store, id)
    if id == "failed":
        assert await store.write(verbs.retry, id, "again")
    claim = await store.write(claiming, id, "w")
    assert isinstance(claim, Claim)
    await store.write(verbs.release, claim)
    await store.write(claiming, id, "v")
    attempts = await attempts_of(store, id)
    assert attempts[:-2] == before
    assert [attempt.number for attempt in attempts] == [1, 2, 3]


async def test_a_final_task_of_the_old_version_is_deleted_whole(store: Store, path: Path) -> None:
    for status in FINAL:
        assert await store.bulk.prune_tasks(status, before=to_ms(FAR)) == len(IDS[status])
    final = [id for status in FINAL for id in IDS[status]]
    assert await store.reads.known(final) == {}
    for table in ("attempts", "task_tags"):
        assert stored(path, f"SELECT * FROM {table} WHERE task_seq NOT IN (SELECT seq FROM task)") == []


# An old program that still runs


WRITES: dict[str, Callable[[OldProgram], None]] = {
    "submit": lambda old: old.submit("new"),
    "submit with a key": lambda old: old.submit("new", key="new key"),
    "mark": lambda old: old.act("mark_queued", "leased", dispatch_id="leased.0"),
    "claim": lambda old: old.start("queued"),
    "complete": lambda old: old.end("complete", "first attempt", result="{}"),
    "retry": lambda old: old.end("retry", "first attempt", run_at=NOON),
    "fail": lambda old: old.end("fail", "first attempt"),
    "cancel": lambda old: old.act("cancel_waiting", "due"),
    "ask to cancel": lambda old: old.act("ask_to_cancel", "first attempt"),
    "retry by hand": lambda old: old.act("rerun", "failed", request_id=None),
    "delete": lambda old: old.act("delete", "failed"),
    # It asks for cancels in the same transaction: its worker is taken for lost, and what it runs is rescued.
    "beat": lambda old: old.beat(),
}


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
async def test_an_old_program_is_refused_and_writes_nothing(
    path: Path, old: OldProgram, write: Callable[[OldProgram], None]
) -> None:
    migrate(path)
    before = [stored(path, f"SELECT * FROM {table}") for table in TABLES]
    # Which the API answers with 503, and for which a worker holds what it has.
    with pytest.raises(StoreUnavailableError, match="no such table: tasks"):
        write(old)
    assert [stored(path, f"SELECT * FROM {table}") for table in TABLES] == before


def test_an_old_program_reads_no_task(path: Path, old: OldProgram) -> None:
    migrate(path)
    with pytest.raises(StoreUnavailableError, match="no such table: tasks"):
        old.told("due")
