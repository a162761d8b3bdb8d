"""A POST whose COMMIT gets no answer: what the client is told is what is stored, or nothing."""

import asyncio
from collections.abc import Callable
from typing import Any

import aiohttp
import pytest
from tests.integration.system import System

from taskqueue.store import CommitUnknownError, StoreUnavailableError, verbs
from taskqueue.telemetry import TaskEnded

TASK = {"action": "uppercase", "data": {"text": "x"}}
UNKNOWN = CommitUnknownError("on purpose")


@pytest.fixture
def lose_answer(system: System, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Has the answer to the next write get lost, be it `stored` or not."""
    write = system.store.write

    def lose(*, stored: bool) -> None:
        async def lost(*arguments: Any) -> Any:
            if stored:
                await write(*arguments)
            raise UNKNOWN

        def lose_next(*arguments: Any) -> asyncio.Future[Any]:
            monkeypatch.setattr(system.store, "write", write)
            return asyncio.ensure_future(lost(*arguments))

        monkeypatch.setattr(system.store, "write", lose_next)

    return lose


@pytest.fixture
def unreadable(system: System, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody can look whether tasks are stored."""

    async def refuse(*_: Any) -> Any:
        raise StoreUnavailableError("on purpose")

    monkeypatch.setattr(system.store.reads, "known", refuse)


async def test_what_is_found_stored_is_accepted_and_runs_once(
    system: System, lose_answer: Callable[..., None]
) -> None:
    lose_answer(stored=True)
    answer = await system.post("/tasks", json=TASK)
    assert (answer.status, answer.body["status"]) == (202, "queued")
    async with system.worker():
        task = await system.until(answer.body["id"])
    assert (task["status"], task["attempt"]) == ("completed", 1)
    assert await system.count() == 1


async def test_of_a_batch_all_are_found(system: System, lose_answer: Callable[..., None]) -> None:
    lose_answer(stored=True)
    answer = await system.post("/tasks/batch", json={"tasks": [TASK, TASK | {"delay": 1000}, TASK]})
    assert answer.status == 202
    assert [task["status"] for task in answer.body["tasks"]] == ["queued", "pending", "queued"]
    assert [(await system.task(task["id"]))["status"] for task in answer.body["tasks"]] == [
        "queued",
        "pending",
        "queued",
    ]
    assert await system.broker.ready_count() == 2


@pytest.mark.parametrize("path", ["/tasks", "/tasks/batch"])
async def test_what_is_found_not_to_be_stored_is_refused_and_not_published(
    system: System, lose_answer: Callable[..., None], path: str
) -> None:
    lose_answer(stored=False)
    answer = await system.post(path, json=TASK if path == "/tasks" else {"tasks": [TASK] * 3})
    assert (answer.status, answer.body) == (503, {"error": "failed to queue task"})
    assert int(answer.headers["Retry-After"]) > 0
    assert await system.count() == 0
    assert await system.broker.ready_count() == 0


@pytest.mark.parametrize("stored", [True, False])
@pytest.mark.usefixtures("unreadable")
async def test_where_nobody_can_look_the_connection_ends_without_an_answer(
    system: System, lose_answer: Callable[..., None], stored: bool
) -> None:
    """And what may be stored is not published: its lease runs out, and a sweep sees to it."""
    lose_answer(stored=stored)
    with pytest.raises(aiohttp.ServerDisconnectedError):
        await system.post("/tasks", json=TASK)
    assert await system.count() == stored
    assert await system.broker.ready_count() == 0
    assert (await system.get("/livez")).status == 200


@pytest.mark.parametrize("stored", [True, False])
@pytest.mark.usefixtures("unreadable")
async def test_a_client_that_got_no_answer_may_send_its_key_again(
    system: System, lose_answer: Callable[..., None], stored: bool
) -> None:
    lose_answer(stored=stored)
    key = {"Idempotency-Key": "k"}
    with pytest.raises(aiohttp.ServerDisconnectedError):
        await system.post("/tasks", json=TASK, headers=key)
    again = await system.post("/tasks", json=TASK, headers=key)
    assert again.status == 202
    assert ("Idempotency-Replayed" in again.headers) == stored
    [task] = (await system.get("/tasks")).body["tasks"]
    assert task["id"] == again.body["id"]


async def test_an_outcome_whose_second_try_got_no_answer_is_told_as_recorded(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = system.store.write
    ended: list[TaskEnded] = []
    system.telemetry.listen(lambda told: ended.append(told) if isinstance(told, TaskEnded) else None)
    errors = [StoreUnavailableError("full, on purpose"), UNKNOWN]

    async def failing(*arguments: Any) -> Any:
        error = errors.pop(0)
        if error is UNKNOWN:
            await write(*arguments)
        raise error

    def fail(verb: Any, *arguments: Any) -> asyncio.Future[Any]:
        if verb is not verbs.complete or not errors:
            return write(verb, *arguments)
        return asyncio.ensure_future(failing(verb, *arguments))

    monkeypatch.setattr(system.store, "write", fail)
    async with system.worker():
        id = (await system.post("/tasks", json=TASK)).body["id"]
        await system.until(id)
    assert errors == []
    assert [told.status for told in ended] == ["completed"]
