"""The dashboard's frames: what they are served with, whom they are shown, and that they hold behind a prefix."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.integration.keys import asking_for_keys, key_of, shown
from tests.integration.openapi.test_docs_page import Links
from tests.integration.system import System, quick_settings
from yarl import URL

from taskqueue.contract.keys import Role
from taskqueue_api.http.credentials import COOKIE
from taskqueue_api.ui.places import PLACES

PAGES = [*(f"/{place.path}" for place in PLACES), "/ui/tasks/01890000-0000-7000-8000-000000000000", "/ui/sign-in"]
MARKUP = '"><script>alert(1)</script>'


@pytest.fixture
async def guarded(tmp_path: Path) -> AsyncIterator[System]:
    async with asking_for_keys(tmp_path) as system:
        yield system


@pytest.mark.parametrize("path", PAGES)
async def test_a_page_runs_and_loads_only_what_is_served_beside_it(guarded: System, path: str) -> None:
    await sign_in(guarded, await key_of(guarded, Role.ADMIN)) if path != "/ui/sign-in" else None
    async with guarded.client.get(path) as response:
        assert (response.status, response.content_type) == (200, "text/html")
        policy = response.headers["Content-Security-Policy"]
        for rule in ("default-src 'none'", "script-src 'self'", "style-src 'self'", "frame-ancestors 'none'"):
            assert rule in policy.split("; ")
        assert "unsafe" not in policy
        assert response.headers["Cache-Control"] == "no-store"
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        links = Links(await response.text())
    assert not links.inline
    for link in links.loads:
        assert link == "data:," or not (URL(link).absolute or link.startswith("/"))
        if "/static/" in link:
            async with guarded.client.get(URL(path).join(URL(link))) as file:
                assert file.status == 200
                tag = file.headers["ETag"]
            async with guarded.client.get(URL(path).join(URL(link)), headers={"If-None-Match": tag}) as file:
                assert file.status == 304


async def test_without_keys_nobody_has_to_sign_in(system: System) -> None:
    async with system.client.get("/ui") as response:
        assert (response.status, response.url.path) == (200, "/ui/overview")
        assert "Sign out" not in await response.text()


async def sign_in(system: System, key: str, next: str = "") -> tuple[int, str]:  # noqa: A002
    form = {"key": key, "next": next}
    async with system.client.post("/ui/sign-in", data=form, allow_redirects=False) as response:
        return response.status, response.headers.get("Location") or await response.text()


async def test_who_signs_in_comes_back_to_where_they_were(guarded: System) -> None:
    async with guarded.client.get("/ui/tasks?status=failed", allow_redirects=False) as response:
        assert response.status == 303
        there = URL("/ui/tasks").join(URL(response.headers["Location"]))
    assert (there.path, there.query["next"]) == ("/ui/sign-in", "ui/tasks?status=failed")
    status, location = await sign_in(guarded, await key_of(guarded, Role.READ), there.query["next"])
    assert (status, URL("/ui/sign-in").join(URL(location))) == (303, URL("/ui/tasks?status=failed"))
    async with guarded.client.get("/ui/tasks") as response:
        assert 'data-may="read"' in await response.text()


@pytest.mark.parametrize("role", Role)
async def test_a_page_is_shown_to_those_whom_it_is_for_and_nobody_else_is_led_there(
    guarded: System, role: Role
) -> None:
    await sign_in(guarded, await key_of(guarded, role))
    async with guarded.client.get("/ui/tasks") as response:
        navigation = (await response.text()).partition("</nav>")[0]
    for place in PLACES:
        may = role.includes(place.role)
        assert (f'href="../{place.path}"' in navigation) == may
        async with guarded.client.get(f"/{place.path}") as response:
            assert response.status == (200 if may else 403)


async def test_a_page_that_tells_of_all_is_not_for_keys_that_are_bound(guarded: System) -> None:
    admin = shown(await key_of(guarded, Role.ADMIN))
    body = {"label": "Acme", "role": "operate", "scope": {"tag_prefix": "acme:"}}
    made = await guarded.request("POST", "/keys", headers=admin, json=body)
    await sign_in(guarded, made.body["key"])
    async with guarded.client.get("/ui/tasks") as response:
        assert (response.status, "Workers" in await response.text()) == (200, False)
    async with guarded.client.get("/ui/workers") as response:
        assert (response.status, "bound to some" in await response.text()) == (403, True)


async def test_who_signs_out_is_asked_again(guarded: System) -> None:
    await sign_in(guarded, await key_of(guarded, Role.ADMIN))
    async with guarded.client.post("/ui/sign-out") as response:
        assert response.url.path == "/ui/sign-in"
        assert COOKIE not in {cookie.key for cookie in guarded.client.session.cookie_jar}
    async with guarded.client.get("/ui/tasks") as response:
        assert response.url.path == "/ui/sign-in"


@pytest.mark.parametrize("key", ["", "tq_x", MARKUP])
async def test_a_wrong_key_is_said_to_be_wrong_and_not_repeated(guarded: System, key: str) -> None:
    status, page = await sign_in(guarded, key, next=MARKUP)
    assert status == 401
    assert 'role="alert"' in page
    assert "<script>alert" not in page
    assert key == "" or f'value="{key}"' not in page


@pytest.mark.parametrize("next", ["//evil.example", "https://evil.example", "docs", "ui/../docs", "ui\\x", MARKUP])
async def test_it_leads_to_no_page_but_ours(guarded: System, next: str) -> None:  # noqa: A002
    status, location = await sign_in(guarded, await key_of(guarded, Role.READ), next)
    assert (status, URL("/ui/sign-in").join(URL(location)).path) == (303, "/ui")


@pytest.mark.parametrize("allowed", ["", "*"])
async def test_a_page_of_another_site_signs_nobody_in_or_out(tmp_path: Path, allowed: str) -> None:
    """Not even where its origin may use the API: its reader would act with a key that isn't theirs."""
    page = {"Sec-Fetch-Site": "cross-site", "Origin": "https://other.example"}
    async with asking_for_keys(tmp_path, cors_origins=allowed) as system:
        form = {"key": await key_of(system, Role.READ)}
        for path in ("/ui/sign-in", "/ui/sign-out"):
            async with system.client.post(path, headers=page, data=form, allow_redirects=False) as response:
                assert (response.status, response.headers.get("Set-Cookie")) == (403, None)


async def test_what_it_leads_to_holds_behind_a_prefix(tmp_path: Path) -> None:
    async with System.open(quick_settings(tmp_path, trust_forwarded_prefix=True)) as system:
        for path in ("/ui", "/ui/sign-in"):
            async with system.client.get(
                path, headers={"X-Forwarded-Prefix": "/queue"}, allow_redirects=False
            ) as response:
                there = URL(f"http://proxy/queue{path}").join(URL(response.headers["Location"]))
                assert there.path in {"/queue/ui", "/queue/ui/overview"}
