"""`Idempotency-Key`: a POST that is sent again is answered again, and makes no second task."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.conformance.waiting import eventually
from tests.integration import actions
from tests.integration.system import Answer, System, quick_settings
from tests.integration.test_store_away import locked

from taskqueue.broker.memory import MemoryBroker
from taskqueue.settings import Settings
from taskqueue.task import Status

BODY = {"action": "uppercase", "data": {"text": "x"}}


async def post(system: System, key: str = "k", body: Any = None, path: str = "/tasks", **headers: str) -> Answer:
    data = json.dumps(BODY if body is None else body).encode() if not isinstance(body, bytes) else body
    return await system.post(path, data=data, headers={"Idempotency-Key": key} | headers)


def replayed(answer: Answer) -> bool:
    return answer.headers.get("Idempotency-Replayed") == "true"


async def test_a_post_sent_again_is_answered_as_the_first_time_and_makes_no_task(system: System) -> None:
    first = await post(system)
    assert (first.status, first.body["status"], replayed(first)) == (202, "queued", False)
    async with system.worker():
        await system.until(first.body["id"])
    again = await post(system)
    assert (again.status, again.body, replayed(again)) == (202, first.body, True)
    assert again.headers["Location"] == first.headers["Location"]
    assert await system.count() == 1


async def test_without_a_key_each_post_makes_a_task(system: System) -> None:
    for _ in range(2):
        answer = await system.post("/tasks", json=BODY)
        assert "Idempotency-Replayed" not in answer.headers
    assert await system.count() == 2


async def test_other_keys_make_other_tasks(system: System) -> None:
    ids = {(await post(system, key)).body["id"] for key in ("a", "A", "a ".strip() + "b", "aa")}
    assert len(ids) == 4


@pytest.mark.parametrize(
    "body",
    [{"action": "uppercase", "data": {"text": "y"}}, {"action": "sum"}, json.dumps(BODY).encode() + b" "],
    ids=str,
)
async def test_another_body_with_the_same_key_is_refused(system: System, body: Any) -> None:
    await post(system)
    answer = await post(system, body=body)
    assert answer.status == 422
    assert answer.body == {"error": "this Idempotency-Key was used for another request"}
    assert await system.count() == 1


async def test_the_same_body_under_another_content_type_is_the_same_request(system: System) -> None:
    first = await post(system, **{"Content-Type": "application/x-www-form-urlencoded"})  # as curl has it
    again = await post(system, **{"Content-Type": "application/json"})
    assert (again.status, again.body, replayed(again)) == (202, first.body, True)


async def test_a_key_of_a_task_does_not_serve_a_batch(system: System) -> None:
    await post(system)
    answer = await post(system, body={"tasks": [BODY]}, path="/tasks/batch")
    assert answer.status == 422
    assert await system.count() == 1


async def test_fifty_at_once_make_one_task(system: System) -> None:
    answers = await asyncio.gather(*(post(system) for _ in range(50)))
    assert {answer.status for answer in answers} == {202}
    assert len({answer.body["id"] for answer in answers}) == 1
    assert sum(not replayed(answer) for answer in answers) == 1
    assert await system.count() == 1
    assert await system.broker.ready_count() == 1


async def test_fifty_at_once_through_two_processes_stores_make_one_task(system: System) -> None:
    async with System.open(system.settings, MemoryBroker()) as other:
        answers = await asyncio.gather(*(post(each) for _ in range(25) for each in (system, other)))
    assert len({answer.body["id"] for answer in answers}) == 1
    assert sum(not replayed(answer) for answer in answers) == 1
    assert await system.count() == 1


async def test_a_key_is_one_quoted_or_bare(system: System) -> None:
    """The draft has a quoted string; many clients send it bare."""
    first = await post(system, '"8e03978e-40d5"')
    assert replayed(await post(system, "8e03978e-40d5"))
    assert (await post(system, "  8e03978e-40d5 ")).body == first.body
    assert not replayed(await post(system, '"'))
    assert await system.count() == 2


@pytest.mark.parametrize("key", ["x" * 255, '"' + "y" * 255 + '"', "a b", "!~'\\", "k,l", '""x'])
async def test_a_key_of_up_to_255_printable_characters_is_taken(system: System, key: str) -> None:
    first = await post(system, key)
    assert first.status == 202
    assert (await post(system, key)).body == first.body
    assert await system.count() == 1


@pytest.mark.parametrize("key", ["", " ", '""', "x" * 256, '"' + "x" * 256 + '"', "a\tb", "ü"], ids=repr)
async def test_a_key_that_is_none_is_refused(system: System, key: str) -> None:
    answer = await post(system, key)
    assert answer.status == 400
    assert answer.body == {"error": "Idempotency-Key: one key of 1 to 255 printable ASCII characters"}
    assert await system.count() == 0


async def test_two_keys_are_refused(system: System) -> None:
    answer = await system.post("/tasks", json=BODY, headers=[("Idempotency-Key", "a"), ("Idempotency-Key", "b")])
    assert answer.status == 400
    assert await system.count() == 0


async def test_a_key_of_a_refused_body_is_free(system: System) -> None:
    assert (await post(system, body={"action": ""})).status == 400
    assert (await post(system, body=b"{")).status == 400
    answer = await post(system)
    assert (answer.status, replayed(answer)) == (202, False)


async def test_a_key_of_a_post_that_could_not_be_stored_is_free(system: System) -> None:
    with locked(system.settings.database):
        assert (await post(system)).status == 503
    answer = await post(system)
    assert (answer.status, replayed(answer)) == (202, False)
    assert await system.count() == 1


@pytest.fixture
async def forgetful(tmp_path: Path) -> AsyncIterator[System]:
    async with System.open(quick_settings(tmp_path, idempotency_keep=0.3)) as system:
        yield system


async def test_a_key_is_forgotten_after_its_time_and_may_serve_another_request(forgetful: System) -> None:
    first = await post(forgetful)

    async def forgotten() -> bool:
        answer = await post(forgetful, body={"action": "sum"})
        assert answer.status in {202, 422}
        return answer.status == 202

    await eventually(forgotten)
    again = await post(forgetful, body={"action": "sum"})
    assert replayed(again)
    assert again.body["id"] != first.body["id"]
    assert await forgetful.count() == 2


async def test_a_key_outlives_the_process(tmp_path: Path) -> None:
    settings = quick_settings(tmp_path)
    async with System.open(settings) as system:
        first = await post(system)
        await system.until(first.body["id"], Status.QUEUED)
    async with System.open(settings) as system:
        again = await post(system)
        assert (again.body, replayed(again)) == (first.body, True)
        assert await system.count() == 1


async def test_a_batch_sent_again_is_answered_as_the_first_time(system: System) -> None:
    body = {"tasks": [BODY, BODY | {"delay": 1000}]}
    first = await post(system, body=body, path="/tasks/batch")
    assert [task["status"] for task in first.body["tasks"]] == ["queued", "pending"]
    again = await post(system, body=body, path="/tasks/batch")
    assert (again.status, again.body, replayed(again)) == (202, first.body, True)
    assert (await post(system, body={"tasks": [BODY]}, path="/tasks/batch")).status == 422
    assert await system.count() == 2


async def test_a_replay_that_waits_is_answered_with_the_finished_task(system: System) -> None:
    body = {"action": "hold", "data": {"name": "gate"}}
    first = await post(system, body=body)
    async with system.worker():
        waiting = asyncio.create_task(post(system, body=body, Prefer="wait=20"))
        await actions.started("gate")
        actions.let_go("gate")
        again = await waiting
    assert (again.status, replayed(again)) == (200, True)
    assert (again.body["id"], again.body["status"]) == (first.body["id"], "completed")
    assert again.headers["Preference-Applied"] == "wait=20"


async def test_a_post_that_waited_is_told_as_accepted_when_it_is_sent_again_without(system: System) -> None:
    async with system.worker():
        first = await post(system, Prefer="wait=20")
        again = await post(system)
    assert (first.status, first.body["status"]) == (200, "completed")
    assert (again.status, again.body["id"], replayed(again)) == (202, first.body["id"], True)


async def test_a_replay_of_a_task_that_was_deleted_is_still_the_first_answer(system: System) -> None:
    first = await post(system)
    async with system.worker():
        await system.until(first.body["id"])
    async with system.client.delete(first.headers["Location"]) as response:
        assert response.status == 204
    again = await post(system, Prefer="wait=5")
    assert (again.status, again.body, replayed(again)) == (202, first.body, True)
    assert await system.count() == 0


async def test_a_task_that_was_accepted_without_a_broker_is_told_as_pending_again(tmp_path: Path) -> None:
    settings: Settings = quick_settings(tmp_path)
    broker = MemoryBroker()
    async with System.open(settings, broker) as system:
        await broker.__aexit__(None, None, None)
        first = await post(system)
        assert (first.status, first.body["status"]) == (202, "pending")
        assert (await post(system)).body == first.body
