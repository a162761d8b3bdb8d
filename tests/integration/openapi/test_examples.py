"""The document's examples of requests are sent as they are; what is answered has the shape of its examples."""

import json
from typing import Any

import pytest
from tests.conformance.burying import bury
from tests.integration.openapi.described import Described, Reply
from tests.integration.system import System

from taskqueue_api.openapi.examples import DEAD_LETTER
from taskqueue_api.openapi.terms import JSON
from taskqueue_api.routes import ROUTES

OPERATIONS = [route.operation for route in ROUTES]
BODIES = [
    (operation.id, content.media_type, name)
    for operation in OPERATIONS
    for content in operation.body
    for name in content.examples
]
HEADERS = [(operation.id, header.name) for operation in OPERATIONS for header in operation.headers]


#: Members whose own members are each task's or action's.
FREE = {"data", "filter", "result", "arguments", "defaults", "executors"}


def assert_alike(example: Any, real: Any) -> None:
    """Whether both have the same members, all the way down. What is null may be anything."""
    if isinstance(example, dict) and isinstance(real, dict):
        assert example.keys() - {"next"} == real.keys() - {"next"}
        for name in example.keys() & real.keys() - FREE:
            assert_alike(example[name], real[name])
    elif isinstance(example, list) and isinstance(real, list):
        if example and real:
            assert_alike(example[0], real[0])
    elif example is not None and real is not None:
        numbers = int | float
        both = isinstance(example, numbers) and isinstance(real, numbers)
        assert both or type(example) is type(real)


async def bury_the_example(system: System) -> None:
    """The dead letter whose id the examples have."""
    await bury(system.broker, DEAD_LETTER["message"].encode(), reason=DEAD_LETTER["reason"])


async def send_example(system: System, described: Described, id: str, **options: Any) -> None:
    """Send a request that is answered as documented, with success."""
    method, path, operation = described.operations[id]
    task = await system.submit("uppercase", {"text": "x"}, delay=1000)
    if id != "cancel_task":
        await system.post(f"/tasks/{task}/cancel")
    if "dead_letters" in id:
        await bury_the_example(system)
    key = (await system.post("/keys", json={"label": "x", "role": "read"})).body["id"]
    path = path.replace("{id}", task).replace("{file}", "start.js").replace("{key}", key)
    async with system.client.request(method, path, **options) as response:
        if response.content_type == "text/event-stream" and id == "watch_tasks":
            assert (await response.content.readline()).startswith(b"event: ")
            return
        reply = await Reply.read(response)
    assert 200 <= reply.status < 300
    described.check(id, reply)
    if reply.body and reply.content_type == JSON and id != "get_openapi":
        answer = operation["responses"][str(reply.status)]["content"][JSON]
        for example in answer["examples"].values():
            assert_alike(example["value"], reply.json)


@pytest.mark.parametrize(("id", "media_type", "name"), BODIES)
async def test_a_body(system: System, described: Described, id: str, media_type: str, name: str) -> None:
    example = described.operations[id][2]["requestBody"]["content"][media_type]["examples"][name]["value"]
    body = example if isinstance(example, str) else json.dumps(example)
    await send_example(system, described, id, data=body, headers={"Content-Type": media_type})


@pytest.mark.parametrize(("id", "name"), HEADERS)
async def test_a_header(system: System, described: Described, id: str, name: str) -> None:
    operation = described.operations[id][2]
    [example] = [parameter["example"] for parameter in operation["parameters"] if parameter["name"] == name]
    bodies = {"submit_task": {"action": "x"}, "submit_batch": {"tasks": [{"action": "x"}]}}
    await send_example(system, described, id, json=bodies.get(id), headers={name: example})


@pytest.mark.parametrize(
    "id", [operation.id for operation in OPERATIONS if not operation.body and operation.id != "watch_tasks"]
)
async def test_a_request_without_either(system: System, described: Described, id: str) -> None:
    async with system.worker():
        await system.until(await system.submit("uppercase", {"text": "hello world"}))
        await send_example(system, described, id)


async def test_the_example_of_a_task_is_what_the_example_of_its_submission_comes_to(
    system: System, described: Described
) -> None:
    operation = described.operations["submit_task"][2]
    body = operation["requestBody"]["content"][JSON]["examples"]["a task"]["value"]
    async with system.worker():
        task = await system.until((await system.post("/tasks", json=body)).body["id"])
    example = operation["responses"]["200"]["content"][JSON]["examples"]["example"]["value"]
    assert_alike(example, task)
    for name in ("action", "status", "result", "error", "tags", "priority", "attempt", "max_attempts"):
        assert task[name] == example[name]
    assert task["data"] == task["payload"]["data"] == example["data"] == example["payload"]["data"]
