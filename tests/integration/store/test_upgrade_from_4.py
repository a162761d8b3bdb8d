"""From schema 4, in place: tasks are as they were, and what the workers at work know is known at once."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.integration.store.given import NOON, Clock, looking, stored, task_of

from taskqueue.store import CatchAll, Repertoire, SetAside, Store, open_store, verbs
from taskqueue.task import Claim
from taskqueue_migrate.runner import migrate, shipped_migrations

#: As schema 4's programs write them.
SUBMIT = """
INSERT INTO task (id, action, payload, status, created_at, run_at, priority, max_attempts, tags)
VALUES (:id, :action, '{}', 'pending', :now, :now, 4, 3, '[]')
"""
BEAT = """
INSERT INTO workers (id, host, pid, consumers, prefetch, actions, started_at, last_seen)
VALUES (:id, 'host', 1, 2, 5, :actions, :now, :now)
ON CONFLICT (id) DO UPDATE SET beat = beat + 1, last_seen = :now
"""
CLAIM = """
UPDATE task
SET status = 'running', attempt = 1, worker_id = 'old', attempt_worker = 'old', attempt_started = :now,
    queued_at = NULL, dispatch_id = NULL, dispatch_until = NULL, progress = NULL
WHERE id = :id
"""

STOCK = [{"name": name, "arguments": {"type": "object"}} for name in ("*", "sum", "uppercase")]
OWN = [{"name": "mail", "arguments": {"type": "object", "required": ["to"]}}]


def write(path: Path, statement: str, **values: Any) -> None:
    connection = looking(path)
    try:
        connection.execute(statement, {"now": NOON} | values)
    finally:
        connection.close()


def beat_of_old(path: Path, id: str, actions: list[dict[str, Any]]) -> None:
    write(path, BEAT, id=id, actions=json.dumps(actions))


@pytest.fixture
async def store(tmp_path: Path, clock: Clock) -> AsyncIterator[Store]:
    path = tmp_path / "tasks.db"
    migrate(path, shipped_migrations()[:4])
    for id, action in (("t", "mail"), ("u", "other")):
        write(path, SUBMIT, id=id, action=action)
    beat_of_old(path, "old", STOCK + OWN)
    beat_of_old(path, "older", STOCK)
    before = stored(path)
    assert [migration.version for migration in migrate(path)][:1] == [5]
    assert [{name: row[name] for name in before[0]} for row in stored(path)] == before
    async with open_store(path, write_timeout=5, clock=clock) as store:
        yield store


async def test_what_the_workers_know_is_known_and_refuses_nothing_yet(store: Store) -> None:
    assert [action.name for action in await store.reads.actions()] == ["*", "mail", "sum", "uppercase"]
    assert {it.name: (it.own, it.accepts) for it in await store.reads.catalogue()} == {
        "*": (False, "{}"),
        "mail": (True, "{}"),
        "sum": (False, "{}"),
        "uppercase": (False, "{}"),
    }
    assert {worker.id: worker.actions for worker in await store.reads.workers()} == {
        "old": ["*", "sum", "uppercase", "mail"],
        "older": ["*", "sum", "uppercase"],
    }


async def test_a_task_is_run_by_who_knows_it(store: Store) -> None:
    mailing = Repertoire(frozenset({"mail"}))
    assert isinstance(await store.write(verbs.claim, "t", "old", mailing, 60_000), Claim)


async def test_a_stock_worker_of_this_version_takes_no_task_of_the_others(store: Store) -> None:
    stock = Repertoire(frozenset({"sum", "uppercase"}), CatchAll.SHIPPED)
    assert isinstance(await store.write(verbs.claim, "t", "old", stock, 60_000), SetAside)


async def test_programs_of_the_version_before_work_on_until_they_are_replaced(
    store: Store, tmp_path: Path
) -> None:
    path = tmp_path / "tasks.db"
    beat_of_old(path, "old", STOCK + OWN)
    beat_of_old(path, "new to it", OWN)
    assert (await store.reads.worker_beats())["old"] == 1
    nothing = Repertoire(frozenset())
    assert isinstance(await store.write(verbs.claim, "u", "older", nothing, 60_000), SetAside)
    write(path, CLAIM, id="u")
    assert not (await task_of(store, "u")).waits_for_worker
    assert await store.reads.set_aside_counts() == {}


async def test_a_store_has_an_id_of_its_own_and_no_queue_yet(store: Store, tmp_path: Path) -> None:
    identity = await store.reads.identity()
    assert (len(identity.store), identity.queue) == (32, None)
    migrate(tmp_path / "another.db")
    async with open_store(tmp_path / "another.db", write_timeout=5) as another:
        assert (await another.reads.identity()).store != identity.store
