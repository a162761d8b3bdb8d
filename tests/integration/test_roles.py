"""Every route against every role, and against whoever has no good key."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.integration.keys import asking_for_keys, key_of, shown
from tests.integration.system import System

from taskqueue.contract.keys import Role
from taskqueue.store.keys import revoke_key
from taskqueue_api.keys import KEYRING
from taskqueue_api.live.keyring import EXPIRED, REVOKED, WRONG
from taskqueue_api.openapi.terms import Route
from taskqueue_api.routes import ROUTES
from taskqueue_api.ui.routes import pages

#: What each one may do, in so many words: a route that gets another role by mistake is noticed.
NEEDS = {
    Role.READ: {
        "find_tasks", "get_task", "watch_tasks", "watch_task", "get_stats", "list_workers", "list_actions",
        "get_overview", "get_root", "get_openapi", "browse", "get_metrics", "get_page_file",
        "list_dead_letters", "list_errors", "list_tags",
    },
    Role.SUBMIT: {"submit_task", "submit_batch"},
    Role.OPERATE: {
        "delete_task", "cancel_task", "retry_task", "cancel_tasks", "retry_tasks", "delete_tasks",
        "requeue_dead_letters", "drop_dead_letters",
    },
    Role.ADMIN: {"create_key", "list_keys", "revoke_key", "read_audit"},
    None: {"check_live", "check_ready"},
}  # fmt: skip

EVERY_ROUTE = pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.operation.id)


@pytest.fixture
async def system(tmp_path: Path) -> AsyncIterator[System]:
    async with asking_for_keys(tmp_path) as system:
        yield system


async def status(system: System, route: Route, headers: dict[str, str]) -> tuple[int, str | None, str]:
    """Of a request with nothing in it, whose path names nothing that is there."""
    path = route.path.replace("{id}", "none").replace("{key}", "none").replace("{file}", "none")
    async with system.client.request(route.method, path, headers=headers, allow_redirects=False) as response:
        text = "" if response.content_type == "text/event-stream" else await response.text()
        return response.status, response.headers.get("WWW-Authenticate"), text


def test_every_operation_needs_the_role_that_it_should() -> None:
    needs = {operation: role for role, operations in NEEDS.items() for operation in operations}
    assert {route.operation.id: route.operation.role for route in ROUTES} == needs


@EVERY_ROUTE
@pytest.mark.parametrize("role", Role)
async def test_a_role_may_do_what_it_includes_and_nothing_else(system: System, route: Route, role: Role) -> None:
    needed = route.operation.role
    code, challenge, text = await status(system, route, shown(await key_of(system, role)))
    if needed is None or role.includes(needed):
        assert code not in {401, 403}
    else:
        assert code == 403
        assert challenge == f'Bearer error="insufficient_scope", scope="{needed}"'
        assert f"needs the role {needed}" in text


@EVERY_ROUTE
async def test_nobody_may_do_anything_but_see_whether_it_is_healthy(system: System, route: Route) -> None:
    code, challenge, _ = await status(system, route, {})
    if route.operation.role is None:
        assert code == 200
    else:
        assert (code, challenge) == (401, "Bearer")


@EVERY_ROUTE
@pytest.mark.parametrize("what", ["expired", "revoked", "wrong"])
async def test_a_key_that_is_not_good_opens_nothing(system: System, route: Route, what: str) -> None:
    key = await key_of(system, Role.ADMIN, expires_at=1 if what == "expired" else None)
    if what == "revoked":
        await system.store.write(revoke_key, key.split("_")[1])
        await system.client.server.app[KEYRING].refresh()  # type: ignore[attr-defined]
    if what == "wrong":
        key = key[:-1] + ("a" if key[-1] != "a" else "b")
    code, challenge, text = await status(system, route, shown(key))
    assert (code, challenge) == (401, 'Bearer error="invalid_token"')
    assert {"expired": EXPIRED, "revoked": REVOKED, "wrong": WRONG}[what] in text
    assert key not in text


async def test_no_path_is_served_beside_the_table_of_routes(system: System) -> None:
    served = {
        (route.method, route.resource.canonical)
        for route in system.client.server.app.router.routes()  # type: ignore[attr-defined]
        if route.resource is not None and route.method != "HEAD"
    }
    beside = {(method, path) for method, path in served if path.startswith("/ui")}
    assert len(served - beside) == len(ROUTES)
    assert beside == {(page.method, page.path) for page in pages()}


async def test_without_a_key_all_pages_but_the_way_in_lead_there(system: System) -> None:
    for page in pages():
        if page.method != "GET" or page.path in {"/ui/sign-in", "/ui/static/{file}"}:
            continue
        async with system.client.get(page.path.replace("{id}", "x")) as response:
            assert response.url.path == "/ui/sign-in", page.path
