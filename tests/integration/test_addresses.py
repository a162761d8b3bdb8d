"""Behind a proxy that tells who asked it: where it is trusted, that is where a request comes from."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.integration.system import System, quick_settings

HEADER = "X-Forwarded-For"


@pytest.fixture
async def behind(tmp_path: Path) -> AsyncIterator[System]:
    """An API that trusts its proxy."""
    async with System.open(quick_settings(tmp_path, trust_forwarded_for=True)) as system:
        yield system


async def noted(system: System, *told: str) -> str:
    """Where a request that has changed something came from, as the audit has it."""
    id = await system.submit("x", delay=1000)
    answer = await system.post(f"/tasks/{id}/cancel", headers=[(HEADER, each) for each in told])
    assert answer.status == 202
    [entry, *_] = (await system.get("/audit")).body["entries"]
    return str(entry["address"])


@pytest.mark.parametrize(
    ("told", "address"),
    [
        (["192.0.2.1"], "192.0.2.1"),
        (["10.0.0.1, 192.0.2.1"], "192.0.2.1"),
        (["not one,192.0.2.1 "], "192.0.2.1"),
        (["10.0.0.1", "192.0.2.1"], "192.0.2.1"),
        (["2001:DB8::1"], "2001:db8::1"),
        ([], "127.0.0.1"),
    ],
    ids=str,
)
async def test_the_last_is_who_asked_the_proxy(behind: System, told: list[str], address: str) -> None:
    assert await noted(behind, *told) == address


@pytest.mark.parametrize("told", ["", "unknown", "192.0.2.1,", "192.0.2.1:80", "[2001:db8::1]", "1.2.3", "<b>"])
async def test_what_is_no_address_is_refused_and_nothing_is_done(behind: System, told: str) -> None:
    answer = await behind.post("/tasks", json={"action": "x"}, headers={HEADER: told})
    assert answer.status == 400
    assert answer.body["error"].startswith("X-Forwarded-For: ")
    assert await behind.count() == 0


async def test_a_client_that_nobody_said_to_trust_is_not_listened_to(system: System) -> None:
    for told in ("192.0.2.1", "unknown"):
        assert await noted(system, told) == "127.0.0.1"
