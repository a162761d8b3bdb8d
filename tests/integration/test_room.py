"""Large bodies and answers take turns; small ones wait for nobody."""

import asyncio
import json
import threading
from collections.abc import AsyncIterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from tests.conformance.waiting import eventually
from tests.integration.actions import let_go, started
from tests.integration.system import Answer, System, quick_settings

from taskqueue_api import app as application
from taskqueue_api.http.deadline import COMING, WORKED_ON
from taskqueue_api.http.room import ANSWERS, LARGE, TURN, Room, off_loop
from taskqueue_api.resources import submit

TEXT = "é" * LARGE
BODY = json.dumps({"action": "x", "data": {"text": TEXT}}, ensure_ascii=False).encode()


def app_of(system: System) -> web.Application:
    app: web.Application = system.client.server.app  # type: ignore[attr-defined]
    return app


# The room


async def test_those_who_wait_are_served_in_their_order() -> None:
    room, served = Room(10, 20), list[int]()

    async def take(number: int, size: int) -> None:
        async with room.taken(size):
            served.append(number)

    async with room.taken(6):
        waiting = [asyncio.create_task(take(number, size)) for number, size in enumerate([5, 100, 1])]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert served == [], "the small one doesn't overtake"
    await asyncio.gather(*waiting)
    assert served == [0, 1, 2]


async def test_who_is_larger_than_the_room_has_it_alone() -> None:
    room = Room(10, 0.01)
    async with room.taken(1000):
        with pytest.raises(web.HTTPServiceUnavailable) as refused:
            async with room.taken(1):
                pass
    assert refused.value.headers["Retry-After"]
    async with room.taken(10):
        pass


async def test_who_gives_up_waiting_holds_up_nobody() -> None:
    room = Room(10, 20)

    async def take(size: int) -> None:
        async with room.taken(size):
            pass

    async with room.taken(5):
        impatient = asyncio.create_task(take(10))
        await asyncio.sleep(0)
        impatient.cancel()
        await asyncio.wait({impatient})
        async with asyncio.timeout(5):
            await take(5)


async def test_large_work_is_done_off_the_loop_one_at_a_time() -> None:
    app, here, busy = web.Application(), threading.get_ident(), threading.Lock()
    app[TURN] = asyncio.Lock()

    def work() -> int:
        with busy:
            return threading.get_ident()

    def alone() -> bool:
        taken = busy.acquire(blocking=False)
        threading.Event().wait(0.01)
        busy.release()
        return taken

    assert await off_loop(app, LARGE, work) == here
    assert await off_loop(app, LARGE + 1, work) != here
    assert await asyncio.gather(*(off_loop(app, LARGE + 1, alone) for _ in range(5))) == [True] * 5


# Bodies


@pytest.fixture
async def system(tmp_path: Path) -> AsyncIterator[System]:
    async with System.open(quick_settings(tmp_path, request_timeout=0.3)) as system:
        yield system


@pytest.mark.parametrize("key", [COMING, WORKED_ON])
async def test_a_large_body_whose_turn_does_not_come_is_answered_503(
    system: System, key: web.AppKey[Room]
) -> None:
    async with app_of(system)[key].taken(2**40):
        small, large = await asyncio.gather(
            system.post("/tasks", json={"action": "x"}), system.post("/tasks", data=BODY)
        )
        assert small.status == 202
        assert (large.status, large.body) == (503, {"error": "too many large requests at once"})
        assert large.headers["Retry-After"]
    assert (await system.post("/tasks", data=BODY)).status == 202
    assert await system.count() == 2


async def test_a_large_body_waits_for_its_turn_before_it_is_read(tmp_path: Path) -> None:
    async with System.open(quick_settings(tmp_path)) as system:
        async with app_of(system)[WORKED_ON].taken(2**40):
            posting = asyncio.create_task(system.post("/tasks", data=BODY))
            await eventually(lambda: app_of(system)[COMING]._free < app_of(system)[COMING]._size)
        assert (await posting).status == 202
        for key in (COMING, WORKED_ON):
            assert app_of(system)[key]._free == app_of(system)[key]._size


async def test_a_body_of_unknown_length_takes_the_room_of_the_largest(tmp_path: Path) -> None:
    go_on = asyncio.Event()

    async def chunks() -> AsyncIterator[bytes]:
        yield BODY
        await go_on.wait()

    async with System.open(quick_settings(tmp_path, max_body_bytes=LARGE * 10)) as system:
        room = app_of(system)[COMING]
        posting = asyncio.create_task(system.post("/tasks", data=chunks()))
        await eventually(lambda: room._free == room._size - LARGE * 10)
        go_on.set()
        assert (await posting).status == 202
        assert room._free == room._size


async def test_who_waits_for_its_task_holds_nothing(tmp_path: Path) -> None:
    body = {"action": "hold", "data": {"name": "gate"}, "tags": []} | {"priority": "high"}
    padded = json.dumps(body).encode() + b" " * LARGE
    async with System.open(quick_settings(tmp_path)) as system, system.worker():
        waiting = asyncio.create_task(system.post("/tasks", data=padded, headers={"Prefer": "wait=20"}))
        await started("gate")
        for key in (COMING, WORKED_ON):
            assert app_of(system)[key]._free == app_of(system)[key]._size
        let_go("gate")
        assert (await waiting).status == 200


async def test_what_fails_off_the_loop_is_answered_as_on_it(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads = []
    read = submit.read_json

    def reading(*values: Any) -> Any:
        threads.append(threading.current_thread())
        return read(*values)

    monkeypatch.setattr(submit, "read_json", reading)
    for padding in (0, LARGE):
        answer = await system.post("/tasks", data=b'{"action": ""}' + b" " * padding)
        assert (answer.status, answer.body) == (400, {"error": "action required"})
    assert [thread is threading.main_thread() for thread in threads] == [True, False]


# Answers


async def large_task(system: System) -> str:
    answer = await system.post("/tasks", data=BODY)
    return str(answer.body["id"])


@pytest.mark.parametrize("path", ["/tasks/{id}", "/tasks", "/tasks?status=queued&limit=1"])
async def test_a_large_answer_whose_turn_does_not_come_is_503(system: System, path: str) -> None:
    id = await large_task(system)
    async with app_of(system)[ANSWERS].taken(2**40):
        assert (await system.get(path.format(id=id))).status == 503
        assert (await system.post(f"/tasks/{id}/cancel")).status == 202, "what needs no payload doesn't wait"
    answer = await system.get(path.format(id=id).replace("queued", "cancelled"))
    assert answer.status == 200
    task = answer.body if "{id}" in path else answer.body["tasks"][0]
    assert task["payload"]["data"] == {"text": TEXT}
    assert app_of(system)[ANSWERS]._free == application.ANSWER_BYTES


async def test_a_small_answer_waits_for_nobody(system: System) -> None:
    id = await system.submit("x")
    async with app_of(system)[ANSWERS].taken(2**40):
        for path in (f"/tasks/{id}", "/tasks", "/tasks?limit=1"):
            assert (await system.get(path)).status == 200


async def test_the_wait_for_a_large_task_ends_with_all_of_it(tmp_path: Path) -> None:
    async with System.open(quick_settings(tmp_path)) as system:
        id = await large_task(system)
        waiting = asyncio.create_task(system.get(f"/tasks/{id}", headers={"Prefer": "wait=20"}))
        async with system.worker():
            answers: list[Answer] = [await waiting]
            answers.append(await system.post("/tasks", data=BODY, headers={"Prefer": "wait=20"}))
        for answer in answers:
            assert (answer.status, answer.body["status"]) == (200, "completed")
            assert answer.body["payload"]["data"] == {"text": TEXT}


async def test_who_takes_a_large_answer_too_slowly_is_cut_off(tmp_path: Path) -> None:
    size = 8_000_000  # more than the buffers between the two hold
    body = BytesIO(b'{"action": "x", "data": {"text": "' + b"x" * size + b'"}}')
    settings = quick_settings(
        tmp_path, request_timeout=1, max_body_bytes=9_000_000, max_batch_bytes=9_000_000, max_task_bytes=9_000_000
    )
    async with System.open(settings) as system:
        id = (await system.post("/tasks", data=body)).body["id"]
        reader, writer = await asyncio.open_connection(system.client.host, system.client.port, limit=1024)
        writer.write(f"GET /tasks/{id} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        room = app_of(system)[ANSWERS]
        await eventually(lambda: room._free < room._size)
        await eventually(lambda: room._free == room._size)
        with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
            await reader.readexactly(size)
        writer.close()
