"""Who changed what: noted with the change, and told to admins."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.integration.actions import let_go, started
from tests.integration.keys import asking_for_keys, key_of, shown
from tests.integration.system import Answer, System, quick_settings

from taskqueue.contract.keys import Role
from taskqueue.store import bulk, now_ms
from taskqueue.telemetry import Telemetry
from taskqueue_worker.retention import Retention

DAY = 86_400_000


class Person:
    """Who asks with a key."""

    def __init__(self, system: System, key: str) -> None:
        self.system = system
        self.key = key.split("_")[1]
        self.headers = shown(key)

    async def ask(self, method: str, path: str, name: str = "r1", **options: Any) -> Answer:
        headers = self.headers | {"X-Request-ID": name}
        return await self.system.request(method, path, headers=headers, **options)

    async def delete(self, id: str, name: str = "r1") -> None:
        headers = self.headers | {"X-Request-ID": name}
        async with self.system.client.delete(f"/tasks/{id}", headers=headers) as response:
            assert response.status == 204

    async def submit(self, **options: Any) -> str:
        answer = await self.ask("POST", "/tasks", json={"action": "x", "delay": 1000} | options)
        assert answer.status == 202, answer
        return str(answer.body["id"])

    async def audit(self, query: str = "") -> list[dict[str, Any]]:
        answer = await self.ask("GET", f"/audit{query}")
        assert answer.status == 200, answer
        assert answer.headers["Cache-Control"] == "no-store"
        return list(answer.body["entries"])


@pytest.fixture
async def system(tmp_path: Path) -> AsyncIterator[System]:
    async with asking_for_keys(tmp_path) as system:
        yield system


@pytest.fixture
async def admin(system: System) -> Person:
    return Person(system, await key_of(system, Role.ADMIN))


@pytest.fixture
async def operator(system: System) -> Person:
    return Person(system, await key_of(system, Role.OPERATE))


def entry(by: Person, operation: str, name: str, label: str = "a operate", **members: Any) -> dict[str, Any]:
    nothing = {"target": None, "filter": None, "tasks": None}
    who = {"key": by.key, "label": label, "address": "127.0.0.1", "request_id": name}
    return nothing | who | {"operation": operation} | members


def without_place(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The entries without what differs each time."""
    assert all(abs(each["at"] * 1000 - now_ms()) < 60_000 for each in entries)
    return [{name: value for name, value in each.items() if name not in {"seq", "at"}} for each in entries]


async def test_what_is_done_to_one_task_is_told(admin: Person, operator: Person) -> None:
    id = await operator.submit()
    assert (await operator.ask("POST", f"/tasks/{id}/cancel", "first")).status == 202
    assert (await operator.ask("POST", f"/tasks/{id}/retry", "second")).status == 202
    assert (await operator.ask("POST", f"/tasks/{id}/cancel", "third")).status == 202
    await operator.delete(id, "fourth")
    assert without_place(await admin.audit()) == [
        entry(operator, "delete_task", "fourth", target=id, tasks=1),
        entry(operator, "cancel_task", "third", target=id, tasks=1),
        entry(operator, "retry_task", "second", target=id, tasks=1),
        entry(operator, "cancel_task", "first", target=id, tasks=1),
    ]


async def test_that_a_running_task_was_asked_to_stop_is_told_once(admin: Person, operator: Person) -> None:
    async with operator.system.worker():
        id = await operator.submit(action="hold_thread", data={"name": "audited"}, delay=0)
        await started("audited")
        for name in ("stop", "again"):
            answer = await operator.ask("POST", f"/tasks/{id}/cancel", name)
            assert (answer.status, answer.body["status"]) == (202, "running")
        assert without_place(await admin.audit()) == [entry(operator, "cancel_task", "stop", target=id, tasks=1)]
        let_go("audited")


async def test_what_is_done_to_many_is_told_once_with_the_filter_and_the_count(
    admin: Person, operator: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk, "_SLICE", 2)
    for _ in range(5):
        await operator.submit(tags=["a"])
    for verb in ("cancel", "retry", "cancel", "delete"):
        answer = await operator.ask("POST", f"/tasks/{verb}", verb, json={"tag": "a", "dry_run": False})
        assert answer.body["count"] == 5
    assert without_place(await admin.audit()) == [
        entry(operator, f"{verb}_tasks", verb, filter={"tag": "a"}, tasks=5)
        for verb in ("delete", "cancel", "retry", "cancel")
    ]


async def test_keys_that_are_made_and_revoked_are_told(admin: Person) -> None:
    made = (await admin.ask("POST", "/keys", "make", json={"label": "x", "role": "read"})).body
    for name in ("revoke", "again"):
        assert (await admin.ask("DELETE", f"/keys/{made['id']}", name)).status == 200
    entries = await admin.audit()
    assert without_place(entries) == [
        entry(admin, "revoke_key", "revoke", "a admin", target=made["id"]),
        entry(admin, "create_key", "make", "a admin", target=made["id"]),
    ]
    assert made["key"] not in str(entries)


async def test_what_changed_nothing_is_not_told(admin: Person, operator: Person, system: System) -> None:
    reader = Person(system, await key_of(system, Role.READ))
    id = await operator.submit(tags=["a"])
    for who, method, path, body, status in (
        (operator, "POST", f"/tasks/{id}/retry", None, 409),
        (operator, "DELETE", f"/tasks/{id}", None, 409),
        (reader, "POST", f"/tasks/{id}/cancel", None, 403),
        (operator, "POST", "/tasks/none/cancel", None, 404),
        (operator, "POST", "/tasks/none/retry", None, 404),
        (operator, "DELETE", "/tasks/none", None, 404),
        (operator, "POST", "/tasks/cancel", {"tag": "a", "dry_run": True}, 200),
        (operator, "POST", "/tasks/cancel", {"tag": "b"}, 200),
        (operator, "POST", "/tasks/cancel", {}, 400),
        (operator, "POST", "/keys", {"label": "x", "role": "read"}, 403),
        (admin, "POST", "/keys", {"label": "x", "role": "read", "expires_at": 1}, 400),
        (admin, "DELETE", "/keys/none", None, 404),
    ):
        answer = await who.ask(method, path, json=body)
        assert answer.status == status, answer
    assert await admin.audit() == []
    await operator.ask("POST", f"/tasks/{id}/cancel")
    assert (await operator.ask("POST", f"/tasks/{id}/cancel")).status == 409
    assert len(await admin.audit()) == 1


async def test_a_tenants_deed_names_its_key_and_anothers_task_leaves_none(admin: Person, system: System) -> None:
    wanted = {"label": "Acme", "role": "operate", "scope": {"tag_prefix": "acme:"}}
    made = (await admin.ask("POST", "/keys", json=wanted)).body
    acme = Person(system, made["key"])
    mine, other = await acme.submit(tags=["acme:1"]), await admin.submit(tags=["beta:1"])
    assert (await acme.ask("POST", f"/tasks/{other}/cancel")).status == 404
    assert (await acme.ask("POST", f"/tasks/{mine}/cancel", "one")).status == 202
    await acme.ask("POST", "/tasks/retry", "many", json={"status": ["cancelled"]})
    assert without_place(await admin.audit(f"?key={acme.key}")) == [
        entry(acme, "retry_tasks", "many", "Acme", filter={"status": ["cancelled"]}, tasks=1),
        entry(acme, "cancel_task", "one", "Acme", target=mine, tasks=1),
    ]
    assert (await acme.ask("GET", "/audit")).status == 403


async def test_where_no_keys_are_asked_for_nobody_is_named(tmp_path: Path) -> None:
    async with System.open(quick_settings(tmp_path)) as system:
        id = await system.submit("x", delay=1000)
        await system.post(f"/tasks/{id}/cancel")
        [told] = (await system.get("/audit")).body["entries"]
        assert (told["key"], told["label"], told["target"]) == (None, None, id)


async def test_pages_and_filters_have_each_once(admin: Person, operator: Person) -> None:
    for _ in range(5):
        id = await operator.submit()
        await operator.ask("POST", f"/tasks/{id}/cancel")
        await admin.delete(id)
    whole = await admin.audit()
    assert len(whole) == 10
    for query, fitting in (
        ("", whole),
        (f"&key={operator.key}", [each for each in whole if each["key"] == operator.key]),
        ("&operation=delete_task", [each for each in whole if each["operation"] == "delete_task"]),
        (f"&key={operator.key}&operation=delete_task", []),
    ):
        told: list[dict[str, Any]] = []
        before = ""
        while True:
            answer = (await admin.ask("GET", f"/audit?limit=2{query}{before}")).body
            assert len(answer["entries"]) == answer["count"] <= 2
            told += answer["entries"]
            if "next" not in answer:
                break
            before = f"&before={answer['next']}"
        assert told == fitting


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=1001", "before=0", "before=x", "operation=submit_task", "who=x"]
)
async def test_a_query_that_makes_no_sense_is_refused(admin: Person, query: str) -> None:
    answer = await admin.ask("GET", f"/audit?{query}")
    assert answer.status == 400
    assert query.partition("=")[0] in answer.body["error"]


async def test_it_is_kept_for_90_days(tmp_path: Path) -> None:
    now = [1_800_000_000_000]
    async with asking_for_keys(tmp_path, clock=lambda: now[0]) as system:
        admin = Person(system, await key_of(system, Role.ADMIN))
        retention = Retention(system.settings, system.store, Telemetry())
        for days in (0, 2):
            now[0] += days * DAY
            await admin.ask(
                "POST", f"/tasks/{await admin.submit()}/cancel", f"after {days} days".replace(" ", "-")
            )
        for days, left in ((87, 2), (2, 1), (2, 0)):
            now[0] += days * DAY
            await retention.prune()
            assert len(await admin.audit()) == left
