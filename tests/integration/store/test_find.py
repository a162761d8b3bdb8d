"""Pages against a plain-Python oracle, and under load: each task that was there at the start, once."""

import asyncio
import contextlib
import json
import random
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.integration.store.given import (
    ERROR,
    NOON,
    PATIENCE,
    beat,
    claimed,
    looking,
    new_task,
    queued,
    running,
    stored,
    submitted,
)

from taskqueue.store import Cursor, Filter, Store, StoreUnavailableError, now_ms, open_store, reads, verbs
from taskqueue.store.engine.protocol import Row, Transaction
from taskqueue.store.engine.sqlite import reading
from taskqueue.store.engine.sqlite.connection import Connection, add_octet_length
from taskqueue.store.engine.sqlite.engine import SqliteEngine, open_sqlite
from taskqueue.store.ledger import balance
from taskqueue.store.pages import reads_each
from taskqueue.store.queries import QUERIES
from taskqueue.store.reads import LARGE, Page, Reads
from taskqueue.task import NewTask, Outcome, Status, Task
from taskqueue_migrate.runner import migrate

TAGS = ("red", "green", "blue")
ACTIONS = ("a", "b", "c")
PARENTS = ("0", "deleted")
#: More than two of the ranges by which times are found.
COUNT = 2_500
#: Milliseconds over which the tasks were accepted.
SPAN = 10_000


async def fill(store: Store, tasks: list[NewTask]) -> None:
    def submit(tx: Transaction, tasks: list[NewTask]) -> None:
        for task in tasks:
            verbs.submit(tx, task)

    for start in range(0, len(tasks), 1000):
        await store.write(submit, tasks[start : start + 1000])


def motley(dice: random.Random) -> list[NewTask]:
    """Tasks of all kinds, accepted by processes whose clocks differ, and one clock that was set back."""
    return [
        new_task(
            str(n),
            action=dice.choice(ACTIONS),
            tags=tuple(tag for tag in TAGS if dice.random() < 0.3),
            parent=dice.choice((None, *PARENTS)),
            created_at=NOON + n * SPAN // COUNT + dice.randrange(-50, 50) - (4_000 if 1_000 < n < 1_400 else 0),
        )
        for n in range(COUNT)
    ]


#: Gives the tasks statuses, in no order, as their lives would have.
SETTLE = """
INSERT INTO workers (id, host, pid, consumers, prefetch, started_at, last_seen) VALUES ('w', 'h', 1, 1, 1, 0, 0);
UPDATE task SET status = 'queued', queued_at = 1 WHERE seq * 7919 % 6 = 1;
UPDATE task SET status = 'running', worker_id = 'w', attempt_worker = 'w', attempt_started = 1
WHERE seq * 7919 % 6 = 2;
UPDATE task SET status = 'completed', processed_at = 1, result = '{}' WHERE seq * 7919 % 6 = 3;
UPDATE task SET status = 'failed', processed_at = 1, error = json_object(
    'type', iif(seq % 3, 'TimeoutError', 'KeyError'), 'message', 'No. ' || seq || ' is 50% lost!')
WHERE seq * 7919 % 6 = 4;
UPDATE task SET status = 'cancelled', processed_at = 1 WHERE seq * 7919 % 36 = 5;
"""


def told_error(row: dict[str, Any]) -> str:
    if row["error"] is None:
        return ""
    error = json.loads(row["error"])
    return f"{error['type']}: {error['message']}"


@dataclass
class Shelf:
    """A store that nobody changes, with its rows as the oracle reads them: newest first."""

    runner: asyncio.Runner
    store: Store
    rows: list[dict[str, Any]]
    tags: dict[int, set[str]]

    def expected(self, filter: Filter) -> list[str]:
        return [
            row["id"]
            for row in self.rows
            if (not filter.statuses or row["status"] in filter.statuses)
            and (filter.action is None or row["action"] == filter.action)
            and (filter.parent is None or row["parent"] == filter.parent)
            and (filter.tag is None or filter.tag in self.tags.get(row["seq"], ()))
            and (filter.ids is None or row["id"] in filter.ids)
            and (filter.error is None or filter.error.lower() in told_error(row).lower())
            and (filter.text is None or self.has_text(row, filter.text.lower()))
            and (filter.created_after is None or row["created_at"] >= filter.created_after)
            and (filter.created_before is None or row["created_at"] < filter.created_before)
        ]

    def has_text(self, row: dict[str, Any], text: str) -> bool:
        told = (row["id"], row["action"], told_error(row), *self.tags.get(row["seq"], ()))
        return any(text in each.lower() for each in told)

    async def paged(self, filter: Filter, limit: int, max_bytes: int | None) -> list[str]:
        found: list[str] = []
        cursor: Cursor | None = None
        while True:
            page = await self.store.reads.find(filter, limit=limit, cursor=cursor, max_bytes=max_bytes)
            assert len(page.tasks) <= limit
            found += [task.id for task in page.tasks]
            if page.next is None:
                return found
            assert page.tasks or reads_each(filter), "a page that says that there is more has something"
            cursor = page.next


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shelf]:
    database: Path = tmp_path_factory.mktemp("shelf") / "tasks.db"
    migrate(database)
    with asyncio.Runner() as runner:
        stack = AsyncExitStack()
        store = runner.run(stack.enter_async_context(open_store(database, write_timeout=20)))
        runner.run(fill(store, motley(random.Random(4))))
        with contextlib.closing(looking(database)) as connection:
            connection.executescript(SETTLE)
        tags: dict[int, set[str]] = {}
        for row in stored(database, "SELECT * FROM task_tags"):
            tags.setdefault(row["task_seq"], set()).add(row["tag"])
        yield Shelf(runner, store, stored(database, "SELECT * FROM task ORDER BY seq DESC"), tags)
        runner.run(stack.aclose())


TIMES = st.none() | st.integers(NOON - 5_000, NOON + SPAN + 1_000)
FILTERS = st.builds(
    Filter,
    statuses=st.frozensets(st.sampled_from(Status)),
    action=st.none() | st.sampled_from([*ACTIONS, "d"]),
    tag=st.none() | st.sampled_from([*TAGS, "pink"]),
    created_after=TIMES,
    created_before=TIMES,
    parent=st.sampled_from([None, None, *PARENTS, "childless"]),
    error=st.sampled_from([None] * 6 + ["timeouterror", "KeyError: No. 1", "50% lost!", "0%", "o_", "!", "gone"]),
    text=st.sampled_from([None] * 6 + ["RED", "b", "99", "timeout", "%", "_", "☃"]),
    ids=st.sampled_from([None] * 6) | st.lists(st.integers(0, COUNT + 10).map(str), max_size=50).map(tuple),
)


@settings(max_examples=150, deadline=None)
@given(filter=FILTERS, limit=st.sampled_from([1, 7, 100, 999, 1000, 1001, 5000]))
def test_pages_have_what_fits_the_filter_newest_first(shelf: Shelf, filter: Filter, limit: int) -> None:
    expected = shelf.expected(filter)
    if len(expected) > 60 * limit:
        limit = 100
    assert shelf.runner.run(shelf.paged(filter, limit, None)) == expected


@settings(max_examples=60, deadline=None)
@given(filter=FILTERS, max_bytes=st.integers(0, 3_000))
def test_pages_that_are_cut_by_their_bytes_leave_nothing_out(shelf: Shelf, filter: Filter, max_bytes: int) -> None:
    expected = shelf.expected(filter)
    if len(expected) > 300:
        max_bytes += 1_000
    assert shelf.runner.run(shelf.paged(filter, 1000, max_bytes)) == expected


@settings(max_examples=100, deadline=None)
@given(filter=FILTERS, statuses=st.frozensets(st.sampled_from(Status), min_size=1))
def test_a_count_is_that_of_the_pages(shelf: Shelf, filter: Filter, statuses: frozenset[Status]) -> None:
    wanted = filter.statuses & statuses if filter.statuses else statuses
    expected = shelf.expected(replace(filter, statuses=wanted))
    assert shelf.runner.run(shelf.store.reads.count(filter, statuses)) == (len(expected) if wanted else 0)


@pytest.mark.parametrize("limit", [3, 1000])
def test_a_search_for_text_goes_on_from_page_to_page_and_looks_only_so_far_back_for_each(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch, limit: int
) -> None:
    monkeypatch.setattr(reads, "SEARCHED", 100)
    for filter in (
        Filter(text="No. 7 "),
        Filter(error="KeyError", action="a", tag="red"),
        Filter(text="gone", created_before=NOON + SPAN // 2),
    ):
        assert shelf.runner.run(shelf.paged(filter, limit, None)) == shelf.expected(filter)
    page = shelf.runner.run(shelf.store.reads.find(Filter(text="gone"), limit=limit))
    assert page == Page([], Cursor(COUNT - 99))


async def test_the_times_of_a_filter_include_the_first_and_leave_out_the_last(store: Store) -> None:
    await fill(store, [new_task(str(n), created_at=NOON + n) for n in range(5)])

    async def found(after: int | None, before: int | None) -> str:
        page = await store.reads.find(Filter(created_after=after, created_before=before), limit=10)
        return "".join(task.id for task in page.tasks)

    assert await found(NOON + 2, None) == "432"
    assert await found(None, NOON + 2) == "10"
    assert await found(NOON + 1, NOON + 3) == "21"
    assert await found(NOON + 2, NOON + 2) == ""
    assert await found(NOON + 3, NOON + 1) == ""
    assert await found(NOON + 5, None) == await found(None, NOON) == ""


def engine_on(database: Path) -> contextlib.AbstractAsyncContextManager[SqliteEngine]:
    return open_sqlite(database, QUERIES, balance, timeout=5, clock=now_ms, committed=lambda *_: None)


async def test_a_page_of_a_status_has_no_task_that_has_left_it_meanwhile(
    store: Store, database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The page's tasks are found, then read: what changes in between must not be told under a wrong filter."""
    await fill(store, [new_task(str(n)) for n in range(3)])

    class Meanwhile(SqliteEngine):
        """Reads, but for what happens before that."""

        async def read(self, query: str, **values: Any) -> list[Row]:
            if query == "page":
                await store.write(verbs.cancel, "1")
            return await super().read(query, **values)

    monkeypatch.setattr("taskqueue.store.engine.sqlite.engine.SqliteEngine", Meanwhile)
    async with engine_on(database) as engine:
        page = await Reads(engine).find(Filter(statuses=frozenset({Status.PENDING})), limit=3)
    assert [task.id for task in page.tasks] == ["2", "0"]


async def test_room_is_made_before_what_is_large_is_read(store: Store) -> None:
    asked: list[int] = []

    async def make_room(size: int) -> None:
        asked.append(size)
        await store.write(verbs.cancel, "large")  # whatever happens until there is room

    small, large = "é" * (LARGE // 2), "é" * (LARGE // 2) + "x"
    await submitted(store, "small", payload=small)
    await submitted(store, "large", payload=large)
    assert [(await store.reads.get(id, make_room)) is None for id in ("small", "none")] == [False, True]
    assert [task.id for task in (await store.reads.find(limit=1, cursor=Cursor(2), make_room=make_room)).tasks]
    assert not asked

    task = await store.reads.get("large", make_room)
    assert task is not None
    assert (task.payload, task.status, asked.pop()) == (large, Status.CANCELLED, LARGE + 1)
    page = await store.reads.find(limit=10, make_room=make_room)
    assert [task.payload for task in page.tasks] == [large, small]
    assert asked == [2 * LARGE + 1]
    page = await store.reads.find(limit=10, max_bytes=LARGE + 1, make_room=make_room)
    assert ([task.id for task in page.tasks], asked[1:]) == (["large"], [LARGE + 1])
    assert page.next is not None
    assert [task.id for task in (await store.reads.find(limit=10, cursor=page.next)).tasks] == ["small"]


async def test_an_outline_has_all_but_what_is_large(store: Store) -> None:
    await submitted(store, "small", payload='{"x":1}', tags=("a",))
    await submitted(store, "large", payload="x" * (LARGE + 1), tags=("a",))
    for id in ("small", "large"):
        whole, outline = await store.reads.get(id), await store.reads.outline(id)
        assert whole is not None
        assert outline == (whole if id == "small" else replace(whole, payload="", result=None))
    assert await store.reads.outline("none") is None


async def test_a_page_goes_on_where_its_tasks_are_deleted_meanwhile(
    store: Store, database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for n in range(3):
        await submitted(store, str(n))
        await store.write(verbs.cancel, str(n))

    class Meanwhile(SqliteEngine):
        async def read(self, query: str, **values: Any) -> list[Row]:
            if query == "sizes":
                for n in (1, 2):
                    await store.write(verbs.delete, str(n))
            return await super().read(query, **values)

    monkeypatch.setattr("taskqueue.store.engine.sqlite.engine.SqliteEngine", Meanwhile)
    async with engine_on(database) as engine:
        page = await Reads(engine).find(limit=2)
        assert (page.tasks, page.next is not None) == ([], True)
        page = await Reads(engine).find(limit=2, cursor=page.next)
    assert [task.id for task in page.tasks] == ["0"]


def test_an_older_sqlite_is_given_the_bytes_of_a_text(connection: Connection) -> None:
    asked = "SELECT octet_length('é€'), octet_length(''), octet_length(NULL)"
    expected = tuple(connection.execute(asked).fetchone())
    add_octet_length(connection)
    assert tuple(connection.execute(asked).fetchone()) == expected == (5, 0, None)


# Without a filter, and by a status alone


async def test_the_newest_tasks_come_newest_first(store: Store) -> None:
    for n in range(5):
        await submitted(store, str(n), created_at=NOON - n)
    assert [task.id for task in (await store.reads.find(limit=3)).tasks] == ["4", "3", "2"]
    assert [task.id for task in (await store.reads.find(limit=99)).tasks] == ["4", "3", "2", "1", "0"]


@pytest.mark.parametrize("status", Status)
async def test_the_newest_tasks_of_a_status_are_told(store: Store, status: Status) -> None:
    await submitted(store, "pending")
    await queued(store, "queued")
    await running(store, "running")
    await store.write(verbs.complete, await running(store, "completed"), "{}")
    await store.write(verbs.fail, await running(store, "failed"), Outcome.ERROR, ERROR)
    await submitted(store, "cancelled")
    await store.write(verbs.cancel, "cancelled")
    page = await store.reads.find(Filter(statuses=frozenset({status})), limit=10)
    assert [task.id for task in page.tasks] == [status]


async def test_a_read_sees_what_was_written_before(store: Store) -> None:
    for n in range(20):
        await submitted(store, str(n))
        assert await store.reads.get(str(n)) is not None


# Under load

MANY = 100_000


@pytest.fixture
async def other(database: Path) -> AsyncIterator[Store]:
    """Another process's store."""
    async with open_store(database, write_timeout=20) as store:
        yield store


async def test_paging_100000_tasks_under_load_shows_each_that_was_there_exactly_once(
    database: Path, other: Store
) -> None:
    async with open_store(database, write_timeout=20) as store:
        await fill(store, [new_task(str(n), action="ab"[n % 2]) for n in range(MANY)])
        await beat(other, "w")
        stop = asyncio.Event()
        done = {"added": 0, "finished": 0}
        ids = random.Random(7).sample(range(MANY), MANY)

        async def add() -> None:
            while not stop.is_set():
                await fill(other, [new_task(f"new {done['added'] + n}", action="a") for n in range(50)])
                done["added"] += 50
                await asyncio.sleep(0.01)

        async def finish() -> None:
            while not stop.is_set():
                claim = await claimed(other, str(ids.pop()))
                await other.write(verbs.complete, claim, "{}")
                done["finished"] += 1
                await asyncio.sleep(0.005)

        async with asyncio.TaskGroup() as group:
            group.create_task(add())
            for _ in range(3):
                group.create_task(finish())
            everything, page = [], await store.reads.find(limit=1000)
            while True:
                everything += page.tasks
                if page.next is None:
                    break
                page = await store.reads.find(limit=1000, cursor=page.next)
            of_b = [task async for task in pages(store, Filter(action="b"))]
            stop.set()
    old = [task.id for task in everything if not task.id.startswith("new")]
    assert len(old) == len(set(old)) == MANY
    assert [task.id for task in of_b] == [str(n) for n in range(MANY - 1, 0, -2)]
    # Otherwise this was no load.
    assert done["added"] > 500
    assert done["finished"] > 50


async def pages(store: Store, filter: Filter) -> AsyncIterator[Task]:
    cursor = None
    while True:
        page = await store.reads.find(filter, limit=1000, cursor=cursor)
        for task in page.tasks:
            yield task
        if page.next is None:
            return
        cursor = page.next


#: A statement that never ends by itself.
ENDLESS = "WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers) SELECT max(n) FROM numbers"


@pytest.mark.parametrize("begun", [True, False])
async def test_a_search_ends_when_its_caller_gives_up(store: Store, database: Path, begun: bool) -> None:
    async with engine_on(database) as engine, asyncio.timeout(PATIENCE):
        waiting = [asyncio.create_task(engine.search(ENDLESS, {})) for _ in range(3)]
        await asyncio.sleep(0.1 if begun else 0)
        assert await engine.read("get", id="x", most=0) == [], "what is read at once doesn't wait for it"
        assert await engine.count("SELECT 1 AS one", {}), "nor does what counts"
        for search in waiting:
            search.cancel()
        await asyncio.wait(waiting)
        assert await engine.search("SELECT seq FROM task", {}) == []


async def test_a_search_that_takes_too_long_is_ended(
    store: Store, database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "_LONGEST_SEARCH", 0.1)
    async with engine_on(database) as engine, asyncio.timeout(PATIENCE):
        with pytest.raises(StoreUnavailableError, match="longer than"):
            await engine.search(ENDLESS, {})
        assert await engine.search("SELECT seq FROM task", {}) == []
