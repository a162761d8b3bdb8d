"""An API that asks for no keys is reached by this machine's own names only, lest a page's name leads to it."""

from pathlib import Path

import pytest
from tests.integration.keys import asking_for_keys, key_of, shown
from tests.integration.system import System, quick_settings

from taskqueue.contract.keys import Role


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "127.0.0.1:8080",
        "[::1]:8080",
        "localhost:8080",
        "a.localhost",
        "api:8080",
        "host.docker.internal",
    ],
)
async def test_this_machines_names_are_answered(system: System, host: str) -> None:
    assert (await system.get("/tasks", headers={"Host": host})).status == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:8080",
        "127.0.0.1.evil.example",
        "localhost.evil.example",
        "evil.example.",
        "[",
    ],
)
@pytest.mark.parametrize("path", ["/tasks", "/ui/tasks", "/livez", "/nowhere"])
async def test_a_name_that_was_made_to_lead_here_is_not(system: System, host: str, path: str) -> None:
    answer = await system.get(path, headers={"Host": host})
    assert answer.status == 403
    assert "TASKQUEUE_AUTH=proxy" in answer.body["error"]


async def test_it_submits_nothing(system: System) -> None:
    page = {"Host": "evil.example", "Origin": "http://evil.example", "Sec-Fetch-Site": "same-origin"}
    assert (await system.post("/tasks", json={"action": "x"}, headers=page)).status == 403
    assert await system.count() == 0


async def test_who_checks_who_asks_is_reached_by_any_name(tmp_path: Path) -> None:
    page = {"Host": "queue.example"}
    async with System.open(quick_settings(tmp_path, auth="proxy")) as system:
        assert (await system.get("/tasks", headers=page)).status == 200
    async with asking_for_keys(tmp_path) as system:
        key = await key_of(system, Role.READ)
        assert (await system.get("/tasks", headers=page | shown(key))).status == 200
