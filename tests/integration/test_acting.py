"""Acting on tasks, one or all that fit a filter; and the cursors of a filter's pages."""

import asyncio
from typing import Any

import pytest
from tests.integration.system import System

from taskqueue.store import verbs
from taskqueue.task import Status


async def page(system: System, query: str) -> str:
    """The cursor of the page after the first of a filter."""
    answer = await system.get(f"/tasks?{query}")
    assert answer.status == 200
    return str(answer.body["next"])


async def test_a_bulk_verb_without_a_filter_is_refused_also_where_members_say_nothing(system: System) -> None:
    """A client that sends its unset fields as null must not so delete everything."""
    id = await system.submit("x")
    for body in ({}, {"dry_run": False}, {"action": None}, {"status": []}, {"tag": None, "created_after": None}):
        answer = await system.post("/tasks/cancel", json=body)
        assert answer.status == 400
        assert answer.body["error"].startswith("name at least one of status, action, tag")
    assert (await system.task(id))["status"] != Status.CANCELLED


@pytest.mark.parametrize(
    "body", [{"created_after": "12"}, {"created_before": True}, {"action": 1}, {"status": "failed"}], ids=str
)
async def test_a_bulk_filter_of_another_type_is_refused(system: System, body: dict[str, object]) -> None:
    assert (await system.post("/tasks/delete", json=body)).status == 400


async def test_a_cursor_serves_its_own_filter_only(system: System) -> None:
    for _ in range(3):
        await system.submit("x", tags=["blue"])
    cursor = await page(system, "limit=1&tag=blue")
    assert (await system.get(f"/tasks?limit=2&tag=blue&cursor={cursor}")).body["count"] == 2
    for other in ("", "tag=red", "tag=blue&action=x", "tag=blue&status=failed", "tag=blue&created_after=1"):
        answer = await system.get(f"/tasks?{other}&cursor={cursor}")
        assert (answer.status, answer.body["error"]) == (400, "cursor: not the `next` of a page with this filter")


async def test_a_cursor_that_was_changed_is_refused(system: System) -> None:
    for _ in range(3):
        await system.submit("x")
    cursor = await page(system, "limit=1")
    changed = ["", "x", "%00", f"{cursor}=", f"!{cursor}", cursor[1:], cursor[:-1], cursor.swapcase(), "9" * 5000]
    for other in changed:
        assert (await system.get(f"/tasks?cursor={other}")).status == 400, other


async def test_a_cancel_that_comes_second_to_a_delete_is_told_that_there_is_no_task(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    id = await system.submit("x", delay=1000)  # or the settling of its lease comes in between
    write = system.store.write

    async def be_second(*arguments: Any) -> Any:
        await write(verbs.cancel, id)
        assert await write(verbs.delete, id)
        return await write(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(system.store, "write", be_second)
        answer = await system.post(f"/tasks/{id}/cancel")
    assert answer.status == 404


async def test_of_many_retries_at_once_one_is_accepted(system: System) -> None:
    id = await system.submit("x", delay=1000)
    await system.post(f"/tasks/{id}/cancel")
    answers = await asyncio.gather(*(system.post(f"/tasks/{id}/retry") for _ in range(10)))
    assert sorted(answer.status for answer in answers) == [202] + [409] * 9
    assert {answer.body["status"] for answer in answers} == {Status.PENDING}
