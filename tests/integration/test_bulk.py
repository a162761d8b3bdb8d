"""Acting on all tasks that fit a filter, in slices between which others write."""

import asyncio
import contextlib
import threading
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.integration import actions
from tests.integration.store.given import stored
from tests.integration.system import System
from tests.integration.test_store_away import locked

from taskqueue.store import Cursor, Filter, verbs
from taskqueue.store.engine.sqlite import reading
from taskqueue.store.queries import QUERIES
from taskqueue.task import FINAL, Status


async def act(system: System, verb: str, **members: Any) -> int:
    answer = await system.post(f"/tasks/{verb}", json=members)
    assert answer.status == 200, answer
    assert answer.body == {"count": answer.body["count"], "dry_run": members.get("dry_run", False)}
    return int(answer.body["count"])


async def each_status(system: System) -> dict[str, str]:
    """A task of each status; the running one is held at the gate `g`, by a worker of the test's."""
    tasks = {}
    for status, action, data in (("completed", "uppercase", {"text": "x"}), ("failed", "refuse", {})):
        tasks[status] = await system.submit(action, data, tags=["t"])
        await system.until(tasks[status])
    tasks["running"] = await system.submit("hold", {"name": "g"}, tags=["t"])
    await actions.started("g")
    tasks["cancelled"] = await system.submit("x", delay=1000, tags=["t"])
    await system.post(f"/tasks/{tasks['cancelled']}/cancel")
    tasks["pending"] = await system.submit("x", delay=1000, tags=["t"])
    tasks["queued"] = await system.submit("x", tags=["t"])
    await system.submit("other", delay=1000)
    return tasks


@pytest.fixture
async def tasks(system: System) -> AsyncIterator[dict[str, str]]:
    async with system.worker(consumers=1, give_back_after=60):
        yield await each_status(system)
        actions.let_go("g")


async def statuses(system: System) -> dict[str, str]:
    return {task["id"]: task["status"] for task in (await system.get("/tasks?limit=1000")).body["tasks"]}


@pytest.mark.parametrize(
    ("verb", "applies"),
    [("cancel", {"pending", "queued", "running"}), ("retry", {"failed", "cancelled"}), ("delete", {*FINAL})],
)
async def test_a_verb_acts_on_what_it_applies_to_and_a_dry_run_tells_how_many_there_are(
    system: System, tasks: dict[str, str], verb: str, applies: set[str]
) -> None:
    before = await statuses(system)
    assert await act(system, verb, tag="t", dry_run=True) == len(applies)
    assert await statuses(system) == before
    assert await act(system, verb, tag="t") == len(applies)
    after = await statuses(system)
    for status, id in tasks.items():
        if status not in applies:
            assert after[id] == before[id]
        elif verb == "delete":
            assert id not in after
        elif verb == "retry":
            assert after[id] in {"pending", "queued"}
        elif status == "running":
            task = await system.until(id)
            assert (task["status"], task["attempts"][0]["outcome"]) == ("cancelled", "cancelled")
        else:
            assert after[id] == "cancelled"
    others = [id for id in before if id not in tasks.values()]
    assert [after[id] for id in others] == ["pending"]


async def test_a_verb_stays_within_all_that_the_filter_names(system: System, tasks: dict[str, str]) -> None:
    assert await act(system, "cancel", status=["completed"]) == 0, "no verb acts on what it doesn't apply to"
    assert await act(system, "cancel", status=["pending"], tag="t") == 1
    assert await act(system, "cancel", action="x", tag="t") == 1, "the queued one"
    assert await act(system, "delete", action="refuse", status=["failed", "running"]) == 1
    assert await act(system, "retry", tag="t", created_before=1) == 0
    assert await act(system, "retry", created_after=(await system.task(tasks["cancelled"]))["created_at"]) == 3
    left = await statuses(system)
    assert tasks["failed"] not in left
    assert Counter(left.values())["completed"] == 1


async def test_what_is_deleted_leaves_no_attempts_and_no_tags(system: System, tasks: dict[str, str]) -> None:
    await act(system, "delete", tag="t")
    database = system.settings.database
    kept = {row["seq"] for row in stored(database)}
    for table in ("attempts", "task_tags"):
        assert {row["task_seq"] for row in stored(database, f"SELECT task_seq FROM {table}")} <= kept
    for status in FINAL:
        assert (await system.get(f"/tasks/{tasks[status]}")).status == 404


async def test_a_retried_task_keeps_its_attempts_and_has_all_of_its_tries_again(system: System) -> None:
    async with system.worker():
        id = await system.submit("fail", {"until_attempt": 4}, max_attempts=2)
        assert (await system.until(id))["status"] == "failed"
        assert await act(system, "retry", action="fail") == 1
        task = await system.until(id)
    assert (task["status"], task["attempt"], task["failures"]) == ("completed", 4, 1)
    assert [attempt["outcome"] for attempt in task["attempts"]] == ["error", "error", "error", "ok"]
    assert task["error"] is None


# One task


@pytest.mark.parametrize("status", Status)
async def test_a_task_is_retried_where_it_failed_or_was_cancelled_only(
    system: System, tasks: dict[str, str], status: str
) -> None:
    answer = await system.post(f"/tasks/{tasks[status]}/retry")
    if status in {"failed", "cancelled"}:
        assert (answer.status, answer.body) == (202, {"id": tasks[status], "status": "pending"})
        task = await system.task(tasks[status])
        assert (task["processed_at"], task["error"], task["cancel_requested"]) == (None, None, False)
        assert len(task["attempts"]) == (1 if status == "failed" else 0)
    else:
        assert (answer.status, answer.body["status"]) == (409, status)
        assert status in answer.body["error"]
        assert (await system.task(tasks[status]))["status"] == status


@pytest.mark.parametrize("status", Status)
async def test_a_task_is_deleted_where_it_is_final_only(
    system: System, tasks: dict[str, str], status: str
) -> None:
    async with system.client.delete(f"/tasks/{tasks[status]}") as response:
        if status in FINAL:
            assert (response.status, await response.read()) == (204, b"")
            assert (await system.get(f"/tasks/{tasks[status]}")).status == 404
        else:
            assert response.status == 409
            assert (await response.json())["status"] == status
            assert (await system.task(tasks[status]))["status"] == status


@pytest.mark.parametrize(
    ("method", "path"), [("POST", "/tasks/x/retry"), ("DELETE", "/tasks/x"), ("POST", "/tasks/x/cancel")]
)
async def test_what_there_is_not_can_not_be_acted_on(system: System, method: str, path: str) -> None:
    assert (await system.request(method, path)).status == 404


# Slices


@pytest.fixture
def slices(system: System, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The size of each slice that was found, to be acted on; 100 at most."""
    sizes: list[int] = []
    find = system.store.reads.find_ids

    async def note(*arguments: Any, limit: int) -> list[tuple[int, str]]:
        assert limit <= 500, "too many for one transaction"
        if found := await find(*arguments, limit=100):
            sizes.append(len(found))
        return found

    monkeypatch.setattr(system.store.reads, "find_ids", note)
    return sizes


async def fill(system: System, count: int, **members: Any) -> None:
    tasks = [{"action": "x", "delay": 1000} | members] * 1000
    for start in range(0, count, 1000):
        answer = await system.post("/tasks/batch", json={"tasks": tasks[: count - start]})
        assert answer.status == 202


async def test_other_writes_come_in_between_the_slices(system: System, slices: list[int]) -> None:
    """Counted, not timed: no write of this process or another waits for more than a few slices."""
    await fill(system, 5_000)
    waited: list[int] = []
    async with System.open(system.settings) as other:
        cancelling = asyncio.create_task(act(system, "cancel", action="x"))

        async def write(through: System) -> None:
            while not cancelling.done():
                before = len(slices)
                await through.submit("y", delay=1000)
                waited.append(len(slices) - before)

        await asyncio.gather(write(system), write(other))
        assert await cancelling == 5_000
    assert slices == [100] * 50
    assert len(waited) > 25
    assert max(waited[:-2]) <= 5, waited


@pytest.mark.parametrize("verb", ["cancel", "retry", "delete"])
async def test_tasks_that_are_accepted_meanwhile_are_left_alone(
    system: System, monkeypatch: pytest.MonkeyPatch, slices: list[int], verb: str
) -> None:
    await fill(system, 1_000)
    if verb != "cancel":
        await act(system, "cancel", action="x")
    slices.clear()
    newer: list[str] = []
    find = system.store.reads.find_ids

    async def accept_and_find(*arguments: Any, **more: Any) -> Any:
        if slices and len(newer) < 5:
            newer.append(await system.submit("x", delay=1000))
            if verb != "cancel":
                await system.store.write(verbs.cancel, newer[-1])
        return await find(*arguments, **more)

    monkeypatch.setattr(system.store.reads, "find_ids", accept_and_find)
    assert await act(system, verb, action="x") == 1_000
    assert len(newer) == 5
    expected = "pending" if verb == "cancel" else "cancelled"
    for id in newer:
        assert (await system.task(id))["status"] == expected


async def test_a_bulk_verb_that_the_store_interrupts_is_answered_503_and_may_be_sent_again(
    system: System, monkeypatch: pytest.MonkeyPatch, slices: list[int]
) -> None:
    await fill(system, 1_000)
    find = system.store.reads.find_ids
    with contextlib.ExitStack() as stack, monkeypatch.context() as patch:

        async def lock_after_three(*arguments: Any, **more: Any) -> Any:
            if len(slices) == 3:
                stack.enter_context(locked(system.settings.database))
            return await find(*arguments, **more)

        patch.setattr(system.store.reads, "find_ids", lock_after_three)
        answer = await system.post("/tasks/cancel", json={"action": "x"})
    assert (answer.status, answer.body) == (503, {"error": "database unavailable"})
    assert await act(system, "cancel", action="x", dry_run=True) == 700
    assert await act(system, "cancel", action="x") == 700


async def test_tasks_that_change_under_a_bulk_verb_are_counted_by_what_was_done(
    system: System, slices: list[int]
) -> None:
    """Two at once share them."""
    await fill(system, 2_000)
    counts = await asyncio.gather(*(act(system, "cancel", action="x") for _ in range(3)))
    assert sum(counts) == 2_000
    [row] = stored(system.settings.database, "SELECT count(*) AS n FROM events WHERE status = 'cancelled'")
    assert row["n"] == 2_000


async def test_a_bulk_verb_over_nothing_does_nothing(system: System, slices: list[int]) -> None:
    assert [await act(system, verb, tag="none") for verb in ("cancel", "retry", "delete")] == [0, 0, 0]
    store = system.store
    assert await store.bulk.apply_to_all("cancel", Filter(statuses=frozenset({Status.FAILED})), Cursor()) == 0
    assert slices == []


@contextlib.contextmanager
def held_up(monkeypatch: pytest.MonkeyPatch, *, counts: bool) -> Iterator[None]:
    """Counts, or searches, hold their connection's thread, as those do that take long."""
    go_on = threading.Event()
    fetch = reading.fetch

    async def fetch_slowly(path: Path, files: Any, connection: Any, sql: str, values: Any) -> Any:
        if sql not in QUERIES.values() and sql.startswith("SELECT sum(tasks)") == counts:
            await connection.create_function("hold", 0, go_on.wait)
            await connection.execute_fetchall("SELECT hold()")
        return await fetch(path, files, connection, sql, values)

    monkeypatch.setattr(reading, "fetch", fetch_slowly)
    try:
        yield
    finally:
        go_on.set()


async def assert_quick(system: System, *paths: str) -> None:
    """Writes and these reads are answered."""
    async with asyncio.timeout(10):
        id = await system.submit("y", delay=1000)
        for path in (f"/tasks/{id}", "/readyz", "/workers", *paths):
            assert (await system.get(path)).status == 200


async def test_a_search_that_takes_long_holds_up_neither_writes_nor_reads_nor_counts(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    id = await system.submit("x", delay=1000, tags=["t"])
    with held_up(monkeypatch, counts=False):
        cancelling = asyncio.create_task(act(system, "cancel", tag="t"))
        await assert_quick(system, "/stats")
        assert await act(system, "cancel", tag="t", dry_run=True) == 1
        assert (await system.task(id))["status"] == "pending"
        assert not cancelling.done()
    assert await cancelling == 1


async def test_a_count_that_takes_long_holds_up_neither_writes_nor_reads_nor_searches(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    await system.submit("x", delay=1000, tags=["t"])
    with held_up(monkeypatch, counts=True):
        counting = asyncio.create_task(act(system, "cancel", tag="t", dry_run=True))
        await assert_quick(system, "/tasks?tag=t")
        assert not counting.done()
    assert await counting == 1


async def test_a_task_that_no_longer_fits_when_it_is_acted_on_is_left_alone(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A failed one, which is cancelled in a new run after it was found as failed."""
    async with system.worker():
        id = await system.submit("refuse", tags=["t"])
        await system.until(id)
    find = system.store.reads.find_ids

    async def find_and_change(*arguments: Any, **more: Any) -> Any:
        found = await find(*arguments, **more)
        if found:
            assert await system.store.write(verbs.retry, id)
            assert await system.store.write(verbs.cancel, id) is Status.CANCELLED
        return found

    monkeypatch.setattr(system.store.reads, "find_ids", find_and_change)
    assert await act(system, "retry", status=["failed"]) == 0
    assert (await system.task(id))["status"] == "cancelled"


# Named


async def test_a_verb_acts_on_the_tasks_that_are_named_once_each_and_passes_over_what_there_is_not(
    system: System, tasks: dict[str, str]
) -> None:
    named = [tasks["pending"], tasks["pending"], tasks["queued"], tasks["completed"], "not there"]
    before = await statuses(system)
    assert await act(system, "cancel", ids=named, dry_run=True) == 2
    assert await act(system, "cancel", ids=named, tag="other") == 0, "all that is given must fit"
    assert await act(system, "cancel", ids=named, tag="t", status=["queued"]) == 1
    assert await act(system, "cancel", ids=named) == 1
    after = await statuses(system)
    changed = {id for id in before if before[id] != after[id]}
    assert changed == {tasks["pending"], tasks["queued"]}
    [entry, _] = (await system.get("/audit?operation=cancel_tasks")).body["entries"]
    assert entry["filter"] == {"ids": named}


@pytest.mark.parametrize("named", [[], ["x"] * 1001, "x", [7]])
async def test_a_list_of_no_task_acts_on_none_whatever_else_is_named(system: System, named: Any) -> None:
    id = await system.submit("x", delay=1000)
    answer = await system.post("/tasks/cancel", json={"ids": named, "action": "x"})
    assert answer.status == 400
    assert answer.body["error"].startswith("ids")
    assert (await system.task(id))["status"] == "pending"


async def test_a_verb_acts_on_all_whose_error_is_alike(system: System) -> None:
    async with system.worker():
        for message in ("no route to 7", "no route to 8", "else"):
            id = await system.submit("fail", {"message": message}, max_attempts=1)
            await system.until(id)
    assert await act(system, "delete", error="no route to", dry_run=True) == 2
    assert await act(system, "delete", error="no route to") == 2
    assert await act(system, "delete", q="ELSE") == 1
