"""`GET /overview`: how it stands, what happened in a window, and what needs attention."""

import asyncio
import contextlib
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.conformance.waiting import eventually
from tests.integration.store.given import looking, machine_steps
from tests.integration.system import System
from tests.integration.test_store_away import lose_its_tables

from taskqueue.broker import BrokerState
from taskqueue.broker.memory import MemoryBroker
from taskqueue.store import now_ms
from taskqueue.task import Status
from taskqueue_api.live import overview
from taskqueue_api.live.attention import RECENT, Seen, concerns

QUIET = Seen(
    backlog=0,
    oldest_waiting=None,
    workers=1,
    unknown={},
    counts=[(1, "a", "completed", 9)],
    max_backlog=0,
    waiting=0,
)


@pytest.fixture(autouse=True)
def never_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """But for the test of that, each answer is read anew."""
    for name, window in overview.WINDOWS.items():
        monkeypatch.setitem(overview.WINDOWS, name, replace(window, fresh=0))


async def told(system: System, window: str = "1h") -> dict[str, Any]:
    answer = await system.get(f"/overview?window={window}")
    assert answer.status == 200, answer
    assert answer.body["window"] == window
    return dict(answer.body)


@pytest.mark.parametrize(("window", "points", "width"), [("1h", 61, 60), ("24h", 97, 900), ("7d", 85, 7200)])
async def test_a_window_has_a_point_for_each_of_its_parts(
    system: System, window: str, points: int, width: int
) -> None:
    async with system.worker():
        await system.until(await system.submit("uppercase", {"text": "x"}))
        await system.until(await system.submit("refuse"))
    await system.submit("x", delay=1000)
    answer = await told(system, window)
    assert answer["width"] == width
    ats = [point["at"] for point in answer["points"]]
    assert ats == list(range(ats[0], ats[0] + points * width, width))
    assert ats[-1] <= answer["at"] < ats[-1] + width
    for what, count in {"accepted": 3, "completed": 1, "failed": 1, "cancelled": 0}.items():
        assert sum(point[what] for point in answer["points"]) == count
    assert list(answer["actions"]) == ["refuse", "uppercase", "x"]
    assert sum(answer["actions"]["uppercase"]["ended"]) == 1
    assert len(answer["actions"]["x"]["ended"]) == points
    assert answer["run"]["p95"] is not None
    assert any(point["run"]["p95"] is not None for point in answer["points"])
    assert answer["tasks"]["pending"] == 1
    assert answer["backlog"] == 0, "it is not due"


async def test_without_a_window_it_is_the_last_hour_and_others_are_refused(system: System) -> None:
    assert (await system.get("/overview")).body["window"] == "1h"
    for query in ("window=2h", "window=", "minutes=5"):
        assert (await system.get(f"/overview?{query}")).status == 400


async def test_a_backlog_tells_how_long_it_takes(system: System) -> None:
    await system.submit("x")
    assert (await told(system))["drains_in"] is None
    with contextlib.closing(looking(system.settings.database)) as connection:
        minute = now_ms() // 60_000 - 1
        connection.execute("INSERT INTO minute_counts VALUES (?, 'x', 'completed', 600)", (minute,))
    answer = await told(system)
    assert answer["backlog"] == 1
    assert answer["drains_in"] == pytest.approx(1)


async def test_it_is_read_once_for_all_who_look(system: System, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(overview.WINDOWS, "1h", replace(overview.WINDOWS["1h"], fresh=60))
    reads = 0
    standing = system.store.reads.standing

    async def counted(now: int) -> Any:
        nonlocal reads
        reads += 1
        return await standing(now)

    monkeypatch.setattr(system.store.reads, "standing", counted)
    answers = await asyncio.gather(*(told(system) for _ in range(20)))
    assert reads == 1
    assert all(answer == answers[0] for answer in answers)


async def test_a_store_that_can_not_be_read_is_said(system: System) -> None:
    assert (await system.get("/overview")).status == 200
    lose_its_tables(system.settings.database)
    answer = await system.get("/overview")
    assert (answer.status, answer.body) == (503, {"error": "database unavailable"})


# What needs attention


async def found(seen: Seen, folder: Path, state: BrokerState = BrokerState.CONNECTED) -> list[str]:
    class Broker(MemoryBroker):
        @property
        def state(self) -> BrokerState:
            return state

    return [each.concern for each in await concerns(seen, Broker(), folder)]


async def test_nothing_needs_attention_where_all_is_well(tmp_path: Path) -> None:
    assert await found(QUIET, tmp_path) == []


@pytest.mark.parametrize(
    ("seen", "concern", "nearly"),
    [
        (replace(QUIET, workers=0), "no_worker", QUIET),
        (
            replace(QUIET, oldest_waiting=301, counts=[(6, "a", "completed", 9)]),
            "nothing_completes",
            replace(QUIET, oldest_waiting=299, counts=[(6, "a", "completed", 9)]),
        ),
        (
            replace(QUIET, oldest_waiting=301, counts=[(6, "a", "completed", 9)]),
            "nothing_completes",
            replace(QUIET, oldest_waiting=301, counts=[(5, "a", "completed", 9)]),
        ),
        (replace(QUIET, unknown={"resize": 3}), "unknown_action", QUIET),
        (
            replace(QUIET, max_backlog=100, waiting=81),
            "backlog_nearly_full",
            replace(QUIET, max_backlog=100, waiting=80),
        ),
        (
            replace(QUIET, counts=[(1, "a", "failed", 5), (1, "a", "completed", 20)]),
            "failures",
            replace(QUIET, counts=[(1, "a", "failed", 4), (1, "a", "completed", 1)]),
        ),
        (
            replace(QUIET, counts=[(1, "a", "failed", 20), (1, "a", "completed", 80)]),
            "failures",
            replace(
                QUIET,
                counts=[
                    (1, "a", "failed", 19),
                    (1, "a", "completed", 81),
                    (RECENT + 1, "a", "failed", 10),
                    (RECENT + 1, "a", "completed", 90),
                ],
            ),
        ),
        (
            replace(QUIET, counts=[(1, "a", "failed", 5), (1, "a", "completed", 95), (20, "a", "completed", 100)]),
            "failures",
            replace(QUIET, counts=[(1, "a", "failed", 5), (1, "a", "completed", 400)]),
        ),
    ],
)
async def test_each_concern_is_told_and_not_a_little_earlier(
    tmp_path: Path, seen: Seen, concern: str, nearly: Seen
) -> None:
    assert await found(seen, tmp_path) == [concern]
    assert await found(nearly, tmp_path) == []


async def test_what_fails_most_is_named(tmp_path: Path) -> None:
    counts = [(1, "a", "failed", 2), (2, "b", "failed", 7), (3, "a", "completed", 1)]
    async with MemoryBroker() as broker:
        [failures] = await concerns(replace(QUIET, counts=counts), broker, tmp_path)
    assert failures.action == "b"
    assert failures.text == (
        "90% of the tasks that ended in the last 10 minutes failed (9); in the rest of the hour 0%. 7 are of 'b'."
    )


async def test_that_there_is_no_worker_is_critical_where_tasks_wait_and_comes_first(tmp_path: Path) -> None:
    seen = replace(QUIET, unknown={"b": 2, "a": 7}, workers=0)
    async with MemoryBroker() as broker:
        assert [each.severity for each in await concerns(seen, broker, tmp_path)] == ["warning"] * 3
        [worst, first, second] = await concerns(replace(seen, backlog=4), broker, tmp_path)
    assert (worst.severity, worst.concern) == ("critical", "no_worker")
    assert (first.action, second.action) == ("a", "b")


@pytest.mark.parametrize(
    ("state", "concern"),
    [(BrokerState.DISCONNECTED, "broker_away"), (BrokerState.BLOCKED, "broker_blocked")],
)
async def test_a_broker_that_takes_nothing_is_told(tmp_path: Path, state: BrokerState, concern: str) -> None:
    assert await found(QUIET, tmp_path, state) == [concern]


async def test_a_disk_that_is_nearly_full_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: whole._replace(total=1000, free=100))
    assert await found(QUIET, tmp_path) == []
    monkeypatch.setattr(shutil, "disk_usage", lambda _: whole._replace(total=1000, free=99))
    assert await found(QUIET, tmp_path) == ["disk_nearly_full"]
    monkeypatch.undo()
    assert await found(QUIET, tmp_path / "gone") == []


async def test_dead_letters_and_actions_that_nobody_knows_are_told_of_a_real_queue(system: System) -> None:
    async def concerned() -> set[str]:
        return {each["concern"] for each in (await told(system))["attention"]}

    assert await concerned() == {"no_worker"}
    await system.broker.publish(b"no task", message_id="x", priority=4, timeout=5)
    async with system.worker():
        await system.submit("nobody-knows-me")

        async def both() -> bool:
            return {"dead_letters", "unknown_action"} <= await concerned()

        await eventually(both)
        assert "no_worker" not in await concerned()
    assert "no_worker" in await concerned()


# Cost


async def test_it_costs_the_same_however_many_tasks_there_are(system: System) -> None:
    """In steps of SQLite's machine, which no load of the computer changes."""

    def steps() -> int:
        minute = now_ms() // 60_000
        values = {"now": now_ms(), "since": minute - 60, "edge": minute - 60, "width": 1, "names": '["x"]'}
        windows = ("window_actions", "window_counts", "window_times", "window_action_times")
        queries = ("due_count", "set_aside_counts", *windows)
        return machine_steps(system.settings.database, queries, values | {"limit": 50})

    tasks = [{"action": "x"}] * 500 + [{"action": "x", "delay": 1000}] * 500
    await system.post("/tasks/batch", json={"tasks": tasks})
    few = steps()
    for _ in range(4):
        await system.post("/tasks/batch", json={"tasks": tasks})
    assert steps() <= few * 1.5 + 100
    assert few < 2_000
    assert (await told(system))["tasks"][Status.QUEUED] == 2500
