"""`GET /errors`: what fails, and how often."""

import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.integration.store.given import looking
from tests.integration.system import System

from taskqueue.store.reads import Failures
from taskqueue_api.resources import failures
from taskqueue_api.resources.failures import grouped


async def fail(system: System, *messages: str, **members: Any) -> list[str]:
    ids = [await system.submit("fail", {"message": text}, max_attempts=1, **members) for text in messages]
    for id in ids:
        await system.until(id)
    return ids


async def errors(system: System, query: str = "") -> list[dict[str, Any]]:
    answer = await system.get(f"/errors{query}")
    assert answer.status == 200, answer
    return list(answer.body["errors"])


async def test_errors_that_differ_in_numbers_are_one_and_the_most_frequent_comes_first(system: System) -> None:
    async with system.worker():
        await fail(system, "disk full")
        ids = await fail(
            system, "no answer within 3.5 s", "no answer within 12 s\nand more", "no answer within 7 s"
        )
        await system.until(await system.submit("refuse"))
    [most, *others] = await errors(system)
    assert (most["tasks"], most["action"], most["message"]) == (3, "fail", "no answer within … s")
    assert most["last"] == ids[-1]
    assert most["first_at"] <= most["last_at"]
    assert [each["tasks"] for each in others] == [1, 1]
    assert {each["action"] for each in others} == {"fail", "refuse"}
    assert (await system.get("/errors")).body["looked_at"] == 5


async def test_a_group_leads_to_its_tasks(system: System) -> None:
    async with system.worker():
        ids = await fail(system, "no answer within 3 s", "no answer within 4 s")
        await fail(system, "other")
    [most, _] = await errors(system)
    query = {"status": "failed", "action": most["action"], "error": most["error"]}
    page = (await system.get("/tasks", params=query)).body
    assert [task["id"] for task in page["tasks"]] == ids[::-1]
    counted = await system.post("/tasks/retry", json=query | {"status": ["failed"], "dry_run": True})
    assert counted.body["count"] == 2


async def test_a_filter_narrows_what_is_looked_at(system: System) -> None:
    async with system.worker():
        await fail(system, "a", tags=["red"])
        [id] = await fail(system, "b", tags=["blue"])
    [told] = await errors(system, "?tag=blue")
    assert (told["message"], told["last"]) == ("b", id)
    assert await errors(system, "?action=uppercase") == []
    assert await errors(system, "?created_before=5") == []
    for query in ("?status=completed", "?tag=", "?limit=5"):
        assert (await system.get(f"/errors{query}")).status == 400


async def test_only_the_newest_are_looked_at(system: System, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(failures, "LOOKED_AT", 2)
    async with system.worker():
        await fail(system, "old", "new", "new")
    answer = (await system.get("/errors")).body
    assert answer["looked_at"] == 2
    assert [each["message"] for each in answer["errors"]] == ["new"]


async def test_an_error_without_a_type_or_a_message_is_one_too(system: System) -> None:
    async with system.worker():
        await fail(system, "x")
    with contextlib.closing(looking(system.settings.database)) as connection:
        connection.execute("UPDATE task SET error = '{}'")
    [told] = await errors(system)
    assert (told["type"], told["message"], told["tasks"]) == ("", "", 1)


@given(st.lists(st.text(max_size=20) | st.from_regex(r"\A[a-z ]{0,5}[0-9a-f]{1,20}[a-z ]{0,5}\Z"), max_size=20))
def test_no_task_is_left_out_and_what_a_group_is_found_by_is_in_each_of_its_messages(texts: list[str]) -> None:
    found = [
        Failures("a", "E", text, n + 1, first_at=n, last_at=n + 5, last=f"{n:04}") for n, text in enumerate(texts)
    ]
    groups = grouped(found)
    assert sum(group.tasks for group in groups) == sum(each.tasks for each in found)
    assert [group.tasks for group in groups] == sorted((group.tasks for group in groups), reverse=True)
    for each in found:
        mine = [
            group
            for group in groups
            if each.message.partition("\n")[0].startswith(group.message.partition("…")[0])
        ]
        assert any(group.error in f"E: {each.message}" for group in mine)
        assert any(group.last_at >= each.last_at / 1000 >= group.first_at for group in mine)
