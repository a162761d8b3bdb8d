"""What HTTP itself promises: conditional requests, HEAD, Allow."""

import re

from tests.integration import actions
from tests.integration.openapi.described import Described
from tests.integration.system import System
from yarl import URL

METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE", "PURGE"]


async def read(system: System, id: str, **headers: str) -> tuple[int, str, bytes]:
    """Status, ETag and body of a task."""
    options = {name.replace("_", "-"): value for name, value in headers.items()}
    async with system.client.get(f"/tasks/{id}", headers=options) as response:
        return response.status, response.headers["ETag"], await response.read()


async def test_a_task_that_has_not_changed_is_not_sent_again(system: System) -> None:
    id = await system.submit("x", delay=1000)
    status, tag, body = await read(system, id)
    assert (status, bool(body)) == (200, True)
    assert (await read(system, id))[1] == tag
    for known in (tag, tag.removeprefix("W/"), f'"other", {tag}', "*"):
        assert await read(system, id, If_None_Match=known) == (304, tag, b"")
    for other in ('"other"', "nonsense", ""):
        assert await read(system, id, If_None_Match=other) == (200, tag, body)


async def test_each_change_of_a_task_gives_it_another_tag(system: System) -> None:
    id = await system.submit("report", {"name": "gate", "fractions": [0.5]})
    tags = [(await read(system, id))[1]]
    async with system.worker():
        await actions.started("gate")
        status, tag, _ = await read(system, id, If_None_Match=tags[-1])
        assert status == 200
        tags.append(tag)
        assert (await system.post(f"/tasks/{id}/cancel")).status == 202
        await system.until(id)
    status, tag, _ = await read(system, id, If_None_Match=tags[-1])
    assert status == 200
    assert len({*tags, tag}) == 3


async def test_a_wait_for_a_change_of_what_is_known(system: System) -> None:
    id = await system.submit("note", {"text": "x"})
    _, tag, _ = await read(system, id)
    async with system.worker():
        status, new, _ = await read(system, id, If_None_Match=tag, Prefer="wait=20")
    assert status == 200
    assert await read(system, id, If_None_Match=new, Prefer="wait=20") == (304, new, b"")


async def test_head_answers_as_get_does_without_a_body(system: System) -> None:
    id = await system.submit("x", delay=1000)
    for path in (f"/tasks/{id}", "/tasks", "/workers", "/readyz", "/tasks/none", "/tasks?limit=0"):
        async with system.client.get(path) as got, system.client.head(path) as head:
            assert head.status == got.status
            for name in ("Content-Type", "Content-Length", "ETag"):
                assert head.headers.get(name) == got.headers.get(name)
            assert await head.read() == b""
            assert await got.read()


async def test_each_path_tells_the_methods_that_it_has(system: System) -> None:
    described = await Described.read(system)
    for path, operations in described.document["paths"].items():
        allowed = {name.upper() for name in operations}
        if "GET" in allowed and "events" not in path:
            allowed.add("HEAD")
        for method in set(METHODS) - allowed:
            answer = await system.request(method, URL(re.sub("{.*?}", "x", path)))
            assert answer.status == 405, (method, path)
            assert set(answer.headers["Allow"].split(",")) == allowed
            assert f"method {method} not allowed" in answer.body["error"]
