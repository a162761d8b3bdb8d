"""Keys that are bound to some tasks: whoever holds one sees and touches these, and nothing else."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from tests.conformance.waiting import eventually
from tests.integration.keys import asking_for_keys, key_of, shown
from tests.integration.system import Answer, System

from taskqueue.contract.keys import Role
from taskqueue_api.routes import ROUTES


@dataclass
class Tenant:
    """Who holds a key."""

    system: System
    headers: dict[str, str]

    async def ask(self, method: str, path: str, **options: Any) -> Answer:
        headers = self.headers | options.pop("headers", {})
        return await self.system.request(method, path, headers=headers, **options)

    async def submit(self, action: str = "x", *tags: str, **options: Any) -> Answer:
        body = {"action": action, "tags": list(tags), "delay": 1000}
        return await self.ask("POST", "/tasks", json=body, **options)

    async def ids(self, query: str = "") -> list[str]:
        answer = await self.ask("GET", f"/tasks{query}")
        assert answer.status == 200, answer
        return [task["id"] for task in answer.body["tasks"]]


@pytest.fixture
async def system(tmp_path: Path) -> AsyncIterator[System]:
    async with asking_for_keys(tmp_path) as system:
        yield system


@pytest.fixture
async def owner(system: System) -> Tenant:
    return Tenant(system, shown(await key_of(system, Role.ADMIN)))


async def tenant(owner: Tenant, **scope: Any) -> Tenant:
    answer = await owner.ask("POST", "/keys", json={"label": "tenant", "role": "operate", "scope": scope})
    assert answer.status == 201 and answer.body["scope"] == {"actions": None, "tag_prefix": None} | scope, answer
    return Tenant(owner.system, shown(answer.body["key"]))


@pytest.fixture
async def acme(owner: Tenant) -> Tenant:
    return await tenant(owner, tag_prefix="acme:")


@pytest.fixture
async def beta(owner: Tenant) -> Tenant:
    return await tenant(owner, tag_prefix="beta:")


@pytest.fixture
async def resizer(owner: Tenant) -> Tenant:
    return await tenant(owner, actions=["resize", "crop"])


@pytest.fixture
async def ids(owner: Tenant) -> dict[str, str]:
    """Tasks of many."""
    made = {}
    for name, action, tags in (
        ("a", "resize", ("acme:1",)),
        ("ab", "x", ("acme:2", "beta:2")),
        ("b", "crop", ("beta:1",)),
        ("none", "resize", ()),
        ("near", "x", ("acme", "acm", "acme;1", "Acme:1", "xacme:")),
    ):
        made[name] = (await owner.submit(action, *tags)).body["id"]
    return made


async def test_a_list_has_theirs_and_no_others(
    ids: dict[str, str], acme: Tenant, beta: Tenant, resizer: Tenant, owner: Tenant
) -> None:
    assert await acme.ids() == [ids["ab"], ids["a"]]
    assert await beta.ids() == [ids["b"], ids["ab"]]
    assert await resizer.ids() == [ids["none"], ids["b"], ids["a"]]
    both = await tenant(owner, actions=["resize"], tag_prefix="acme:")
    assert await both.ids() == [ids["a"]]
    assert len(await owner.ids()) == 5


async def test_a_list_has_what_they_submit_whatever_follows_the_prefix(acme: Tenant) -> None:
    tags = ("acme:", "acme:\U0010ffff", "acme:" + "\U0010ffff" * 59)
    mine = [(await acme.submit("x", tag)).body["id"] for tag in tags]
    assert await acme.ids() == mine[::-1]
    assert [await acme.ids(f"?tag={quote(tag)}") for tag in tags] == [[id] for id in mine]


@pytest.mark.parametrize(
    ("query", "of_acme", "of_resizer"),
    [
        ("?tag=beta:2", ["ab"], []),
        ("?tag=beta:1", [], ["b"]),
        ("?tag=acme:1", ["a"], ["a"]),
        ("?action=x", ["ab"], []),
        ("?action=resize", ["a"], ["none", "a"]),
        ("?action=resize&tag=acme:1", ["a"], ["a"]),
        ("?status=pending", ["ab", "a"], ["none", "b", "a"]),
        ("?status=pending,failed&created_after=0", ["ab", "a"], ["none", "b", "a"]),
        ("?status=failed", [], []),
        ("?parent=none", [], []),
    ],
)
async def test_no_filter_leads_to_others(
    ids: dict[str, str], acme: Tenant, resizer: Tenant, query: str, of_acme: list[str], of_resizer: list[str]
) -> None:
    assert await acme.ids(query) == [ids[name] for name in of_acme]
    assert await resizer.ids(query) == [ids[name] for name in of_resizer]


async def test_pages_have_each_of_theirs_once(acme: Tenant, beta: Tenant, owner: Tenant) -> None:
    mine = []
    for _ in range(5):
        mine.append((await owner.submit("x", "acme:1", "acme:2")).body["id"])
        await beta.submit("x", "beta:1")
    told: list[str] = []
    cursor: str | None = ""
    while cursor is not None:
        answer = await acme.ask("GET", f"/tasks?limit=2{cursor and '&cursor=' + cursor}")
        told += [task["id"] for task in answer.body["tasks"]]
        cursor = answer.body.get("next")
    assert told == mine[::-1]


async def test_a_cursor_is_its_holders(system: System, acme: Tenant, owner: Tenant) -> None:
    for _ in range(3):
        await acme.submit("x", "acme:1")
    cursor = (await owner.ask("GET", "/tasks?limit=1")).body["next"]
    another = Tenant(system, shown(await key_of(system, Role.ADMIN)))
    for other in (acme, another):
        assert (await other.ask("GET", f"/tasks?limit=1&cursor={cursor}")).status == 400
    assert (await owner.ask("GET", f"/tasks?limit=1&cursor={cursor}")).status == 200


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", ""),
        ("DELETE", ""),
        ("POST", "/cancel"),
        ("POST", "/retry"),
        ("GET", "/events"),
    ],
)
@pytest.mark.parametrize("headers", [{}, {"Prefer": "wait=10"}])
async def test_anothers_task_is_answered_as_if_it_were_not_there(
    ids: dict[str, str], acme: Tenant, owner: Tenant, method: str, path: str, headers: dict[str, str]
) -> None:
    await owner.ask("POST", f"/tasks/{ids['b']}/cancel")
    theirs = await acme.ask(method, f"/tasks/{ids['b']}{path}", headers=headers)
    assert theirs.status == 404
    assert theirs.body == {"error": f"no task has the id '{ids['b']}'"}
    assert (await owner.ask("GET", f"/tasks/{ids['b']}")).body["status"] == "cancelled"


async def test_their_own_is_theirs_to_act_on(ids: dict[str, str], acme: Tenant) -> None:
    assert (await acme.ask("GET", f"/tasks/{ids['a']}", headers={"Prefer": "wait=0"})).status == 200
    assert (await acme.ask("POST", f"/tasks/{ids['a']}/cancel")).status == 202
    assert (await acme.ask("POST", f"/tasks/{ids['a']}/retry")).status == 202


@pytest.mark.parametrize(
    "body", [{"status": ["pending"]}, {"created_after": 0}, {"action": "resize"}, {"tag": "beta:1"}]
)
async def test_what_is_done_to_many_is_done_to_theirs(
    ids: dict[str, str], acme: Tenant, owner: Tenant, body: dict[str, Any]
) -> None:
    counted = await acme.ask("POST", "/tasks/cancel", json=body | {"dry_run": True})
    done = await acme.ask("POST", "/tasks/cancel", json=body)
    assert counted.body["count"] == done.body["count"] <= 2
    left = await owner.ids("?status=pending")
    assert {ids["b"], ids["none"], ids["near"]} <= set(left)


async def test_nothing_is_submitted_for_others(acme: Tenant, resizer: Tenant, owner: Tenant) -> None:
    for who, action, tags in (
        (acme, "x", ()),
        (acme, "x", ("beta:1",)),
        (acme, "x", ("acme:1", "beta:1")),
        (acme, "x", ("acme",)),
        (resizer, "x", ()),
    ):
        answer = await who.submit(action, *tags)
        assert answer.status == 403, answer
        assert "the key is" in answer.body["error"]
        batch = [{"action": "resize", "tags": ["acme:1"]}, {"action": action, "tags": list(tags)}]
        refused = await who.ask("POST", "/tasks/batch", json={"tasks": batch})
        assert refused.status == 403 and refused.body["error"].startswith("tasks.1: ")
    assert await owner.ids() == []
    assert (await acme.submit("x", "acme:1")).status == 202
    assert (await resizer.submit("crop", "any")).status == 202


async def test_an_idempotency_key_is_its_holders(system: System, acme: Tenant, owner: Tenant) -> None:
    again = {"headers": {"Idempotency-Key": "order-7"}}
    first = await acme.submit("x", "acme:1", **again)
    others = await owner.submit("x", "acme:1", **again)
    assert first.status == others.status == 202
    assert first.body["id"] != others.body["id"]
    assert "Idempotency-Replayed" not in others.headers
    assert (await acme.submit("x", "acme:1", **again)).body["id"] == first.body["id"]


async def test_a_stream_tells_of_theirs(acme: Tenant, owner: Tenant, system: System) -> None:
    async with system.client.get("/events", headers=acme.headers) as stream:
        await owner.submit("x", "beta:1")
        mine = (await owner.submit("x", "acme:1")).body["id"]
        async with asyncio.timeout(10):
            while not (line := await stream.content.readline()).startswith(b"data: "):
                pass
    assert json.loads(line[6:])["id"] == mine


@pytest.mark.parametrize("path", ["/stats", "/workers"])
async def test_what_tells_of_all_is_not_theirs(acme: Tenant, resizer: Tenant, path: str) -> None:
    for who in (acme, resizer):
        answer = await who.ask("GET", path)
        assert answer.status == 403
        assert "it tells of all" in answer.body["error"]


def test_no_other_route_is_for_bound_keys_by_mistake() -> None:
    """A new one must be looked at: does its handler keep to what is theirs?"""
    assert {route.operation.id for route in ROUTES if route.operation.narrows} == {
        *("submit_task", "submit_batch", "find_tasks", "get_task", "delete_task", "cancel_task", "retry_task"),
        *("cancel_tasks", "retry_tasks", "delete_tasks", "watch_tasks", "watch_task", "list_actions"),
        "list_errors",
        *("get_root", "get_openapi", "browse", "get_page_file"),
    }


async def test_the_errors_that_are_told_are_theirs(owner: Tenant, acme: Tenant, system: System) -> None:
    only = await tenant(owner, actions=["refuse"])
    for action, tag in (("refuse", "acme:1"), ("refuse", "beta:1"), ("fail", "acme:2")):
        answer = await owner.ask(
            "POST", "/tasks", json={"action": action, "tags": [tag], "data": {}, "max_attempts": 1}
        )
        assert answer.status == 202
    async with system.worker():

        async def told(who: Tenant) -> int:
            return int((await who.ask("GET", "/errors")).body["looked_at"])

        async def all_failed() -> bool:
            return await told(owner) == 3

        await eventually(all_failed)
        assert (await told(acme), await told(only)) == (2, 2)
        theirs = (await acme.ask("GET", "/errors?action=refuse")).body
        assert theirs["looked_at"] == 1


async def test_the_actions_that_are_told_are_theirs(owner: Tenant, acme: Tenant, system: System) -> None:
    only = await tenant(owner, actions=["uppercase"])

    async def known() -> bool:
        return (await acme.ask("GET", "/actions")).body["count"] > 1

    async with system.worker():
        await eventually(known)
        assert [action["name"] for action in (await only.ask("GET", "/actions")).body["actions"]] == ["uppercase"]


@pytest.mark.parametrize(
    ("role", "scope", "error"),
    [
        ("admin", {"tag_prefix": "a"}, "an admin's key can't be bound"),
        ("read", {}, "name actions, tag_prefix or both"),
        ("read", {"actions": []}, "scope.actions"),
        ("read", {"actions": [""]}, "scope.actions"),
        ("read", {"tag_prefix": ""}, "scope.tag_prefix"),
        ("read", {"queues": ["a"]}, "unknown member 'scope.queues'"),
    ],
)
async def test_a_scope_that_makes_no_sense_is_refused(
    owner: Tenant, role: str, scope: dict[str, Any], error: str
) -> None:
    answer = await owner.ask("POST", "/keys", json={"label": "x", "role": role, "scope": scope})
    assert answer.status == 400
    assert error in answer.body["error"]


async def test_a_key_may_be_bound_to_as_many_actions_as_are_allowed(owner: Tenant) -> None:
    actions = [f"action {number}" for number in range(50)]
    many = await tenant(owner, actions=actions)
    made = (await many.submit("action 49")).body["id"]
    assert await many.ids() == [made]
    answer = await owner.ask(
        "POST", "/keys", json={"label": "x", "role": "read", "scope": {"actions": [*actions, "one more"]}}
    )
    assert answer.status == 400
