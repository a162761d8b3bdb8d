"""What every answer says to browsers, to caches, and to who looks for versions."""

from pathlib import Path
from typing import Any

import pytest
from tests.integration.raw import ask
from tests.integration.system import System, quick_settings

from taskqueue_api.routes import ROUTES

ADDRESSES = [(route.method, route.path.replace("{id}", "x").replace("{key}", "x")) for route in ROUTES]


def check(headers: Any) -> None:
    assert headers["Server"] == "taskqueue"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers.getall("Cache-Control") in (["no-store"], ["no-cache"], ["private, no-cache"])


@pytest.mark.parametrize("auth", ["off", "on"])
async def test_no_answer_tells_a_version_or_lets_itself_be_guessed_at_or_kept(tmp_path: Path, auth: str) -> None:
    async with System.open(quick_settings(tmp_path, auth=auth)) as system:
        for method, path in [*ADDRESSES, ("GET", "/no/such/path"), ("PUT", "/tasks"), ("OPTIONS", "/tasks")]:
            async with system.client.request(method, path) as response:
                check(response.headers)


async def test_what_is_private_is_kept_by_nobody_but_who_may_read_it(system: System) -> None:
    id = await system.submit("uppercase", {"text": "a"})
    for path, told in (("/tasks", "no-store"), (f"/tasks/{id}", "private, no-cache"), ("/stats", "no-store")):
        async with system.client.get(path) as response:
            assert response.headers["Cache-Control"] == told


async def test_what_is_no_http_is_told_no_version_either(system: System) -> None:
    for sent in (b"nonsense\r\n\r\n", b"GET / HTTP/1.1\r\nHost: x\r\nExpect: y\r\n\r\n"):
        [answer] = await ask(system, sent)
        assert (answer.headers["server"], answer.headers["cache-control"]) == ("taskqueue", "no-store")
        assert answer.headers["x-content-type-options"] == "nosniff"
