"""What has been kept long enough is deleted, and its room is used again or given back."""

import asyncio
import contextlib
import os
import shutil
import subprocess
import sysconfig
from collections.abc import AsyncIterator, Callable, Iterable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from tests.conformance.waiting import eventually
from tests.integration.store.given import (
    beat,
    claimed,
    claiming,
    looking,
    new_task,
    published,
    queued,
    running,
    stored,
    submitted,
)
from tests.integration.system import System, quick_settings

from taskqueue.settings import Settings
from taskqueue.store import Cursor, Filter, IdempotentRequest, Store, now_ms, open_store, verbs
from taskqueue.store.idempotency import keep_answer
from taskqueue.task import NewTask, Outcome, Status
from taskqueue.telemetry import Committed, Telemetry
from taskqueue_migrate.runner import migrate
from taskqueue_migrate.shrink import shrink
from taskqueue_worker import worker
from taskqueue_worker.retention import Retention

DAY = 86_400_000


class Past:
    """A clock that shows the present minus some days."""

    def __init__(self) -> None:
        self.days = 0.0

    def __call__(self) -> int:
        return now_ms() - round(self.days * DAY)


@pytest.fixture
def past() -> Past:
    return Past()


@pytest.fixture
def telemetry() -> Telemetry:
    return Telemetry()


@pytest.fixture
async def store(tmp_path: Path, past: Past, telemetry: Telemetry) -> AsyncIterator[Store]:
    settings = quick_settings(tmp_path)
    migrate(settings.database)
    async with open_store(settings.database, write_timeout=20, telemetry=telemetry, clock=past) as store:
        yield store


@pytest.fixture
def prune(store: Store, tmp_path: Path) -> Callable[..., Any]:
    async def prune(**values: Any) -> set[str]:
        """What is left, after a sweep with these settings."""
        await Retention(quick_settings(tmp_path, **values), store, Telemetry()).prune()
        return {row["id"] for row in stored(database(tmp_path))}

    return prune


def database(folder: Path) -> Path:
    return quick_settings(folder).database


async def ended(store: Store, past: Past, id: str, status: str, days: float) -> None:
    """A task that came to this status so many days ago, with a tag and (but for a cancelled one) two attempts."""
    past.days = days
    await submitted(store, id, run_at=0, created_at=past(), tags=("tag",))
    if status == "cancelled":
        await store.write(verbs.cancel, id)
    else:
        await beat(store, "w")
        await store.write(verbs.back_off, await claimed(store, id), Outcome.ERROR, "{}", 0)
        claim = await claimed(store, id)
        if status == "completed":
            await store.write(verbs.complete, claim, "{}")
        elif status == "failed":
            await store.write(verbs.fail, claim, Outcome.ERROR, "{}")
    past.days = 0


async def submit_all(store: Store, tasks: Iterable[NewTask]) -> None:
    await asyncio.gather(*(store.write(verbs.submit, task) for task in tasks))


async def test_what_is_kept_is_a_setting_for_each_end(store: Store, past: Past, prune: Any) -> None:
    for status in ("completed", "failed", "cancelled"):
        for days in (1, 8, 31):
            await ended(store, past, f"{status} {days}", status, days)
    assert await prune() == {"completed 1", "failed 1", "failed 8", "cancelled 1", "cancelled 8"}
    assert await prune(keep_failed=5 * 86_400) == {"completed 1", "failed 1", "cancelled 1", "cancelled 8"}
    assert await prune(keep_cancelled=0.5 * 86_400) == {"completed 1", "failed 1"}
    assert await prune(keep_completed=0.5 * 86_400) == {"failed 1"}


async def test_zero_keeps_for_ever(store: Store, past: Past, prune: Any) -> None:
    for status in ("completed", "failed", "cancelled"):
        await ended(store, past, status, status, 5000)
    assert await prune(keep_completed=0, keep_failed=0, keep_cancelled=0) == {"completed", "failed", "cancelled"}
    assert await prune(keep_completed=0, keep_cancelled=0) == {"completed", "cancelled"}


async def test_what_is_not_final_is_kept_however_old(store: Store, past: Past, prune: Any) -> None:
    past.days = 5000
    old = {"run_at": 0, "created_at": past()}
    await submitted(store, "pending", **old)
    await published(store, "published", **old)
    await queued(store, "queued", **old)
    await beat(store, "w")
    await running(store, "running", **old)
    await submitted(store, "again", **old)
    await store.write(verbs.cancel, "again")
    past.days = 0
    assert await store.write(verbs.retry, "again")
    assert await prune(keep_completed=1, keep_failed=1, keep_cancelled=1) == {
        "pending",
        "published",
        "queued",
        "running",
        "again",
    }


async def test_a_pruned_task_leaves_nothing_behind(store: Store, past: Past, prune: Any, tmp_path: Path) -> None:
    await ended(store, past, "old", "completed", 8)
    await ended(store, past, "young", "completed", 1)
    assert await prune() == {"young"}
    [seq] = [row["seq"] for row in stored(database(tmp_path))]
    for table in ("attempts", "task_tags"):
        assert [row["task_seq"] for row in stored(database(tmp_path), f"SELECT * FROM {table}")] == [seq]
    assert (await store.reads.overview(since_minute=0, now=now_ms(), actions=1)).by_status[Status.COMPLETED] == 1


def counted(telemetry: Telemetry, folder: Path, table: str) -> list[int]:
    """How many rows there are, now and after each commit."""
    counts: list[int] = []

    def count() -> None:
        [row] = stored(database(folder), f"SELECT count(*) AS n FROM {table}")
        counts.append(row["n"])

    count()
    telemetry.listen(lambda happening: count() if isinstance(happening, Committed) else None)
    return counts


def assert_in_slices(counts: list[int]) -> None:
    """All was deleted, and never so much at once that other writers wait for long."""
    assert counts[-1] == 0
    assert max(before - after for before, after in pairwise(counts)) <= 500


async def test_any_number_is_pruned_in_slices(
    store: Store, past: Past, prune: Any, telemetry: Telemetry, tmp_path: Path
) -> None:
    past.days = 31
    await submit_all(store, [new_task(str(n), created_at=past()) for n in range(1200)])
    await asyncio.gather(*(store.write(verbs.cancel, str(n)) for n in range(1200)))
    past.days = 0
    counts = counted(telemetry, tmp_path, "task")
    assert await prune() == set()
    assert counts[0] == 1200
    assert_in_slices(counts)


async def test_time_ranges_are_pruned_with_their_last_task(
    store: Store, past: Past, prune: Any, tmp_path: Path
) -> None:
    def ranges() -> list[int]:
        return [row["range"] for row in stored(database(tmp_path), "SELECT range FROM created_ranges")]

    async def found(days: float) -> set[str]:
        """The tasks that were accepted in so many days."""
        filter = Filter(created_after=now_ms() - round(days * DAY))
        return {id for _, id in await store.reads.find_ids(filter, await store.reads.first_page(filter), limit=10)}

    past.days = 31
    await submit_all(store, [new_task(str(n), created_at=past()) for n in range(2100)])
    await asyncio.gather(*(store.write(verbs.cancel, str(n)) for n in range(2100) if n != 1500))
    past.days = 0
    assert ranges() == [0, 1, 2]
    assert await prune() == {"1500"}
    assert ranges() == [1]
    assert (await found(32), await found(30)) == ({"1500"}, set())
    await store.write(verbs.cancel, "1500")
    assert await store.write(verbs.delete, "1500")
    assert await prune() == set()
    assert ranges() == []
    await submitted(store, "new", created_at=past())
    assert ranges() == [2]
    assert await found(1) == {"new"}
    # Found empty, and taken into use again by now.
    assert await store.write(lambda tx: tx.change("prune_ranges", ranges="[2]")) == 0


async def test_two_workers_that_prune_at_once_are_harmless(store: Store, past: Past, tmp_path: Path) -> None:
    past.days = 31
    await submit_all(store, [new_task(str(n), created_at=past()) for n in range(700)])
    await asyncio.gather(*(store.write(verbs.cancel, str(n)) for n in range(700)))
    past.days = 0
    async with open_store(database(tmp_path), write_timeout=20) as other:
        settings = quick_settings(tmp_path)
        await asyncio.gather(*(Retention(settings, each, Telemetry()).prune() for each in (store, other, store)))
    assert stored(database(tmp_path)) == []
    overview = await store.reads.overview(since_minute=0, now=now_ms(), actions=1)
    assert overview.by_status[Status.CANCELLED] == 0


async def test_events_keys_and_counters_are_kept_for_their_times(
    store: Store, past: Past, prune: Any, tmp_path: Path
) -> None:
    past.days = 2
    await submitted(store, "old", created_at=past())
    await store.write(keep_answer, IdempotentRequest("old", "f", 0), "{}")
    past.days = 0
    new = await submitted(store, "new", created_at=past())
    await store.write(keep_answer, IdempotentRequest("new", "f", 0), "{}")
    await prune()
    assert [row["key"] for row in stored(database(tmp_path), "SELECT key FROM idempotency_keys")] == ["new"]
    assert [row["task_seq"] for row in stored(database(tmp_path), "SELECT task_seq FROM events")] == [new]
    for table in ("minute_counts", "span_counts"):
        assert stored(database(tmp_path), f"SELECT sum(tasks) AS n FROM {table}") == [{"n": 1}]
    [row] = stored(database(tmp_path), "SELECT * FROM minute_counts")
    assert abs(row["minute"] - now_ms() // 60_000) <= 1
    await prune(keep_events=1_000_000, idempotency_keep=1_000_000)
    assert len(stored(database(tmp_path), "SELECT * FROM events")) == 1
    connection = looking(database(tmp_path))
    connection.execute("UPDATE events SET at = at - 5000")
    connection.execute("UPDATE idempotency_keys SET created_at = created_at - 5000")
    connection.close()
    await prune(keep_events=4, idempotency_keep=4)
    for table in ("events", "idempotency_keys"):
        assert stored(database(tmp_path), f"SELECT * FROM {table}") == []


async def test_a_clock_that_is_set_back_a_little_takes_no_events_along(
    store: Store, past: Past, prune: Any, tmp_path: Path
) -> None:
    old = await submitted(store, "old", created_at=past())
    past.days = -0.1
    ahead = await submitted(store, "ahead", created_at=past())
    past.days = 0
    await prune(keep_events=86_400)
    kept = [row["task_seq"] for row in stored(database(tmp_path), "SELECT task_seq FROM events ORDER BY seq")]
    assert kept == [old, ahead]
    # From a time that is far away, they would be kept until then.
    await prune(keep_events=3600)
    assert stored(database(tmp_path), "SELECT * FROM events") == []


@pytest.mark.parametrize("table", ["minute_counts", "minute_times"])
async def test_counters_of_any_number_of_actions_are_pruned_in_slices(
    store: Store, past: Past, prune: Any, telemetry: Telemetry, tmp_path: Path, table: str
) -> None:
    past.days = 2
    await submit_all(store, [new_task(str(n), action=f"a{n}", run_at=0, created_at=past()) for n in range(600)])
    await beat(store, "w")
    await asyncio.gather(*(store.write(claiming, str(n), "w") for n in range(600)))
    past.days = 0
    counts = counted(telemetry, tmp_path, table)
    await prune()
    assert counts[0] == 600
    assert_in_slices(counts)


async def test_event_ids_are_never_used_again_after_all_were_pruned(store: Store) -> None:
    await submitted(store, "a")
    _, last = await store.reads.event_range()
    await store.bulk.prune("events", before=2**60)
    assert await store.reads.event_range() == (last + 1, last)
    await submitted(store, "b")
    assert await store.reads.event_range() == (last + 1, last + 1)


async def test_a_worker_prunes_from_its_start_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "PRUNE_INTERVAL", 0.1)
    async with System.open(quick_settings(tmp_path, keep_completed=0.2)) as system, system.worker():
        for _ in range(2):
            id = await system.submit("uppercase", {"text": "x"})

            async def gone(id: str = id) -> bool:
                return (await system.get(f"/tasks/{id}")).status == 404

            await eventually(gone)


# Room


def size(path: Path) -> int:
    return path.stat().st_size


async def fill(store: Store, count: int, prefix: str) -> None:
    await submit_all(store, [new_task(f"{prefix}{n}", payload='{"x":"' + "x" * 2000 + '"}') for n in range(count)])


async def delete_all(store: Store) -> None:
    for verb in ("cancel", "delete"):
        await store.bulk.apply_to_all(verb, Filter(), await store.reads.first_page(Filter()))
    await store.bulk.prune("events", before=2**60)


def pages(path: Path, what: str) -> int:
    with contextlib.closing(looking(path)) as connection:
        return int(connection.execute(f"PRAGMA {what}").fetchone()[0])


async def test_the_room_of_what_was_deleted_is_used_again(store: Store, tmp_path: Path) -> None:
    await fill(store, 1000, "a")
    await delete_all(store)
    before = pages(database(tmp_path), "page_count")
    await fill(store, 900, "b")
    assert pages(database(tmp_path), "page_count") <= before * 1.02


async def test_free_room_is_given_back_while_others_read_and_write(store: Store, tmp_path: Path) -> None:
    path = database(tmp_path)
    await fill(store, 3000, "a")
    await submitted(store, "kept")
    with contextlib.closing(looking(path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(PASSIVE)")
    large = size(path)
    await delete_kept(store)
    stop = asyncio.Event()

    async def write() -> int:
        count = 0
        while not stop.is_set():
            await submitted(store, f"meanwhile {count}")
            assert await store.reads.get("kept") is not None
            count += 1
        return count

    writing = asyncio.create_task(write())
    given_back = await asyncio.to_thread(shrink, path)
    stop.set()
    written = await writing
    assert given_back > large / 2
    assert size(path) < large / 2
    assert written > 0
    assert pages(path, "freelist_count") < 100
    with contextlib.closing(looking(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
    assert len(stored(path)) == written + 1


async def delete_kept(store: Store) -> None:
    """All but the one that is kept."""
    [kept] = (await store.reads.find(limit=1)).tasks
    assert kept.id == "kept"
    for verb in ("cancel", "delete"):
        await store.bulk.apply_to_all(verb, Filter(), Cursor(before=3001))
    await store.bulk.prune("events", before=2**60)


async def test_there_is_nothing_to_give_back_of_a_full_file(store: Store, tmp_path: Path) -> None:
    await fill(store, 10, "a")
    assert shrink(database(tmp_path)) == 0
    assert len(stored(database(tmp_path))) == 10


def run_shrink(folder: Path) -> subprocess.CompletedProcess[str]:
    command = shutil.which("taskqueue-migrate", path=sysconfig.get_path("scripts"))
    assert command
    return subprocess.run(
        [command, "shrink"],
        env=os.environ | {"TASKQUEUE_DATA_DIR": str(folder), "TASKQUEUE_LOG_FORMAT": "text"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


async def test_the_command_says_how_much_it_gave_back(store: Store, tmp_path: Path) -> None:
    await fill(store, 500, "a")
    await delete_all(store)
    free = pages(database(tmp_path), "freelist_count")
    ended = await asyncio.to_thread(run_shrink, tmp_path)
    assert ended.returncode == 0, ended.stderr
    assert f"gave {free * pages(database(tmp_path), 'page_size')} bytes back" in ended.stderr


async def test_the_command_without_a_database_exits_1_with_one_line(tmp_path: Path) -> None:
    ended = await asyncio.to_thread(run_shrink, tmp_path)
    assert ended.returncode == 1
    [line] = ended.stderr.splitlines()
    assert "run taskqueue-migrate" in line


def test_the_defaults_keep_completed_tasks_a_week_and_others_a_month() -> None:
    settings = Settings()
    assert (settings.keep_completed, settings.keep_failed, settings.keep_cancelled) == (
        7 * 86_400,
        30 * 86_400,
        30 * 86_400,
    )
