"""Sessions of pages: begun with a key, and good for no longer than it."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from tests.conformance.waiting import eventually
from tests.integration.keys import asking_for_keys, key_of, shown
from tests.integration.system import System

from taskqueue.contract.keys import Role, read_key
from taskqueue_api.http.credentials import COOKIE
from taskqueue_api.keys import WATCHER
from taskqueue_api.live.sessions import sign, verify
from taskqueue_api.resources.sessions import LASTS, begin_session, end_session, sign_in

NOW = 1_800_000_000_000


class Clock:
    now = NOW

    def __call__(self) -> int:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def system(tmp_path: Path, clock: Clock) -> AsyncIterator[System]:
    async with asking_for_keys(tmp_path, clock=clock) as system:
        yield system


def request_to(system: System, **headers: str) -> web.Request:
    """A request as a page's handler has it."""
    from aiohttp.test_utils import make_mocked_request

    return make_mocked_request("POST", "/", headers=headers, app=system.client.server.app)  # type: ignore[attr-defined]


async def session_of(system: System, key: str) -> str:
    request, response = request_to(system), web.Response()
    begin_session(request, response, await sign_in(request, key))
    return response.cookies[COOKIE].value


def showing(session: str, **headers: str) -> dict[str, str]:
    return {"Cookie": f"{COOKIE}={session}"} | {name.replace("_", "-"): value for name, value in headers.items()}


async def status(system: System, method: str, path: str, headers: dict[str, str], **options: Any) -> int:
    async with system.client.request(method, path, headers=headers, **options) as response:
        return response.status


async def test_a_session_opens_what_its_key_opens(system: System) -> None:
    session = await session_of(system, await key_of(system, Role.SUBMIT))
    assert await status(system, "GET", "/tasks", showing(session)) == 200
    assert await status(system, "POST", "/tasks", showing(session), json={"action": "x"}) == 202
    assert await status(system, "GET", "/keys", showing(session)) == 403


async def test_its_cookie_is_kept_from_scripts_and_other_sites(system: System) -> None:
    key = await key_of(system, Role.READ)
    for proto, secure in (("", False), ("https", True)):
        request, response = request_to(system, **{"X-Forwarded-Proto": proto}), web.Response()
        begin_session(request, response, await sign_in(request, key))
        cookie = response.cookies[COOKIE]
        assert (cookie["httponly"], cookie["samesite"], bool(cookie["secure"])) == (True, "Strict", secure)
        assert cookie["max-age"] == str(LASTS)
        assert key not in cookie.value


async def test_it_ends_where_it_is_ended(system: System) -> None:
    response = web.Response()
    end_session(request_to(system), response)
    assert response.cookies[COOKIE].value == "" and response.cookies[COOKIE]["max-age"] == "0"


async def test_it_ends_at_its_time(system: System, clock: Clock) -> None:
    session = await session_of(system, await key_of(system, Role.READ))
    clock.now += LASTS * 1000 - 1
    assert await status(system, "GET", "/tasks", showing(session)) == 200
    clock.now += 1
    assert await status(system, "GET", "/tasks", showing(session)) == 401


async def test_it_ends_with_its_key(system: System, clock: Clock) -> None:
    admin = shown(await key_of(system, Role.ADMIN))
    expiring = await session_of(system, await key_of(system, Role.READ, expires_at=NOW + 1000))
    key = await key_of(system, Role.READ)
    revoked = await session_of(system, key)
    parts = read_key(key)
    assert parts
    assert await status(system, "DELETE", f"/keys/{parts[0]}", admin) == 200
    assert await status(system, "GET", "/tasks", showing(revoked)) == 401
    clock.now += 1000
    assert await status(system, "GET", "/tasks", showing(expiring)) == 401


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://other.example"},
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site"},
        {"Origin": "null"},
    ],
)
@pytest.mark.parametrize("allowed", ["", "*"])
async def test_another_sites_page_changes_nothing_by_it(
    tmp_path: Path, headers: dict[str, str], allowed: str
) -> None:
    """Not even where its origin may use the API, which then shows a key of its own."""
    async with asking_for_keys(tmp_path, cors_origins=allowed) as system:
        session = await session_of(system, await key_of(system, Role.ADMIN))
        assert await status(system, "POST", "/tasks", showing(session, **headers), json={"action": "x"}) == 403
        assert await system.store.reads.waiting_count() == 0


async def test_a_key_in_a_header_counts_before_a_session(system: System) -> None:
    session = await session_of(system, await key_of(system, Role.ADMIN))
    reader = shown(await key_of(system, Role.READ))
    assert await status(system, "GET", "/keys", showing(session) | reader) == 403


async def test_a_session_that_was_made_up_opens_nothing(system: System) -> None:
    key = await key_of(system, Role.ADMIN)
    session = await session_of(system, key)
    id, until, mark = session.split(".")
    for wrong in (
        f"{id}.{int(until) + 1}.{mark}",
        f"{'x' * 12}.{until}.{mark}",
        f"{id}.{until}.{'0' * 64}",
        f"{id}.{until}",
        session + "0",
        sign(b"", id, int(until)),
        key,
        "",
    ):
        assert await status(system, "GET", "/keys", showing(wrong)) == 401


async def test_a_wrong_key_signs_nobody_in(system: System) -> None:
    with pytest.raises(web.HTTPUnauthorized):
        await sign_in(request_to(system), "tq_wrong")


async def test_sessions_hold_at_all_apis_on_a_store_and_after_a_restart(tmp_path: Path) -> None:
    async with asking_for_keys(tmp_path) as system:
        session = await session_of(system, await key_of(system, Role.READ))
    async with asking_for_keys(tmp_path) as system:
        assert await status(system, "GET", "/tasks", showing(session)) == 200


async def test_a_stream_ends_when_its_key_is_revoked(system: System) -> None:
    admin = shown(await key_of(system, Role.ADMIN))
    key = await key_of(system, Role.READ)
    parts = read_key(key)
    assert parts
    async with system.client.get("/events", headers=shown(key)) as stream:
        assert stream.status == 200
        assert await status(system, "DELETE", f"/keys/{parts[0]}", admin) == 200
        assert await status(system, "POST", "/tasks", admin, json={"action": "x"}) == 202
        assert await stream.content.read() == b""


async def test_a_stream_ends_with_its_session(system: System, clock: Clock) -> None:
    key = await key_of(system, Role.SUBMIT)
    async with system.client.get("/events", headers=showing(await session_of(system, key))) as stream:
        clock.now += LASTS * 1000
        assert await status(system, "POST", "/tasks", shown(key), json={"action": "x"}) == 202
        async with asyncio.timeout(10):
            assert await stream.content.read() == b""


async def test_a_wait_tells_nothing_once_its_key_is_revoked(system: System) -> None:
    admin = shown(await key_of(system, Role.ADMIN))
    key = await key_of(system, Role.READ)
    parts = read_key(key)
    assert parts
    async with system.client.post("/tasks", headers=admin, json={"action": "x"}) as accepted:
        path = f"/tasks/{(await accepted.json())['id']}"
    waiting = asyncio.create_task(status(system, "GET", path, shown(key) | {"Prefer": "wait=30"}))

    async def waits() -> bool:
        return system.client.server.app[WATCHER].listeners == 1  # type: ignore[attr-defined]

    await eventually(waits)
    assert await status(system, "DELETE", f"/keys/{parts[0]}", admin) == 200
    assert await status(system, "POST", f"{path}/cancel", admin) == 202
    assert await waiting == 401


def test_a_mark_holds_for_its_secret_only() -> None:
    session = sign(b"a", "abcdefghijkl", NOW)
    assert verify(b"a", session, NOW - 1) == ("abcdefghijkl", NOW)
    assert verify(b"b", session, NOW - 1) is None
    assert verify(b"a", session, NOW) is None
