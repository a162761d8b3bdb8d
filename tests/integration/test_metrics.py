"""What Prometheus reads: of the store and the broker through the API, and of each process."""

import re
import socket
import urllib.request
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import generate_latest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_metrics
from prometheus_client.parser import text_string_to_metric_families
from tests.conformance.waiting import eventually
from tests.integration.system import System, quick_settings
from tests.unit.test_documents import table

from taskqueue.broker import BrokerError, BrokerState
from taskqueue.broker.memory import MemoryBroker
from taskqueue.metrics import Metrics
from taskqueue.process import FatalError
from taskqueue.task import Claim, Outcome, Status
from taskqueue.telemetry import Committed, TaskClaimed, TaskEnded
from taskqueue_api.live.totals import LATE, Totals
from taskqueue_worker.exposing import exposed

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def samples(text: str) -> Samples:
    """By name and labels."""
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


async def scraped(system: System) -> Samples:
    async with system.client.get("/metrics") as response:
        assert response.status == 200
        assert response.content_type == "text/plain"
        return samples(await response.text())


def value(of: Samples, name: str, **labels: str) -> float:
    return of[name, frozenset(labels.items())]


async def test_what_happened_to_tasks_is_told_by_action_and_names_that_anybody_made_up_are_other(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks, demote_all = [], system.store.bulk.demote_all

    async def looked() -> int:
        count = await demote_all()
        looks.append(count)
        return count

    monkeypatch.setattr(system.store.bulk, "demote_all", looked)
    async with system.worker(unknown_action_after=0):
        # At its start it takes the queue for new, and has what is there already published once more.
        await eventually(lambda: len(looks) > 0)
        for action, data, options in (
            ("uppercase", {"text": "a"}, {}),
            ("uppercase", {"text": "b"}, {}),
            ("made-up-1", {}, {}),
            ("made-up-2", {}, {}),
            ("fail", {}, {"max_attempts": 1}),
        ):
            await system.until(await system.submit(action, data, **options))
        told = await scraped(system)
    queue = {"queue": "tasks"}
    assert value(told, "taskqueue_tasks", status="completed", **queue) == 2
    assert value(told, "taskqueue_tasks_accepted_total", action="uppercase", **queue) == 2
    assert value(told, "taskqueue_tasks_accepted_total", action="other", **queue) == 2
    assert value(told, "taskqueue_tasks_finished_total", action="other", status="failed", **queue) == 2
    assert value(told, "taskqueue_tasks_finished_total", action="fail", status="failed", **queue) == 1
    assert value(told, "taskqueue_run_seconds_count", action="uppercase", **queue) == 2
    assert value(told, "taskqueue_wait_seconds_bucket", action="uppercase", le="+Inf", **queue) == 2
    assert value(told, "taskqueue_attempts_total", action="uppercase", outcome="ok") == 2
    assert value(told, "taskqueue_attempts_total", action="fail", outcome="error") == 1
    assert value(told, "taskqueue_deliveries_total", result="claimed") == 3
    assert value(told, "taskqueue_deliveries_total", result="unknown_action") == 2
    assert value(told, "taskqueue_publishes_total", outcome="confirmed") == 5
    assert value(told, "taskqueue_attempts_running") == 0
    assert value(told, "taskqueue_workers") == 1
    assert value(told, "taskqueue_commit_writes_sum") >= 10
    assert not any("made-up" in label for _, labels in told for _, label in labels)


async def test_a_catch_alls_attempts_are_of_an_action_that_is_other() -> None:
    metrics = Metrics()
    claim = Claim(1, "7", 1, "worker", "made-up", "{}", 0, max_attempts=1, timeout=None, started_at=0)
    metrics.count(TaskClaimed(claim))
    metrics.count(TaskEnded(claim, Outcome.OK, Status.COMPLETED, None))
    told = samples(generate_latest(metrics.registry).decode())
    assert value(told, "taskqueue_attempts_total", action="other", outcome="ok") == 1
    assert value(told, "taskqueue_attempts_running") == 0


async def test_a_backlog_is_told(system: System) -> None:
    await system.submit("uppercase", {"text": "a"})
    told = await scraped(system)
    assert value(told, "taskqueue_tasks", queue="tasks", status="queued") == 1
    assert value(told, "taskqueue_queue_ready_messages") == 1
    assert value(told, "taskqueue_workers") == value(told, "taskqueue_worker_slots") == 0


async def test_requests_are_told_by_their_route_and_never_by_their_path(system: System) -> None:
    for path in ("/tasks/no-such-task", "/tasks?status=done", "/no/such/path", "/livez"):
        await system.get(path)
    told = await scraped(system)
    count = "taskqueue_http_requests_total"
    assert value(told, count, method="GET", route="/tasks/{id}", status="404") == 1
    assert value(told, count, method="GET", route="/tasks", status="400") == 1
    assert value(told, count, method="GET", route="/livez", status="200") == 1
    assert value(told, count, method="other", route="other", status="404") == 1
    assert value(told, "taskqueue_http_request_seconds_count", method="GET", route="/livez") == 1


async def test_a_stream_is_counted_but_its_length_is_not_measured(system: System) -> None:
    id = await system.submit("uppercase", {"text": "a"})
    async with system.worker(), system.client.get(f"/tasks/{id}/events") as response:
        await response.read()
    told = await scraped(system)
    route = {"method": "GET", "route": "/tasks/{id}/events"}
    assert value(told, "taskqueue_http_requests_total", status="200", **route) == 1
    assert ("taskqueue_http_request_seconds_count", frozenset(route.items())) not in told


async def test_open_metrics_are_given_to_who_asks_for_them(system: System) -> None:
    async with system.client.get("/metrics", headers={"Accept": "application/openmetrics-text"}) as response:
        assert response.content_type == "application/openmetrics-text"
        names = {family.name for family in open_metrics(await response.text())}
    assert {"taskqueue_tasks", "taskqueue_commit_seconds", "taskqueue_http_requests"} <= names


async def test_where_the_store_is_away_that_is_told_and_nothing_that_only_it_knows(tmp_path: Path) -> None:
    async with System.open(quick_settings(tmp_path)) as system:
        assert value(await scraped(system), "taskqueue_store_up") == 1
        system.settings.database.rename(tmp_path / "elsewhere")

        async def is_away() -> bool:
            return value(await scraped(system), "taskqueue_store_up") == 0

        await eventually(is_away)
        told = await scraped(system)
    assert value(told, "taskqueue_store_up") == 0
    assert value(told, "taskqueue_broker_up") == 1
    assert not any(name in {"taskqueue_tasks", "taskqueue_workers"} for name, _ in told)


class AwayBroker(MemoryBroker):
    """It can't be asked."""

    @property
    def state(self) -> BrokerState:
        return BrokerState.DISCONNECTED

    async def ready_count(self) -> int:
        raise BrokerError("away")


async def test_where_the_broker_is_away_that_is_told_and_its_counts_are_left_out(tmp_path: Path) -> None:
    async with System.open(quick_settings(tmp_path), AwayBroker()) as system:
        told = await scraped(system)
    assert value(told, "taskqueue_broker_up") == 0
    assert value(told, "taskqueue_store_up") == 1
    assert not any(name == "taskqueue_dead_letters" for name, _ in told)


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 30)), min_size=1, max_size=60))
def test_totals_are_all_that_was_counted_however_often_they_are_read(steps: list[tuple[int, int]]) -> None:
    """Each step: so many minutes later, so many more are counted; minutes older than a day are forgotten."""
    totals: Totals[str] = Totals()
    minute, counted = 1_000_000, 0
    kept: dict[int, int] = {}
    for later, more in steps:
        minute += later
        kept[minute] = kept.get(minute, 0) + more
        kept = {at: count for at, count in kept.items() if at > minute - 1440}
        counted += more
        since = totals.since(minute)
        rows = [(at, "x", count) for at, count in kept.items() if at >= since]
        assert totals.add(rows, minute)["x"] == counted


def test_what_comes_late_into_a_minute_counts_and_a_clock_that_is_set_back_takes_nothing_away() -> None:
    totals: Totals[str] = Totals()
    assert totals.add([(100, "x", 3)], 100)["x"] == 3
    assert totals.add([(100, "x", 5)], 100 + LATE)["x"] == 5
    assert totals.since(100 + LATE) == 100
    assert totals.add([(100, "x", 5), (105, "x", 1)], 101 + LATE)["x"] == 6
    assert totals.since(50) == 101
    assert totals.add([(105, "x", 1)], 50)["x"] == 6


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def test_a_worker_tells_what_its_process_knows_where_a_port_is_set(tmp_path: Path) -> None:
    metrics, port = Metrics(), free_port()
    metrics.count(Committed(3, 0.01, 0.5))
    with exposed(quick_settings(tmp_path, metrics_port=port), metrics):
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as response:
            told = samples(response.read().decode())
        assert value(told, "taskqueue_commit_writes_sum") == 3
        assert value(told, "taskqueue_lock_wait_seconds_sum") == 0.5
        with (
            pytest.raises(FatalError, match=f"can't listen on 127.0.0.1:{port}.*TASKQUEUE_METRICS_PORT"),
            exposed(quick_settings(tmp_path, metrics_port=port), metrics),
        ):
            pass
    # It has let the port go.
    socket.create_server(("127.0.0.1", port)).close()


async def test_every_metric_is_in_the_docs_and_nothing_else(system: System) -> None:
    async with system.worker():
        await system.until(await system.submit("uppercase", {"text": "a"}))
        await system.until(await system.submit("fail", max_attempts=1))
        async with system.client.get("/metrics") as response:
            families = list(text_string_to_metric_families(await response.text()))
    told = {}
    for family in families:
        if family.name.startswith("taskqueue_") and family.samples and not family.name.endswith("_created"):
            labels = {name for sample in family.samples for name in sample.labels} - {"le"}
            name = family.name + "_total" * (family.type == "counter")
            told[f"`{name}`"] = (family.type, labels, family.documentation)
    documented = {
        name: (kind, set(re.findall(r"`(\w+)`", labels)), text)
        for name, kind, labels, text in table("metrics.md", "metric", "type", "labels", "meaning")
    }
    assert {name: row for name, row in documented.items() if name in told} == told
    # Where no sweep was put off, its counter has no sample.
    assert documented.keys() - told.keys() == {"`taskqueue_sweeps_put_off_total`"}
