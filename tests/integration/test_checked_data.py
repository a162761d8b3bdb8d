"""Data that doesn't fit its action is answered 422, before anything of it is stored."""

import contextlib
import json
from pathlib import Path
from typing import Any

import pytest
from tests.integration.store.given import looking, worker_info
from tests.integration.system import System, quick_settings

from taskqueue import TaskContext
from taskqueue.actions.options import Options
from taskqueue.actions.signatures import read_signature
from taskqueue.store import WorkerInfo, workers
from taskqueue_api.live import catalogue


@pytest.fixture(autouse=True)
def always_read_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a worker tells is known at once, not a second later."""
    monkeypatch.setattr(catalogue, "FRESH", 0)


async def resize(
    width: int, path: str = "", tags: list[str] | None = None, *, task: TaskContext
) -> dict[str, Any]:
    return {}


async def knowing(system: System, name: str = "resize", function: Any = resize, *, own: bool = True) -> None:
    """A worker that knows an action."""
    action = read_signature(name, function, Options())
    entry = {"name": name, "own": own, "arguments": {}, "accepts": action.accepts(), "defaults": {}}
    info = worker_info(f"of {name}")
    values = {field: getattr(info, field) for field in info.__slots__} | {"actions": json.dumps([entry])}
    await system.store.write(workers.beat, WorkerInfo(**values))


def change(system: System, statement: str) -> None:
    with contextlib.closing(looking(system.settings.database)) as db:
        db.execute(statement)


@pytest.fixture
async def system(tmp_path: Path) -> Any:
    async with System.open(quick_settings(tmp_path)) as system:
        await knowing(system)
        yield system


@pytest.mark.parametrize(
    ("data", "details"),
    [
        ({"width": "200"}, [("data.width", 'this value is not of type "integer"')]),
        ({}, [("data.width", "required")]),
        ({"width": 1, "depth": 2, "d": 3}, [("data.d", "not known"), ("data.depth", "not known")]),
        ({"width": 1, "tags": ["a", 5]}, [("data.tags.1", 'this value is not of type "string"')]),
        (
            {"path": 1},
            [("data.path", 'this value is not of type "string"'), ("data.width", "required")],
        ),
    ],
    ids=str,
)
async def test_data_that_does_not_fit_is_told_by_the_path_of_each_error(
    system: System, data: dict[str, Any], details: list[tuple[str, str]]
) -> None:
    answer = await system.post("/tasks", json={"action": "resize", "data": data})
    assert answer.status == 422
    assert answer.body["error"] == "invalid data"
    told = sorted((detail["path"], detail["error"]) for detail in answer.body["details"])
    assert told == [(path, f"{path}: {error}") for path, error in details]
    assert await system.count() == 0


@pytest.mark.parametrize("data", [{"width": 1}, {"width": 1, "path": "a", "tags": None}], ids=str)
async def test_data_that_fits_is_accepted(system: System, data: dict[str, Any]) -> None:
    assert (await system.post("/tasks", json={"action": "resize", "data": data})).status == 202


async def test_of_a_batch_each_task_is_told_by_its_index_and_none_is_stored(system: System) -> None:
    tasks = [
        {"action": "resize", "data": {"width": 1}},
        {"action": "resize", "data": {"width": None}},
        {"action": "other", "data": {}},
        {"action": "resize"},
    ]
    answer = await system.post("/tasks/batch", json={"tasks": tasks})
    assert (answer.status, answer.body["error"]) == (422, "invalid data")
    assert [(it["index"], it["path"]) for it in answer.body["details"]] == [
        (1, "tasks.1.data.width"),
        (3, "tasks.3.data.width"),
    ]
    lines = "\n".join(map(json.dumps, tasks))
    headers = {"Content-Type": "application/x-ndjson"}
    again = await system.post("/tasks/batch", data=lines, headers=headers)
    assert (again.status, again.body) == (answer.status, answer.body)
    assert await system.count() == 0


async def test_of_very_many_errors_some_are_told(system: System) -> None:
    names = {f"{'n' * 300}{n}": 1 for n in range(1_000)}
    answer = await system.post("/tasks", json={"action": "resize", "data": names})
    assert answer.status == 422
    assert len(answer.body["details"]) == 20
    tasks = [{"action": "resize", "data": {"width": "x" * 500}}] * 1_000
    answer = await system.post("/tasks/batch", json={"tasks": tasks})
    assert answer.status == 422
    assert len(answer.body["details"]) == 100
    assert max(len(it["error"]) for it in answer.body["details"]) < 300


async def test_an_unknown_action_is_accepted(system: System) -> None:
    assert (await system.post("/tasks", json={"action": "crop", "data": {"any": 1}})).status == 202


async def test_a_repeated_request_has_its_first_answer_whatever_the_action_takes_now(system: System) -> None:
    request: dict[str, Any] = {"json": {"action": "crop"}, "headers": {"Idempotency-Key": "k"}}
    first = await system.post("/tasks", **request)
    await knowing(system, "crop")
    again = await system.post("/tasks", **request)
    assert (first.status, again.status, again.body) == (202, 202, first.body)
    assert (await system.post("/tasks", json={"action": "crop"})).status == 422


async def test_what_a_newer_worker_takes_counts(system: System) -> None:
    body = {"action": "resize", "data": {"depth": 1}}
    assert (await system.post("/tasks", json=body)).status == 422

    async def newer(depth: int) -> dict[str, Any]:
        return {}

    await system.store.write(workers.retire, "of resize")
    await knowing(system, function=newer)
    assert (await system.post("/tasks", json=body)).status == 202


async def test_strictly_an_unknown_action_is_refused(tmp_path: Path) -> None:
    async with System.open(quick_settings(tmp_path, check_actions="strict")) as system:
        await knowing(system)
        answer = await system.post("/tasks", json={"action": "crop"})
        assert answer.status == 422
        assert answer.body["details"] == [{"path": "action", "error": "action: no worker knows 'crop'"}]
        assert (await system.post("/tasks", json={"action": "resize", "data": {"width": 1}})).status == 202
        await system.store.write(workers.retire, "of resize")
        assert (await system.post("/tasks", json={"action": "resize", "data": {"width": 1}})).status == 202


async def everything(**data: Any) -> dict[str, Any]:
    return {}


async def test_strictly_an_action_is_known_where_a_catch_all_takes_it(tmp_path: Path) -> None:
    async with System.open(quick_settings(tmp_path, check_actions="strict")) as system:
        assert (await system.post("/tasks", json={"action": "crop"})).status == 422
        await knowing(system, "*", everything, own=False)
        assert (await system.post("/tasks", json={"action": "crop"})).status == 202
        await knowing(system)
        assert (await system.post("/tasks", json={"action": "crop"})).status == 422, "it takes nothing any more"
        await system.store.write(workers.retire, "of *")
        await knowing(system, "*", everything)
        assert (await system.post("/tasks", json={"action": "crop"})).status == 202


async def test_nothing_is_checked_where_that_is_off(tmp_path: Path) -> None:
    async with System.open(quick_settings(tmp_path, check_actions="off")) as system:
        await knowing(system)
        assert (await system.post("/tasks", json={"action": "resize", "data": {"width": "x"}})).status == 202


async def test_a_schema_that_is_none_refuses_nothing(system: System) -> None:
    change(system, """UPDATE actions SET accepts = '{"type": 5}'""")
    assert (await system.post("/tasks", json={"action": "resize"})).status == 202


async def test_a_catalogue_that_can_not_be_read_refuses_nothing(system: System) -> None:
    assert (await system.post("/tasks", json={"action": "resize"})).status == 422
    change(system, "ALTER TABLE actions RENAME TO away")
    assert (await system.post("/tasks", json={"action": "resize"})).status == 202


async def test_the_catalogue_is_read_once_a_second_at_most(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catalogue, "FRESH", 3_600)
    assert (await system.post("/tasks", json={"action": "crop"})).status == 202
    await knowing(system, "crop")
    assert (await system.post("/tasks", json={"action": "crop"})).status == 202, "it is not known yet"
    monkeypatch.setattr(catalogue, "FRESH", 0)
    assert (await system.post("/tasks", json={"action": "crop"})).status == 422
