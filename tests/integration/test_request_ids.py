"""X-Request-ID: from the client to the answer, the logs, the task and the worker's logs."""

import io
import json
import logging
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest
from tests.conformance.waiting import eventually
from tests.integration.system import System

from taskqueue.logs import set_up_logging
from taskqueue.settings import Settings

NAME = "X-Request-ID"


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    """What the process logs."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    root.handlers[:] = []
    stream = io.StringIO()
    monkeypatch.setattr("sys.stderr", stream)
    set_up_logging(Settings(log_format="json"))
    yield stream
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(capture=False)


def lines(log: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in log.getvalue().splitlines()]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/livez", 200),
        ("GET", "/docs", 200),
        ("GET", "/tasks/none", 404),
        ("GET", "/none", 404),
        ("PUT", "/tasks", 405),
        ("POST", "/tasks", 400),
        ("GET", "/events", 200),
        ("HEAD", "/tasks", 200),
    ],
)
async def test_every_answer_has_the_name_of_its_request(
    system: System, method: str, path: str, status: int
) -> None:
    for name in ("a", "~" * 128, "7:/?#[]@!$&'()*+,;=\"<>"):
        async with system.client.request(method, path, headers={NAME: name}) as response:
            assert (response.status, response.headers.getall(NAME)) == (status, [name])
    async with system.client.request(method, path) as response:
        assert UUID(response.headers[NAME])


@pytest.mark.parametrize("name", ["", "a b", "x" * 129, "\u00fc", "\t"])
async def test_a_name_that_can_not_be_logged_as_it_is_is_replaced(system: System, name: str) -> None:
    answer = await system.post("/tasks", json={"action": "x"}, headers={NAME: name})
    assert answer.status == 202
    assert UUID(answer.headers[NAME])


async def test_requests_have_names_of_their_own(system: System) -> None:
    names = [(await system.get("/livez")).headers[NAME] for _ in range(3)]
    assert len(set(names)) == 3


async def test_a_task_tells_which_request_submitted_it(system: System) -> None:
    headers = {NAME: "order-7"}
    one = await system.post("/tasks", json={"action": "x"}, headers=headers)
    batch = await system.post("/tasks/batch", json={"tasks": [{"action": "x"}] * 2}, headers=headers)
    unnamed = await system.post("/tasks", json={"action": "x"})
    for id in (one.body["id"], *(task["id"] for task in batch.body["tasks"])):
        assert (await system.task(id))["request_id"] == "order-7"
    assert (await system.task(unnamed.body["id"]))["request_id"] == unnamed.headers[NAME]
    listed = (await system.get("/tasks")).body["tasks"]
    assert [task["request_id"] for task in listed] == [unnamed.headers[NAME], *["order-7"] * 3]


@pytest.mark.parametrize("in_bulk", [False, True])
async def test_each_attempt_tells_which_request_led_to_it(system: System, log: io.StringIO, in_bulk: bool) -> None:
    answer = await system.post("/tasks", json={"action": "refuse"}, headers={NAME: "first"})
    id = answer.body["id"]
    async with system.worker():
        await system.until(id)
        if in_bulk:
            answer = await system.post("/tasks/retry", json={"action": "refuse"}, headers={NAME: "second"})
        else:
            answer = await system.post(f"/tasks/{id}/retry", headers={NAME: "second"})
        assert answer.status in {200, 202}
        await eventually(lambda: system.attempts_ended(id, 2))
    task = await system.task(id)
    assert [attempt["request_id"] for attempt in task["attempts"]] == ["first", "second"]
    assert task["request_id"] == "second"
    told = {(line["attempt"], line["request_id"]) for line in lines(log) if "attempt" in line}
    assert told == {(1, "first"), (2, "second")}


@pytest.mark.parametrize("action", ["log_something", "log_something_in_a_thread"])
async def test_what_a_handler_logs_names_its_attempt_and_request(
    system: System, log: io.StringIO, action: str
) -> None:
    answer = await system.post("/tasks", json={"action": action}, headers={NAME: "order-7"})
    async with system.worker():
        await system.until(answer.body["id"])
    await eventually(lambda: "task completed" in log.getvalue())
    [line] = [line for line in lines(log) if line["message"] == "something"]
    expected = {"task_id": answer.body["id"], "action": action, "attempt": 1, "request_id": "order-7"}
    assert expected.items() <= line.items()


async def test_lines_about_a_request_and_about_its_tasks_attempts_have_its_name(
    system: System, log: io.StringIO
) -> None:
    answer = await system.post("/tasks", json={"action": "fail"}, headers={NAME: "order-7"})
    await system.post("/tasks", json={"action": "x", "delay": 1000})
    async with system.worker():
        await system.until(answer.body["id"])
    await eventually(lambda: "task failed" in log.getvalue())
    about = [line for line in lines(log) if line.get("task_id") == answer.body["id"]]
    assert {line["request_id"] for line in about} == {"order-7"}
    told = [line["message"] for line in about]
    assert told[:2] == ["task accepted", "processing task"]
    assert told[-1] == "task failed"
    assert all(line.get("request_id") != "order-7" for line in lines(log) if line not in about)
