"""Tasks that a task submits: they are there with its completion, and never without it."""

from pathlib import Path
from typing import Any

import pytest
from tests.conformance.waiting import eventually
from tests.integration.actions import let_go, started
from tests.integration.store.given import beat, claimed, new_task
from tests.integration.system import System, quick_settings
from tests.integration.test_finding import followed, ids

from taskqueue.store import now_ms, verbs
from taskqueue.task import Status
from taskqueue.telemetry import TaskAccepted


async def children_of(system: System, task: dict[str, Any]) -> list[dict[str, Any]]:
    return [await system.until(id) for id in task["children"]]


@pytest.mark.parametrize("action", ["spread", "spread_in_thread"])
async def test_children_run_once_their_parent_has_completed_and_each_tells_of_the_other(
    system: System, action: str
) -> None:
    answer = await system.post(
        "/tasks", json={"action": action, "data": {"names": ["a", "b"]}}, headers={"X-Request-ID": "the-request"}
    )
    async with system.worker():
        parent = await system.until(answer.body["id"])
        children = await children_of(system, parent)
    assert parent["result"] == {"output": parent["children"]}
    assert parent["parent"] is None
    assert [child["data"] for child in children] == [{"text": "a"}, {"text": "b"}]
    assert all((child["parent"], child["children"]) == (parent["id"], []) for child in children)
    assert {child["request_id"] for child in children} == {"the-request"}
    assert [child["status"] for child in children] == ["completed"] * 2


async def test_children_start_at_once_and_not_when_the_relay_looks_next(tmp_path: Path) -> None:
    async with System.open(quick_settings(tmp_path, relay_interval=60)) as system, system.worker():
        parent = await system.until(await system.submit("spread", {"names": ["a"]}))
        [child] = await children_of(system, parent)
        assert child["status"] == "completed"


async def test_nobody_sees_children_before_their_parent_has_completed_nor_are_they_older(system: System) -> None:
    async with system.worker():
        id = await system.submit("spread", {"names": ["a"], "gate": "gate"})
        await started("gate")
        assert (await system.task(id))["children"] == []
        assert await system.count() == 1
        before = now_ms() / 1000
        let_go("gate")
        [child] = (await system.until(id))["children"]
        assert (await system.task(child))["created_at"] >= before


async def test_a_task_that_fails_has_no_children(system: System) -> None:
    async with system.worker():
        parent = await system.until(await system.submit("spread", {"names": ["a"], "failing": True}))
    assert (parent["status"], parent["children"], await system.count()) == ("failed", [], 1)


async def test_children_can_be_listed_by_pages_and_with_other_filters(system: System) -> None:
    async with system.worker():
        parent = await system.until(await system.submit("spread_in_thread", {"names": ["a", "b", "c"]}))
        await children_of(system, parent)
    await system.submit("note", {"text": "another's"}, tags=["spread"])
    newest_first = parent["children"][::-1]
    query = f"parent={parent['id']}"
    assert await ids(system, query) == newest_first
    assert await followed(system, f"{query}&limit=2") == [newest_first[:2], newest_first[2:]]
    assert await ids(system, f"{query}&action=note&tag=spread&status=completed") == newest_first
    assert await ids(system, f"{query}&status=failed") == await ids(system, "parent=nobody") == []
    assert (await system.get(f"/tasks?parent={'x' * 101}")).status == 400


async def test_children_can_be_acted_on_together(system: System) -> None:
    async with system.worker():
        parent = await system.until(await system.submit("spread", {"names": ["a", "b"]}))
        await children_of(system, parent)
    deleted = await system.post("/tasks/delete", json={"parent": parent["id"]})
    assert deleted.body == {"count": 2, "dry_run": False}
    assert (await system.task(parent["id"]))["children"] == []


async def test_a_child_outlives_its_parent_and_still_names_it(system: System) -> None:
    async with system.worker():
        parent = await system.until(await system.submit("spread", {"names": ["a"]}))
        [child] = await children_of(system, parent)
    async with system.client.delete(f"/tasks/{parent['id']}") as response:
        assert response.status == 204
    assert (await system.task(child["id"]))["parent"] == parent["id"]
    assert await ids(system, f"parent={parent['id']}") == [child["id"]]


async def test_children_are_told_as_accepted(system: System) -> None:
    told: list[TaskAccepted] = []
    system.telemetry.listen(lambda it: told.append(it) if isinstance(it, TaskAccepted) else None)
    async with system.worker():
        parent = await system.until(await system.submit("spread", {"names": ["a"]}))
        await eventually(lambda: len(told) == 2)
    assert told[1] == TaskAccepted(parent["children"][0], "note", Status.PENDING)


async def test_children_and_their_parents_completion_are_one_transaction(tmp_path: Path) -> None:
    """Whatever the reason for which a child can't be stored: the parent has not completed either."""
    async with System.open(quick_settings(tmp_path)) as system:
        await beat(system.store, "w")
        await system.store.write(verbs.submit, new_task("parent"), "parent.0", 10_000)
        claim = await claimed(system.store, "parent")
        child = new_task("child", parent="parent")
        with pytest.raises(Exception, match="UNIQUE"):
            await system.store.write(verbs.complete, claim, "{}", [child, child])
        assert (await system.store.reads.known(["child"])) == {}
        task = await system.store.reads.get("parent")
        assert task is not None
        assert task.status is Status.RUNNING
        assert await system.store.write(verbs.complete, claim, "{}", [child]) is Status.COMPLETED
        assert set(await system.store.reads.known(["child"])) == {"child"}
