"""What a task costs the database, from its POST to its result: commits, statements, changed rows, index entries.

Speed is measured elsewhere; here is what must not grow unnoticed.
"""

import asyncio
import contextlib
import re
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.conformance.waiting import eventually
from tests.integration.store.given import LEASE, beat, claimed, claiming, looking, new_task, stored
from tests.integration.system import System, quick_settings

from taskqueue import intake
from taskqueue.store import Store, open_store, verbs
from taskqueue.store.engine.sqlite import engine
from taskqueue.store.engine.sqlite.connection import Connection, connect
from taskqueue.task import Claim, Status
from taskqueue.telemetry import WorkerStarted
from taskqueue_migrate.runner import migrate

MANY = 40
#: Statements beside those of the writes: BEGIN, COMMIT, and what the ledger writes.
OF_A_TRANSACTION = 7


class Trace:
    """What connections that write do, by transaction."""

    def __init__(self) -> None:
        self.transactions: list[list[str]] = []
        #: Of each transaction, the places of the tasks whose rows it changed, as often as it did.
        self.changes: list[list[int]] = []

    def that_ran(self, beginning: str) -> list[list[str]]:
        """The transactions with a statement that begins so."""
        return [
            statements
            for statements in self.transactions
            if any(re.match(beginning, statement) for statement in statements)
        ]


class Traced:
    """A connection that tells what it does."""

    def __init__(self, connection: Connection, trace: Trace) -> None:
        self._connection = connection
        self._trace = trace
        self._statements: list[str] = []
        self._changes: list[int] = []
        connection.create_function("changed", 1, self._change)
        for verb in ("INSERT", "UPDATE"):
            connection.execute(
                f"CREATE TEMP TRIGGER after_{verb} AFTER {verb} ON task BEGIN SELECT changed(NEW.seq); END"
            )

    def _change(self, seq: int) -> None:
        self._changes.append(seq)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    def execute(self, sql: str, *values: Any) -> Any:
        self._statements.append(sql)
        try:
            return self._connection.execute(sql, *values)
        finally:
            if not self._connection.in_transaction:
                if sql == "COMMIT":
                    self._trace.transactions.append(self._statements)
                    self._trace.changes.append(self._changes)
                self._statements, self._changes = [], []


NEW = r"INSERT INTO task \("
CLAIM = r"UPDATE task\s+SET status = 'running'"
COMPLETE = r"UPDATE task\s+SET status = 'completed'"


@pytest.fixture
def trace(monkeypatch: pytest.MonkeyPatch) -> Trace:
    trace = Trace()

    monkeypatch.setattr(engine, "connect", lambda path, **options: Traced(connect(path, **options), trace))
    return trace


@pytest.fixture(autouse=True)
def short_queue(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tasks are claimed before their leases are taken off, however slow this machine is."""
    monkeypatch.setattr(intake, "GATHERING", 60)


def settings_of(folder: Path) -> Any:
    """Without what workers do now and then."""
    return quick_settings(folder, relay_interval=60, lease=60, reconcile_after=3600)


async def all_completed(system: System, count: int) -> bool:
    page = await system.store.reads.find(limit=1000)
    return [task.status for task in page.tasks] == [Status.COMPLETED] * count


# From the POST to the result


@contextlib.asynccontextmanager
async def at_work(folder: Path, consumers: int) -> AsyncIterator[System]:
    """A system whose worker has looked for what was left, and waits."""
    async with System.open(settings_of(folder)) as system:
        started = asyncio.Event()
        system.telemetry.listen(lambda it: started.set() if isinstance(it, WorkerStarted) else None)
        async with system.worker(consumers=consumers):
            await started.wait()
            await asyncio.sleep(0)
            await system.store.write(lambda tx: None)  # after what it has enqueued
            yield system


async def test_a_task_changes_its_row_three_times_and_tells_three_events(tmp_path: Path, trace: Trace) -> None:
    async with at_work(tmp_path, consumers=2) as system:
        await asyncio.gather(*(system.submit("uppercase", {"text": "x"}) for _ in range(MANY)))
        await eventually(lambda: all_completed(system, MANY))
    changes = Counter(seq for changed in trace.changes for seq in changed)
    assert changes == dict.fromkeys(range(1, MANY + 1), 3)
    events = stored(system.settings.database, "SELECT task_seq FROM events")
    assert Counter(row["task_seq"] for row in events) == changes
    assert stored(system.settings.database, "SELECT * FROM attempts") == []


async def test_submissions_that_come_together_share_commits(tmp_path: Path, trace: Trace) -> None:
    async with System.open(settings_of(tmp_path)) as system:
        await asyncio.gather(*(system.submit("uppercase", {"text": "x"}) for _ in range(MANY)))
    assert 0 < len(trace.that_ran(NEW)) < MANY / 2


async def test_an_outcome_and_the_next_claim_share_a_commit(tmp_path: Path, trace: Trace) -> None:
    """So that a task of a busy system costs one commit that it shares with its batch, and one for its work."""
    tasks = [{"action": "uppercase", "data": {"text": "x"}}] * MANY
    async with at_work(tmp_path, consumers=1) as system:
        assert (await system.post("/tasks/batch", json={"tasks": tasks})).status == 202
        await eventually(lambda: all_completed(system, MANY))
    assert len(trace.that_ran(NEW)) == 1
    assert len(trace.that_ran(f"{CLAIM}|{COMPLETE}")) == MANY + 1
    assert sum(map(bool, trace.changes)) == 1 + MANY + 1, "and nothing else changes a task"


# The statements of a transaction of many


@pytest.fixture
async def store(tmp_path: Path, trace: Trace) -> Any:
    migrate(tmp_path / "tasks.db")
    async with open_store(tmp_path / "tasks.db", write_timeout=20) as store:
        await beat(store, "w")
        yield store


async def submit_many(store: Store) -> list[int]:
    return await asyncio.gather(
        *(store.write(verbs.submit, new_task(str(n)), f"{n}.0", LEASE) for n in range(MANY))
    )


async def claim_many(store: Store) -> list[Claim]:
    claims = await asyncio.gather(*(store.write(claiming, str(n), "w") for n in range(MANY)))
    return [claim for claim in claims if isinstance(claim, Claim)]


@pytest.mark.parametrize(
    ("what", "each"), [("submit", 1), ("claim", 2), ("complete", 1), ("complete and claim", 3), ("settle", 0)]
)
async def test_a_transaction_of_many_tasks_costs_a_bounded_number_of_statements_beside_one_or_two_a_write(
    store: Store, trace: Trace, what: str, each: int
) -> None:
    seqs = await submit_many(store)
    if what in {"complete", "complete and claim"}:
        claims = await claim_many(store)
    if what == "complete and claim":
        for n in range(MANY):
            await store.write(verbs.submit, new_task(f"next {n}"), f"next {n}.0", LEASE)
    before = len(trace.transactions)
    match what:
        case "submit":
            before -= 1
        case "claim":
            assert len(await claim_many(store)) == MANY
        case "complete":
            await asyncio.gather(*(store.write(verbs.complete, claim, "{}") for claim in claims))
        case "complete and claim":
            writes = []
            for n, claim in enumerate(claims):
                writes.append(store.write(verbs.complete, claim, "{}"))
                writes.append(store.write(claiming, f"next {n}", "w"))
            await asyncio.gather(*writes)
        case "settle":
            await store.write(verbs.settle, [(seq, f"{n}.0") for n, seq in enumerate(seqs)])
    [transaction] = trace.transactions[before:]
    assert each * MANY < len(transaction) <= each * MANY + OF_A_TRANSACTION, transaction[:5]


# Index entries


def entries(connection: Connection, table: str, seq: str) -> dict[str, set[tuple[Any, ...]]]:
    """What each index has of a task."""
    found = {}
    for index in connection.execute(f"PRAGMA index_list({table})").fetchall():
        columns = [row["name"] for row in connection.execute(f"PRAGMA index_info({index['name']})")]
        [sql] = connection.execute("SELECT sql FROM sqlite_schema WHERE name = ?", (index["name"],)).fetchone()
        where = re.search(r"\bWHERE\b(.*)", sql or "", re.DOTALL)
        condition = where[1] if where else "true"
        rows = connection.execute(
            f"SELECT {', '.join(columns)}, rowid FROM {table} WHERE {seq} = 1 AND ({condition})"
        )
        found[index["name"]] = set(map(tuple, rows))
    return found


async def test_a_task_costs_at_most_nineteen_index_entries(store: Store, tmp_path: Path) -> None:
    """Written or taken away: those of its row, and of its events."""
    connection = looking(tmp_path / "tasks.db")
    costs: Counter[str] = Counter()
    present: dict[str, set[tuple[Any, ...]]] = {}

    def count() -> None:
        nonlocal present
        now = entries(connection, "task", "seq") | entries(connection, "events", "task_seq")
        for name in now:
            costs[name] += len(now[name] ^ present.get(name, set()))
        present = now

    await store.write(verbs.submit, new_task(), "t.0", LEASE)
    count()
    claim = await claimed(store)
    count()
    await store.write(verbs.complete, claim, "{}")
    count()
    connection.close()
    assert +costs == {
        "sqlite_autoindex_task_1": 1,
        "task_by_status": 5,
        "task_by_action": 5,
        "task_queued": 2,
        "task_leased": 2,
        "task_by_worker": 2,
        "task_by_end": 1,
        "events_of_ends": 1,
    }
    assert costs.total() == 19
