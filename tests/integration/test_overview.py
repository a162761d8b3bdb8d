"""`GET /stats`, `/workers` and `/actions`: what goes on, from counters that are kept with each change."""

import asyncio
import json
import math
import random
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.conformance.waiting import eventually
from tests.integration import actions
from tests.integration.store.given import beat, looking, machine_steps, running, stored
from tests.integration.system import System, quick_settings

from taskqueue.broker.memory import MemoryBroker
from taskqueue.store import now_ms
from taskqueue.store.ledger import BOUNDS
from taskqueue.task import Status
from taskqueue_api.live.percentiles import percentile
from taskqueue_api.resources import overview


async def stats(system: System, minutes: int = 15) -> dict[str, Any]:
    answer = await system.get(f"/stats?minutes={minutes}")
    assert answer.status == 200, answer
    return dict(answer.body)


def scanned(system: System) -> dict[str, int]:
    """What a scan of the tasks counts."""
    rows = stored(system.settings.database, "SELECT status, count(*) AS n FROM task GROUP BY status")
    return dict.fromkeys(Status, 0) | {row["status"]: row["n"] for row in rows}


async def test_an_empty_queue(system: System) -> None:
    answer = await stats(system, 3)
    assert answer["tasks"] == dict.fromkeys(Status, 0)
    assert answer["oldest_waiting"] is None
    assert answer["actions"] == {}
    assert answer["wait"] == answer["run"] == {"p50": None, "p95": None}
    assert len(answer["minutes"]) == 4
    assert all(
        set(minute) == {"at", "accepted", "completed", "failed", "cancelled"} for minute in answer["minutes"]
    )
    first, *_, present = [minute["at"] for minute in answer["minutes"]]
    assert present - first == 180
    assert abs(present - time.time()) < 120


async def test_the_counters_are_what_a_scan_counts_whatever_has_happened(system: System) -> None:
    dice = random.Random(5)
    ids: list[str] = []
    async with system.worker(consumers=3):
        for _ in range(150):
            match dice.randrange(8):
                case 0 | 1:
                    ids.append(await system.submit("uppercase", {"text": "x"}))
                case 2:
                    ids.append(
                        await system.submit("fail", {"until_attempt": dice.randrange(1, 5)}, max_attempts=2)
                    )
                case 3:
                    ids.append(await system.submit("note", {"text": "x"}, delay=dice.choice([0.01, 1000])))
                case 4 if ids:
                    await system.post(f"/tasks/{dice.choice(ids)}/cancel")
                case 5 if ids:
                    await system.post(f"/tasks/{dice.choice(ids)}/retry")
                case 6 if ids:
                    await system.client.delete(f"/tasks/{dice.choice(ids)}")
                case 7:
                    verb = dice.choice(["cancel", "retry", "delete"])
                    await system.post(f"/tasks/{verb}", json={"action": dice.choice(["note", "fail"])})
        await system.post("/tasks/cancel", json={"action": "note"})

        async def settled() -> bool:
            counts = (await stats(system))["tasks"]
            return not counts["pending"] + counts["queued"] + counts["running"]

        await eventually(settled)
    answer = await stats(system, 60)
    assert answer["tasks"] == scanned(system)
    totals: Counter[str] = Counter()
    for minute in answer["minutes"]:
        totals.update({what: count for what, count in minute.items() if what != "at"})
    assert totals["accepted"] == len(ids)
    [finals] = stored(
        system.settings.database,
        "SELECT count(*) AS n FROM events WHERE status IN ('completed', 'failed', 'cancelled')",
    )
    assert totals["completed"] + totals["failed"] + totals["cancelled"] == finals["n"]
    by_action: Counter[str] = Counter()
    for counts in answer["actions"].values():
        by_action.update({what: counts[what] for what in ("accepted", "completed", "failed", "cancelled")})
    assert by_action == totals


async def test_each_action_is_told_by_itself(system: System) -> None:
    async with system.worker():
        for _ in range(3):
            await system.until(await system.submit("uppercase", {"text": "x"}))
        await system.until(await system.submit("refuse"))
    waiting = await system.submit("other", delay=1000)
    await system.post(f"/tasks/{waiting}/cancel")
    answer = (await stats(system))["actions"]
    assert sorted(answer) == ["other", "refuse", "uppercase"]
    counts = {
        name: tuple(told[what] for what in ("accepted", "completed", "failed", "cancelled"))
        for name, told in answer.items()
    }
    assert counts == {"uppercase": (3, 3, 0, 0), "refuse": (1, 0, 1, 0), "other": (1, 0, 0, 1)}
    assert answer["uppercase"]["run"]["p50"] is not None
    assert answer["refuse"]["wait"]["p50"] is not None
    assert answer["refuse"]["run"] == {"p50": None, "p95": None}, "of those that completed"
    assert answer["other"]["wait"] == {"p50": None, "p95": None}


async def test_run_and_wait_times_are_told(system: System) -> None:
    id = await system.submit("hold", {"name": "g"})
    await asyncio.sleep(0.3)
    async with system.worker():
        await actions.started("g")
        await asyncio.sleep(0.2)
        actions.let_go("g")
        task = await system.until(id)
    [attempt] = task["attempts"]
    answer = (await stats(system))["actions"]["hold"]
    for name, truth in (
        ("wait", attempt["started_at"] - task["run_at"]),
        ("run", attempt["ended_at"] - attempt["started_at"]),
    ):
        for share in ("p50", "p95"):
            assert truth <= answer[name][share] + 1e-9
            assert answer[name][share] <= truth * 1.25 + 0.001


async def test_the_oldest_that_waits_is_the_one_that_has_been_due_longest(system: System) -> None:
    await system.submit("x", delay=1000)
    assert (await stats(system))["oldest_waiting"] is None, "not due yet"
    await system.submit("x")
    await eventually(lambda: told_since(system, 0, 20))
    await system.submit("x", run_at=time.time() - 50, priority="low")
    await eventually(lambda: told_since(system, 0, 120))
    await system.store.bulk.demote_all()
    connection = looking(system.settings.database)
    connection.execute("UPDATE task SET run_at = ? WHERE priority = 0", (now_ms() - 300_000,))
    connection.close()
    assert await told_since(system, 300, 330)
    await system.post("/tasks/cancel", json={"action": "x"})
    assert (await stats(system))["oldest_waiting"] is None


async def test_queued_tasks_do_not_hide_one_that_waits_longer_for_the_broker(tmp_path: Path) -> None:
    broker = MemoryBroker()
    async with System.open(quick_settings(tmp_path), broker) as system:
        await broker.__aexit__(None, None, None)
        await system.submit("x", run_at=time.time() - 60)
        await broker.__aenter__()
        assert (await system.until(await system.submit("x"), Status.QUEUED))["status"] == "queued"
        assert await told_since(system, 60, 90)


async def test_of_many_actions_the_busiest_are_told_and_all_are_counted(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(overview, "ACTIONS_TOLD", 2)
    for action in ("a", "b", "b", "c", "c", "c"):
        await system.submit(action, delay=1000)
    answer = await stats(system)
    assert {action: counts["accepted"] for action, counts in answer["actions"].items()} == {"b": 2, "c": 3}
    assert sum(minute["accepted"] for minute in answer["minutes"]) == 6


async def told_since(system: System, least: float, most: float) -> bool:
    told = (await stats(system))["oldest_waiting"]
    return told is not None and least <= told < most


@pytest.mark.parametrize("minutes", ["0", "-1", "1441", "x", "1.5", ""])
async def test_minutes_out_of_range_are_refused(system: System, minutes: str) -> None:
    answer = await system.get(f"/stats?minutes={minutes}")
    assert answer.status == 400
    assert answer.body["error"].startswith("minutes")


async def test_what_was_long_ago_is_not_told(system: System) -> None:
    await system.submit("x")
    connection = looking(system.settings.database)
    connection.execute("UPDATE minute_counts SET minute = minute - 30")
    connection.close()
    assert sum(minute["accepted"] for minute in (await stats(system, 15))["minutes"]) == 0
    assert sum(minute["accepted"] for minute in (await stats(system, 60))["minutes"]) == 1


# Percentiles


@settings(max_examples=300, deadline=None)
@given(
    times=st.lists(st.integers(0, 1_000_000_000) | st.integers(0, 100), min_size=1, max_size=200),
    share=st.sampled_from([0.5, 0.95]),
)
def test_a_percentile_is_at_most_a_quarter_too_high_and_never_too_low(times: list[int], share: float) -> None:
    histogram = Counter(next(bound for bound in BOUNDS if bound >= value) for value in times)
    told = percentile(sorted(histogram.items()), share)
    truth = sorted(times)[math.ceil(share * len(times)) - 1]
    assert told is not None
    assert truth <= told * 1000 + 1e-6
    assert told * 1000 <= max(1, truth * 1.25 + 1e-6)


async def test_a_time_beyond_the_last_bucket_counts_into_it_and_a_negative_one_into_the_first(
    system: System,
) -> None:
    await beat(system.store, "w")
    for id, run_at in (("late", now_ms() - 10**13), ("early", now_ms() + 10**6)):
        await running(system.store, id, run_at=run_at)
    told = stored(system.settings.database, "SELECT bound, attempts FROM minute_times ORDER BY bound")
    assert told == [{"bound": 1, "attempts": 1}, {"bound": BOUNDS[-1], "attempts": 1}]


# Cost


async def test_the_overview_costs_the_same_however_many_tasks_there_are(system: System) -> None:
    """In steps of SQLite's machine, which no load of the computer changes."""

    def steps() -> int:
        queries = ("oldest_waiting", "status_counts", "minute_counts", "minute_times", "workers", "running")
        values = {"now": now_ms(), "since": now_ms() // 60_000 - 15}
        return machine_steps(system.settings.database, queries, values)

    tasks = [{"action": "x"}] * 500 + [{"action": "x", "delay": 1000}] * 500
    await system.post("/tasks/batch", json={"tasks": tasks})
    few = steps()
    for _ in range(4):
        await system.post("/tasks/batch", json={"tasks": tasks})
    assert steps() <= few * 1.5 + 100
    assert few < 2_000


# Who works, and what can be run


async def known_workers(system: System, count: int) -> bool:
    return bool((await system.get("/workers")).body["count"] == count)


async def test_workers_tell_what_they_run(system: System) -> None:
    assert (await system.get("/workers")).body == {"workers": [], "count": 0}
    before = time.time()
    async with system.worker(consumers=2, prefetch=7), system.worker(consumers=1):
        id = await system.submit("hold", {"name": "g"})
        await actions.started("g")
        await eventually(lambda: known_workers(system, 2))
        answer = await system.get("/workers")
        actions.let_go("g")
        await system.until(id)
        idle = (await system.get("/workers")).body
    assert answer.status == 200
    assert answer.body["count"] == 2
    assert sorted((worker["consumers"], worker["prefetch"]) for worker in answer.body["workers"]) == [
        (1, 5),
        (2, 7),
    ]
    [task] = [task for worker in answer.body["workers"] for task in worker["running"]]
    assert before <= task.pop("started_at") <= time.time()
    assert task == {"id": id, "action": "hold", "attempt": 1}
    for worker in answer.body["workers"]:
        assert before - 0.001 <= worker["started_at"] <= worker["last_seen"] <= time.time()
        assert worker["pid"]
        assert worker["host"]
    assert [worker["running"] for worker in idle["workers"]] == [[], []]
    assert (await system.get("/workers")).body["count"] == 0, "they have said goodbye"


async def test_actions_are_those_that_the_workers_can_run_with_what_they_take(system: System) -> None:
    assert (await system.get("/actions")).body == {"actions": [], "count": 0}
    async with system.worker(), system.worker():
        await eventually(lambda: known_workers(system, 2))
        body = (await system.get("/actions")).body
    told = {action["name"]: action for action in body["actions"]}
    assert list(told) == sorted(told)
    assert body["count"] == len(told)
    assert {"uppercase", "sum", "*", "hold"} <= set(told)
    assert told["uppercase"]["workers"] == 2
    schema = told["hold"]["arguments"]
    assert (schema["properties"]["name"]["type"], schema["required"]) == ("string", ["name"])
    assert schema["additionalProperties"] is False
    assert "task" not in told["report"]["arguments"]["properties"], "the context is not the client's to give"
    assert json.dumps(body)
