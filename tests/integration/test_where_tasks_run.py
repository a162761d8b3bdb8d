"""A task runs where its action is known: what its clients see, and what they are told of who knows it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.conformance.waiting import eventually
from tests.integration import actions
from tests.integration.system import System, quick_settings

from handlers import examples
from taskqueue import action
from taskqueue.actions import registry
from taskqueue.telemetry import TaskSetAside, TasksTakenUp, TasksWaiting, WorkerStarted

#: Imported before any of these tests takes the registry for itself.
HANDLERS = (examples, actions)


@pytest.fixture
async def system(tmp_path: Path) -> Any:
    async with System.open(quick_settings(tmp_path)) as system:
        yield system


@pytest.fixture
def told(system: System) -> list[Any]:
    told: list[Any] = []
    system.telemetry.listen(told.append)
    return told


@pytest.fixture
def new_action(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Registers an action for workers that start from then on."""
    monkeypatch.setattr(registry, "ACTIONS", dict(registry.ACTIONS))

    def register(name: str) -> None:
        @action(name)
        async def handler(**data: Any) -> dict[str, Any]:
            return {"output": f"of {name}"}

    return register


def all_told(told: list[Any], kind: type) -> list[Any]:
    return [happening for happening in told if isinstance(happening, kind)]


async def waits(system: System, id: str) -> bool:
    return bool((await system.task(id))["waiting_for"])


async def test_a_task_says_that_it_waits_for_a_worker_and_runs_where_one_comes(
    system: System, told: list[Any], new_action: Any
) -> None:
    async with system.worker():
        ids = [await system.submit("unheard") for _ in range(3)]
        for id in ids:
            await eventually(lambda id=id: waits(system, id))
        task = await system.task(ids[0])
        assert task["waiting_for"] == "a worker with action 'unheard'"
        assert (task["attempt"], task["failures"], task["attempts"], task["error"]) == (0, 0, [], None)
        page = (await system.get("/tasks?action=unheard")).body["tasks"]
        assert {task["waiting_for"] for task in page} == {"a worker with action 'unheard'"}
        assert (await system.get("/stats")).body["waiting_for_workers"] == 3
        new_action("unheard")
        async with system.worker():
            for id in ids:
                task = await system.until(id)
                assert (task["result"], task["attempt"]) == ({"output": "of unheard"}, 1)
                assert task["waiting_for"] is None
    assert (await system.get("/stats")).body["waiting_for_workers"] == 0
    assert all_told(told, TasksTakenUp)
    assert {task.id for task in all_told(told, TaskSetAside)} == set(ids)
    assert [task.first for task in all_told(told, TaskSetAside)].count(True) == 1


async def test_one_line_warns_of_an_action_and_a_worker_that_starts_tells_how_many_wait(
    system: System, told: list[Any], caplog: pytest.LogCaptureFixture
) -> None:
    async with system.worker():
        for _ in range(3):
            await system.submit("unheard")
        # One may be set aside again before the others are for the first time.
        await eventually(lambda: len({aside.id for aside in all_told(told, TaskSetAside)}) == 3)
        # The first one looked as it started, too, when some may have waited already.
        looked = len(all_told(told, TasksWaiting))
        async with system.worker():
            await eventually(lambda: len(all_told(told, TasksWaiting)) > looked)
    [line] = [
        line for line in caplog.records if "wait for a worker with the action 'unheard'" in line.getMessage()
    ]
    assert (line.levelname, vars(line)["action"]) == ("WARNING", "unheard")
    assert all_told(told, TasksWaiting)[-1].tasks == 3


async def test_a_task_that_nobody_knows_fails_after_a_while(tmp_path: Path) -> None:
    async with (
        System.open(quick_settings(tmp_path, unknown_action_after=0.3)) as system,
        system.worker(),
    ):
        task = await system.until(await system.submit("unheard", max_attempts=1))
    assert (task["status"], task["error"]["type"], task["attempts"]) == ("failed", "UnknownAction", [])
    assert task["processed_at"] - task["created_at"] >= 0.3


async def test_a_task_that_nobody_knows_fails_at_once_where_none_shall_wait(tmp_path: Path) -> None:
    told: list[Any] = []
    async with System.open(quick_settings(tmp_path, unknown_action_after=0)) as system, system.worker():
        system.telemetry.listen(told.append)
        task = await system.until(await system.submit("unheard", max_attempts=1))
    assert (task["status"], task["error"]["type"], task["attempts"]) == ("failed", "UnknownAction", [])
    assert not all_told(told, TaskSetAside)


async def test_a_task_that_waits_for_a_worker_can_be_cancelled(system: System) -> None:
    async with system.worker():
        id = await system.submit("unheard")
        await eventually(lambda: waits(system, id))
        assert (await system.post(f"/tasks/{id}/cancel")).body["status"] == "cancelled"
        assert (await system.task(id))["waiting_for"] is None


async def test_a_stock_worker_runs_whatever_is_sent_until_there_is_an_action_of_ones_own(
    system: System, told: list[Any], monkeypatch: pytest.MonkeyPatch, new_action: Any
) -> None:
    shipped = {name: action for name, action in registry.ACTIONS.items() if action.ships}
    assert shipped.keys() == {"uppercase", "sum", "*"}
    monkeypatch.setattr(registry, "ACTIONS", shipped)
    async with system.worker(handlers="handlers"):
        assert (await system.until(await system.submit("unheard")))["result"] == {"output": "processed"}
        monkeypatch.setattr(registry, "ACTIONS", {})
        new_action("unheard")
        async with system.worker(handlers=""):
            await eventually(lambda: len(all_told(told, WorkerStarted)) == 2)
            monkeypatch.setattr(registry, "ACTIONS", shipped | registry.ACTIONS)
            tasks = [await system.until(await system.submit("unheard")) for _ in range(5)]
            assert [task["result"] for task in tasks] == [{"output": "of unheard"}] * 5
        foreign = await system.submit("crop")
        await eventually(lambda: waits(system, foreign))
        shouted = await system.until(await system.submit("uppercase", {"text": "x"}))
        assert shouted["result"] == {"output": "X"}


# Who knows what


async def test_workers_tell_their_queue_actions_versions_and_memory(system: System) -> None:
    async with system.worker():
        await eventually(lambda: one_worker(system))
        [worker] = (await system.get("/workers")).body["workers"]
    assert worker["queue"] == "tasks"
    assert {"hold", "sum", "*"} <= set(worker["actions"])
    assert worker["executors"].keys() == set(worker["actions"])
    assert worker["executors"]["sum"] == "async"
    assert worker["versions"]["taskqueue"]
    assert worker["memory"] is None or worker["memory"] > 1_000_000


async def one_worker(system: System) -> bool:
    return bool((await system.get("/workers")).body["count"] == 1)


async def test_an_action_is_told_when_no_worker_knows_it_any_more(system: System) -> None:
    async with system.worker():
        await eventually(lambda: one_worker(system))
        before = {action["name"]: action for action in (await system.get("/actions")).body["actions"]}
    after = {action["name"]: action for action in (await system.get("/actions")).body["actions"]}
    assert before.keys() == after.keys()
    assert (before["hold"]["workers"], after["hold"]["workers"]) == (1, 0)
    assert before["hold"]["arguments"] == after["hold"]["arguments"] != {}
    assert after["hold"]["defaults"] == {}
    assert before["hold"]["last_seen"] <= after["hold"]["last_seen"]
