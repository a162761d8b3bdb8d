"""Dead letters, seen and ended over HTTP."""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.conformance.burying import until_dead
from tests.integration.system import Answer, System, quick_settings
from tests.integration.test_store_away import lose_its_content

from taskqueue.broker import PublishError, turn
from taskqueue.broker.memory import MemoryBroker

NOT_JSON = "malformed message: not JSON"


class FadingBroker(MemoryBroker):
    """One that takes so many messages, and then no more."""

    room = 1000

    async def publish(self, body: bytes, *, message_id: str, priority: int, timeout: float) -> None:
        if self.room == 0:
            raise PublishError("the broker at 10.0.0.5 is gone")
        self.room -= 1
        await super().publish(body, message_id=message_id, priority=priority, timeout=timeout)


@pytest.fixture
async def system(tmp_path: Path) -> AsyncIterator[System]:
    async with System.open(quick_settings(tmp_path), FadingBroker()) as system:
        yield system


async def bury_by_worker(system: System, *bodies: bytes) -> None:
    """Have a worker meet them."""
    before = await system.broker.dead_count()
    async with system.worker():
        for number, body in enumerate(bodies, 1):
            await system.broker.publish(body, message_id="x", priority=4, timeout=1)
            await until_dead(system.broker, before + number)


async def letters(system: System, query: str = "") -> list[dict[str, Any]]:
    answer = await system.get(f"/dead{query}")
    assert answer.status == 200, answer
    assert answer.headers["Cache-Control"] == "no-store"
    return list(answer.body["letters"])


async def end(system: System, verb: str, **body: Any) -> Answer:
    return await system.post(f"/dead/{verb}", json=body)


async def audit(system: System) -> list[tuple[str, Any, int]]:
    entries = (await system.get("/audit")).body["entries"]
    return [(each["operation"], each["filter"], each["tasks"]) for each in entries]


async def test_they_are_told_with_why_and_since_when(system: System) -> None:
    assert (await system.get("/dead")).body == {"letters": [], "count": 0, "total": 0}
    await bury_by_worker(system, b"<b>\xff", b"x" * 5000, b"third")
    first, second = await letters(system, "?limit=2")
    assert first == {
        "id": first["id"],
        "reason": NOT_JSON,
        "died_at": pytest.approx(time.time(), abs=20),
        "message": "<b>\\xff",
        "size": 4,
        "truncated": False,
    }
    assert (second["message"], second["size"], second["truncated"]) == ("x" * 2000, 5000, True)
    answer = (await system.get("/dead?limit=2")).body
    assert (answer["count"], answer["total"]) == (2, 3)


async def test_those_that_are_named_are_dropped_and_that_is_noted(system: System) -> None:
    await bury_by_worker(system, b"1", b"2", b"3")
    ids = [letter["id"] for letter in await letters(system)]
    answer = await end(system, "drop", ids=ids[:2])
    assert (answer.status, answer.body) == (200, {"count": 2, "left": 1})
    assert [letter["id"] for letter in await letters(system)] == ids[2:]
    assert await audit(system) == [("drop_dead_letters", {"ids": ids[:2]}, 2)]


async def test_those_that_are_requeued_come_to_a_worker_again(system: System) -> None:
    await bury_by_worker(system, b"1", b"2")
    ids = [letter["id"] for letter in await letters(system)]
    answer = await end(system, "requeue", ids=ids[:1])
    assert (answer.status, answer.body) == (200, {"count": 1, "left": 1})
    assert await system.broker.ready_count() == 1
    async with system.worker():
        await until_dead(system.broker, 2)
    assert {letter["message"] for letter in await letters(system)} == {"1", "2"}
    assert await audit(system) == [("requeue_dead_letters", {"ids": ids[:1]}, 1)]


async def test_of_all_so_many_of_the_oldest_are_ended(system: System) -> None:
    await bury_by_worker(system, b"1", b"2", b"3")
    assert (await end(system, "requeue", all=True, limit=2)).body == {"count": 2, "left": 1}
    assert (await end(system, "drop", all=True)).body == {"count": 1, "left": 0}
    assert (await end(system, "drop", all=True)).body == {"count": 0, "left": 0}
    assert await audit(system) == [
        ("drop_dead_letters", {"all": True}, 1),
        ("requeue_dead_letters", {"all": True, "limit": 2}, 2),
    ]


async def test_where_one_is_not_there_nothing_is_done(system: System) -> None:
    await bury_by_worker(system, b"1", b"2")
    ids = [letter["id"] for letter in await letters(system)]
    for body in ({"ids": [*ids, "nobody"]}, {"ids": ids, "limit": 1}):
        answer = await end(system, "drop", **body)
        assert answer.status == 404
        assert answer.body["error"].endswith("now; nothing was done")
    assert len(await letters(system)) == 2
    assert await audit(system) == []


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"ids": []},
        {"ids": None},
        {"all": False},
        {"ids": ["x"], "all": True},
        {"ids": "x"},
        {"ids": [""]},
        {"ids": ["x" * 101]},
        {"ids": ["x"] * 1001},
        {"all": 1},
        {"all": True, "limit": 1001},
        {"all": True, "limit": "1"},
        {"all": True, "dry_run": True},
    ],
)
async def test_what_does_not_say_which_ends_none(system: System, body: dict[str, Any]) -> None:
    await bury_by_worker(system, b"1")
    for verb in ("requeue", "drop"):
        answer = await end(system, verb, **body)
        assert answer.status == 400, answer
    assert await system.broker.dead_count() == 1


async def test_a_broker_that_is_away_is_told_without_where_it_is(system: System) -> None:
    await system.broker.__aexit__(None, None, None)
    for answer in (
        await system.get("/dead"),
        await end(system, "requeue", all=True),
        await end(system, "drop", ids=["x"]),
    ):
        assert (answer.status, answer.body) == (503, {"error": "broker unavailable"})
        assert answer.headers["Retry-After"] == "2"
    assert await audit(system) == []


async def test_a_broker_that_goes_away_amid_it_leaves_the_others_and_a_note_of_those_that_are_done(
    system: System, caplog: pytest.LogCaptureFixture
) -> None:
    assert isinstance(system.broker, FadingBroker)
    await bury_by_worker(system, b"1", b"2", b"3")
    system.broker.room = 1
    answer = await end(system, "requeue", all=True)
    assert (answer.status, answer.body) == (503, {"error": "broker unavailable"})
    assert "10.0.0.5 is gone" in caplog.text
    assert [letter["message"] for letter in await letters(system)] == ["2", "3"]
    assert await audit(system) == [("requeue_dead_letters", {"all": True}, 1)]


async def test_what_can_not_be_noted_is_not_done(system: System) -> None:
    await bury_by_worker(system, b"1")
    lose_its_content(system.settings.database)
    answer = await end(system, "drop", all=True)
    assert (answer.status, answer.body) == (503, {"error": "database unavailable"})
    assert await system.broker.dead_count() == 1


async def test_one_request_waits_for_another_and_not_for_long(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    await bury_by_worker(system, b"1")
    async with system.broker.dead_letters(1):
        waiting = asyncio.create_task(letters(system))
        monkeypatch.setattr(turn, "PATIENCE", 0.05)
        answer = await end(system, "drop", all=True)
        assert (answer.status, answer.body) == (503, {"error": "others look at the dead letters now"})
        monkeypatch.undo()
    with pytest.raises(AssertionError, match="others look"):
        await waiting
    assert len(await letters(system)) == 1
