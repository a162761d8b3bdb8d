"""Keys: made, shown, listed and revoked over HTTP; and what is said of those that are no good."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from tests.conformance.waiting import eventually
from tests.integration.keys import asking_for_keys, keep_key, key_of, shown
from tests.integration.system import Answer, System, quick_settings

from taskqueue.contract.keys import Role
from taskqueue.store.engine.sqlite.connection import connect
from taskqueue.store.engine.sqlite.locks import WriteLock
from taskqueue_api.http.failed_tries import FailedTries
from taskqueue_api.live.keyring import REVOKED, WRONG

UPPERCASE = {"action": "uppercase", "data": {"text": "x"}}


@pytest.fixture
async def system(tmp_path: Path) -> AsyncIterator[System]:
    async with asking_for_keys(tmp_path) as system:
        yield system


@pytest.fixture
async def admin(system: System) -> dict[str, str]:
    return shown(await key_of(system, Role.ADMIN))


async def make(system: System, admin: dict[str, str], **members: Any) -> dict[str, Any]:
    answer = await system.post("/keys", json={"label": "the shop", "role": "submit"} | members, headers=admin)
    assert answer.status == 201, answer
    return dict(answer.body)


async def test_a_key_that_was_made_opens_what_its_role_may(system: System, admin: dict[str, str]) -> None:
    made = await make(system, admin)
    assert (made["label"], made["role"], made["expires_at"], made["revoked_at"]) == (
        "the shop",
        "submit",
        None,
        None,
    )
    answer = await system.post("/tasks", json=UPPERCASE, headers=shown(made["key"]))
    assert answer.status == 202


async def test_the_list_shows_no_key_and_no_hash(system: System, admin: dict[str, str]) -> None:
    made = await make(system, admin)
    answer = await system.get("/keys", headers=admin)
    assert answer.body["keys"][0]["id"] == made["id"]
    assert answer.body["count"] == 2
    assert made["key"] not in str(answer.body) and "hash" not in answer.body["keys"][0]
    assert answer.headers["Cache-Control"] == "no-store"


async def test_what_is_stored_of_a_key_opens_nothing(system: System, admin: dict[str, str]) -> None:
    made = await make(system, admin)
    secret = made["key"].split("_")[2].encode()
    for file in system.settings.data_dir.iterdir():
        assert secret not in file.read_bytes()


async def test_a_revoked_key_is_refused_at_once_and_again(system: System, admin: dict[str, str]) -> None:
    made = await make(system, admin)
    first = await system.request("DELETE", f"/keys/{made['id']}", headers=admin)
    assert first.status == 200 and first.body["revoked_at"] is not None
    assert (await system.request("DELETE", f"/keys/{made['id']}", headers=admin)).body == first.body
    answer = await system.get("/tasks", headers=shown(made["key"]))
    assert (answer.status, answer.body["error"]) == (401, REVOKED)


async def test_what_is_changed_elsewhere_holds_within_seconds(system: System) -> None:
    key = await keep_key(system.store, Role.READ)

    async def known() -> bool:
        return (await system.get("/tasks", headers=shown(key))).status == 200

    async with asyncio.timeout(5):
        await eventually(known)


async def test_a_key_ends_also_while_its_use_cannot_be_noted(system: System) -> None:
    key = await key_of(system, Role.READ)

    async def ended() -> bool:
        return (await system.get("/tasks", headers=shown(key))).status == 401

    database = system.settings.database
    with contextlib.closing(WriteLock(database)) as lock, lock.held(10):
        assert not await ended()
        with contextlib.closing(connect(database, busy_timeout=0)) as elsewhere:
            elsewhere.execute("UPDATE api_keys SET revoked_at = 1")
        async with asyncio.timeout(5):
            await eventually(ended)


async def test_a_keys_use_is_noted(system: System, admin: dict[str, str]) -> None:
    made = await make(system, admin)
    assert made["last_used_at"] is None
    await system.get("/tasks", headers=shown(made["key"]))

    async def noted() -> bool:
        keys = (await system.get("/keys", headers=admin)).body["keys"]
        return [key["last_used_at"] for key in keys if key["id"] == made["id"]] != [None]

    await eventually(noted)


async def test_a_key_ends_at_its_time(tmp_path: Path) -> None:
    now = [1_800_000_000_000]
    async with asking_for_keys(tmp_path, clock=lambda: now[0]) as system:
        admin = shown(await key_of(system, Role.ADMIN))
        made = await make(system, admin, expires_in=60)
        assert made["expires_at"] == 1_800_000_060
        assert (await system.get("/tasks", headers=shown(made["key"]))).status == 200
        now[0] += 60_000
        assert (await system.get("/tasks", headers=shown(made["key"]))).status == 401


async def test_it_is_known_after_a_restart(tmp_path: Path) -> None:
    async with asking_for_keys(tmp_path) as system:
        key = await key_of(system, Role.READ)
    async with asking_for_keys(tmp_path) as system:
        assert (await system.get("/tasks", headers=shown(key))).status == 200


@pytest.mark.parametrize(
    ("members", "error"),
    [
        ({"label": ""}, "label: must not be empty"),
        ({"label": "a\nb"}, "control characters"),
        ({"label": "x" * 101}, "label: String should have at most 100"),
        ({"role": "root"}, "unknown role 'root'; known: read, submit, operate or admin"),
        ({"expires_at": 1}, "expired already"),
        ({"expires_in": 0}, "expires_in: "),
        ({"expires_in": 60, "expires_at": 4_000_000_000}, "exclude each other"),
        ({"key": "mine"}, "unknown member 'key'"),
    ],
)
async def test_a_key_that_makes_no_sense_is_refused(
    system: System, admin: dict[str, str], members: dict[str, Any], error: str
) -> None:
    answer = await system.post("/keys", json={"label": "x", "role": "read"} | members, headers=admin)
    assert answer.status == 400
    assert error in answer.body["error"]


async def test_a_key_that_is_not_there_cannot_be_revoked(system: System, admin: dict[str, str]) -> None:
    answer = await system.request("DELETE", "/keys/none", headers=admin)
    assert (answer.status, answer.body["error"]) == (404, "no key has the id 'none'")


# What is shown in other ways


async def refused(system: System, headers: Any) -> Answer:
    return await system.get("/tasks", headers=headers)


@pytest.mark.parametrize("cut", [1, 20, 43, 44, 55])
async def test_a_cut_key_is_refused(system: System, cut: int) -> None:
    key = await key_of(system, Role.ADMIN)
    answer = await refused(system, shown(key[:-cut]))
    assert (answer.status, answer.body["error"]) == (401, WRONG)


async def test_two_keys_are_refused(system: System) -> None:
    key = await key_of(system, Role.ADMIN)
    answer = await refused(system, [("Authorization", f"Bearer {key}"), ("Authorization", f"Bearer {key}")])
    assert (answer.status, answer.body["error"]) == (400, "Authorization is given more than once")
    assert (await refused(system, shown(f"{key}, Bearer {key}"))).status == 401


@pytest.mark.parametrize("header", ["Basic YTpi", "Bearer", "Bearer ", "{key}"])
async def test_a_header_without_a_bearers_key_is_refused(system: System, header: str) -> None:
    key = await key_of(system, Role.ADMIN)
    answer = await refused(system, {"Authorization": header.format(key=key)})
    assert answer.status == 401
    assert answer.headers["WWW-Authenticate"] == 'Bearer error="invalid_request"'
    assert key not in str(answer.body)


async def test_the_schemes_case_does_not_matter(system: System) -> None:
    key = await key_of(system, Role.READ)
    assert (await refused(system, {"Authorization": f"bearer {key}"})).status == 200


@pytest.mark.parametrize(
    "path",
    ["/tasks?key={key}", "/tasks?tag={key}", "/tasks?{key}", "/tasks/{key}", "/{key}", "/tasks?k=%74q{rest}"],
)
async def test_a_key_in_an_address_is_refused_and_kept_nowhere(
    system: System, path: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "taskqueue")
    key = await key_of(system, Role.ADMIN)
    url = path.format(key=key, rest=key[2:])
    async with system.client.get(url, headers=shown(key)) as response:
        answer = await Answer.read(response)
    assert answer.status == 400
    assert "a key doesn't belong into an address" in answer.body["error"]
    assert key not in str(answer)
    assert not [
        record for record in caplog.records if record.name.startswith("taskqueue") and key in str(vars(record))
    ]


async def test_a_key_does_not_name_a_request(system: System) -> None:
    key = await key_of(system, Role.READ)
    answer = await refused(system, shown(key) | {"X-Request-ID": key})
    assert answer.status == 200
    assert key not in str(answer.headers)


async def measured(system: System) -> list[str]:
    key = await key_of(system, Role.READ)
    async with system.client.get("/metrics", headers=shown(key)) as response:
        return (await response.text()).splitlines()


async def test_wrong_keys_are_counted_and_told_to_the_log_without_them(
    system: System, caplog: pytest.LogCaptureFixture
) -> None:
    key = "tq_" + "x" * 12 + "_" + "y" * 43
    await refused(system, shown(key))
    [told] = [line for line in await measured(system) if line.startswith("taskqueue_wrong_keys_total")]
    assert told == "taskqueue_wrong_keys_total 1.0"
    [record] = [record for record in caplog.records if "refused a request" in record.getMessage()]
    assert vars(record)["remote"] == "127.0.0.1"
    assert key not in str(vars(record)) and "y" * 43 not in str(vars(record))


async def test_wrong_keys_are_slowed_down_and_right_ones_are_not(system: System) -> None:
    clock = asyncio.get_running_loop().time
    key = await key_of(system, Role.READ)
    for _ in range(8):
        await refused(system, shown("tq_wrong"))
    began = clock()
    slow = asyncio.create_task(refused(system, shown("tq_wrong")))
    assert (await refused(system, shown(key))).status == 200
    assert not slow.done()
    assert (await slow).status == 401
    assert clock() - began >= 0.8


async def test_of_many_addresses_those_that_tried_last_are_kept() -> None:
    tries = FailedTries(CollectorRegistry())
    for _ in range(6):
        await tries.add("192.0.2.1", "wrong")
    for number in range(1000):
        await tries.add(f"198.51.100.{number}", "wrong")
    async with asyncio.timeout(0.05):  # it begins anew
        await tries.add("192.0.2.1", "wrong")


async def test_without_keys_asked_for_a_key_that_is_shown_does_no_harm(tmp_path: Path) -> None:
    async with System.open(quick_settings(tmp_path)) as system:
        assert (await refused(system, shown("tq_wrong"))).status == 200
