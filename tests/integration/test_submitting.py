"""What a task may be submitted with beside its data: tags to find it by, and its place in the queue."""

import re
import time
from typing import Any

import pytest
from tests.conformance.waiting import eventually
from tests.integration import actions
from tests.integration.system import System

# Tags


@pytest.mark.parametrize(
    "tags",
    [[], ["a"], ["x" * 64], list("abcdefghij"), ["b", "a"], [" "], ["ü", "日本", "🙂"], ["'", '"', "%", "a,b"]],
    ids=str,
)
async def test_tags_are_kept_as_they_were_given(system: System, tags: list[str]) -> None:
    id = await system.submit("x", tags=tags)
    assert (await system.task(id))["tags"] == tags
    for tag in tags:
        [found] = (await system.get("/tasks", params={"tag": tag})).body["tasks"]
        assert found["id"] == id


@pytest.mark.parametrize(
    ("tags", "error"),
    [
        (list("abcdefghijk"), "tags: .*10 items"),
        (["x" * 65], "tags.0: .*64 characters"),
        (["a", ""], "tags.1: must not be empty"),
        (["a", "b", "a"], "tags: must not name a tag twice"),
        (["a\n"], "tags.0: must not contain control characters"),
        ([1], "tags.0: .*string"),
        ("a", "tags: .*list"),
        (None, "tags: .*list"),
    ],
    ids=str,
)
async def test_tags_that_are_too_many_too_long_or_no_tags_are_refused(
    system: System, tags: Any, error: str
) -> None:
    answer = await system.post("/tasks", json={"action": "x", "tags": tags})
    assert answer.status == 400
    assert re.match(error, answer.body["error"]), answer.body
    assert await system.count() == 0


async def test_a_tag_finds_its_tasks_only(system: System) -> None:
    both = await system.submit("x", tags=["red", "round"])
    red = await system.submit("x", tags=["red"])
    await system.submit("x", tags=["re"])
    await system.submit("red", tags=[])
    assert [task["id"] for task in (await system.get("/tasks?tag=red")).body["tasks"]] == [red, both]
    assert [task["id"] for task in (await system.get("/tasks?tag=round")).body["tasks"]] == [both]
    assert (await system.get("/tasks?tag=RED")).body["count"] == 0


# Priority


async def backlog(system: System, count: int) -> None:
    tasks = [{"action": "note", "data": {"text": f"normal {n}"}} for n in range(count)]
    assert (await system.post("/tasks/batch", json={"tasks": tasks})).status == 202


async def overtakes(system: System, *, prefetched: int) -> None:
    """A backlog waits behind a running task; a high one that comes last is started before almost all of it."""
    async with system.worker(consumers=1, give_back_after=60):
        held = await system.submit("hold", {"name": "gate"})
        await actions.started("gate")
        await backlog(system, 100)
        high = await system.submit("note", {"text": "high"}, priority="high")
        low = await system.submit("note", {"text": "low"}, priority="low")
        actions.let_go("gate")
        await system.until(held)
        await system.until(high)
        await eventually(lambda: len(actions.notes) == 102)
        await system.until(low)
    assert actions.notes.index("high") <= prefetched
    assert [text for text in actions.notes if text.startswith("normal")] == [f"normal {n}" for n in range(100)]


async def test_a_backlog_does_not_hold_up_a_high_one(system: System) -> None:
    await overtakes(system, prefetched=0)
    assert actions.notes[-1] == "low"


async def test_what_becomes_due_at_one_time_is_run_by_priority(system: System) -> None:
    due = time.time() + 0.3
    tasks = [
        {"action": "note", "data": {"text": f"{priority} {n}"}, "priority": priority, "run_at": due}
        for n in range(3)
        for priority in ("low", "normal", "high")
    ]
    assert (await system.post("/tasks/batch", json={"tasks": tasks})).status == 202
    async with system.worker(consumers=1):
        await eventually(lambda: len(actions.notes) == 9)
    assert [text.split()[0] for text in actions.notes] == ["high"] * 3 + ["normal"] * 3 + ["low"] * 3
