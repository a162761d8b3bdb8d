"""Behind a proxy that serves the API under a path of its own: where it is trusted, addresses begin with it."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.integration.system import System, quick_settings

HEADER = "X-Forwarded-Prefix"


@pytest.fixture
async def behind(tmp_path: Path) -> AsyncIterator[System]:
    """An API that trusts its proxy."""
    async with System.open(quick_settings(tmp_path, trust_forwarded_prefix=True)) as system:
        yield system


async def addresses(system: System, headers: dict[str, str]) -> tuple[str, str, str]:
    """What `Location`, `Link` and the document tell, up to the API's own paths."""
    for _ in range(2):
        accepted = await system.post("/tasks", json={"action": "x"}, headers=headers)
    location = accepted.headers["Location"].removesuffix(f"/tasks/{accepted.body['id']}")
    page = await system.get("/tasks?limit=1", headers=headers)
    link, *_ = page.headers["Link"].removeprefix("<").partition("/tasks?limit=1&cursor=")
    [server] = (await system.get("/openapi.json", headers=headers)).body["servers"]
    return location, link, server["url"]


@pytest.mark.parametrize("prefix", ["/queue", "/queue/", "/a/b-c_d/v1.2~x"])
async def test_addresses_begin_with_the_prefix_of_a_trusted_proxy(behind: System, prefix: str) -> None:
    assert await addresses(behind, {HEADER: prefix}) == (prefix.rstrip("/"),) * 3


@pytest.mark.parametrize("headers", [{}, {HEADER: ""}, {HEADER: "/"}], ids=str)
async def test_without_one_they_begin_at_the_root(behind: System, headers: dict[str, str]) -> None:
    assert await addresses(behind, headers) == ("", "", "/")


async def test_who_waits_gets_it_too(behind: System) -> None:
    async with behind.worker():
        headers = {HEADER: "/queue", "Prefer": "wait=20"}
        answer = await behind.post("/tasks", json={"action": "uppercase"}, headers=headers)
    assert (answer.status, answer.headers["Location"]) == (200, f"/queue/tasks/{answer.body['id']}")


async def test_the_root_leads_to_what_is_under_the_prefix(behind: System) -> None:
    headers = {HEADER: "/queue"}
    told = (await behind.get("/", headers=headers)).body
    assert (told["docs"], told["openapi"]) == ("/queue/docs", "/queue/openapi.json")
    browser = headers | {"Accept": "text/html"}
    async with behind.client.get("/", headers=browser, allow_redirects=False) as response:
        assert (response.status, response.headers["Location"]) == (307, "/queue/ui")


async def test_a_browser_that_has_the_document_at_one_prefix_has_not_that_at_another(behind: System) -> None:
    known = (await behind.get("/openapi.json", headers={HEADER: "/a"})).headers["Etag"]
    for prefix, status in (("/a", 304), ("/b", 200)):
        async with behind.client.get("/openapi.json", headers={HEADER: prefix, "If-None-Match": known}) as answer:
            assert answer.status == status


async def test_a_client_that_nobody_said_to_trust_is_not_listened_to(system: System) -> None:
    for prefix in ("/queue", "//evil.example", "<"):
        assert await addresses(system, {HEADER: prefix}) == ("", "", "/")


@pytest.mark.parametrize(
    "prefix",
    [
        "queue",
        "//evil.example",
        "/queue//x",
        "/..",
        "/queue/../x",
        "https://evil.example",
        "/a b",
        "/<script>",
        '/x>; rel="next"',
        "/a,/b",
        "/a?b",
        "/a#b",
        "/%2F",
        "/a\\b",
        "/ü",
        "/" + "x" * 200,
    ],
)
async def test_what_is_no_path_is_refused_and_nothing_is_done(behind: System, prefix: str) -> None:
    answer = await behind.post("/tasks", json={"action": "x"}, headers={HEADER: prefix})
    assert answer.status == 400
    assert answer.body["error"].startswith("X-Forwarded-Prefix: ")
    assert await behind.count() == 0


async def test_two_of_them_are_refused(behind: System) -> None:
    async with behind.client.get("/tasks", headers=[(HEADER, "/a"), (HEADER, "/b")]) as answer:
        assert answer.status == 400
