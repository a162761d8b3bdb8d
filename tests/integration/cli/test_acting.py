"""The commands that change tasks: cancel, retry, delete."""

from uuid import uuid4

import pytest
from tests.integration import actions
from tests.integration.cli.conftest import CommandLine
from tests.integration.system import System


async def test_tasks_are_cancelled_retried_and_deleted_by_their_ids(
    taskqueue: CommandLine, system: System
) -> None:
    ids = [await system.submit("x", delay=100) for _ in range(2)]
    assert (await taskqueue("cancel", *ids)).output == f"{ids[0]}  cancelled\n{ids[1]}  cancelled\n"
    assert (await taskqueue("retry", ids[0])).output == f"{ids[0]}  retried\n"
    assert (await taskqueue("delete", ids[1])).output == f"{ids[1]}  deleted\n"
    assert [task["id"] for task in (await system.get("/tasks")).body["tasks"]] == ids[:1]
    assert (await system.task(ids[0]))["status"] == "pending"


async def test_a_task_that_runs_is_asked_to_stop(taskqueue: CommandLine, system: System) -> None:
    async with system.worker():
        id = await system.submit("clean_up", {"name": "gate"})
        await actions.started("gate")
        assert (await taskqueue("cancel", id)).output == f"{id}  asked to stop\n"
        await system.until(id)


async def test_one_that_can_not_be_changed_keeps_no_other_from_it(taskqueue: CommandLine, system: System) -> None:
    first, second = [await system.submit("x") for _ in range(2)]
    await taskqueue("cancel", first)
    nowhere = str(uuid4())
    ended = await taskqueue("cancel", nowhere, first, second, "--json", code=1)
    assert ended.json == [{"id": second, "status": "cancelled", "cancel_requested": True}]
    assert ended.errors.splitlines() == [
        f"taskqueue: {nowhere}: no task has the id '{nowhere}'",
        f"taskqueue: {first}: the task is already cancelled",
    ]


@pytest.mark.parametrize(("answer", "left"), [("y\n", 2), ("n\n", 5), ("", 5)])
async def test_what_a_filter_fits_is_counted_and_asked_about_before_it_is_deleted(
    taskqueue: CommandLine, system: System, answer: str, left: int
) -> None:
    for n in range(5):
        await system.submit("x", tags=["old"] if n < 3 else [])
    await taskqueue("cancel", "--action", "x", "--yes")
    ended = await taskqueue("delete", "--tag", "old", typed=answer, code=int(left == 5))
    assert "delete 3 tasks?" in ended.errors
    assert ("3 tasks deleted" in ended.output) == (left == 2)
    assert await system.count() == left


async def test_with_yes_nothing_is_asked(taskqueue: CommandLine, system: System) -> None:
    for _ in range(2):
        await system.submit("x")
    assert (await taskqueue("cancel", "--status", "queued", "--yes")).output == "2 tasks cancelled\n"
    assert (await taskqueue("retry", "--status", "cancelled", "-y", "--json")).json == [
        {"count": 2, "dry_run": False}
    ]


async def test_where_nothing_fits_nothing_is_asked(taskqueue: CommandLine) -> None:
    ended = await taskqueue("delete", "--tag", "none")
    assert (ended.output, ended.errors) == ("0 tasks deleted\n", "")


@pytest.mark.parametrize("arguments", [[], ["some-id", "--tag", "old"]])
async def test_either_ids_or_a_filter_are_named(taskqueue: CommandLine, arguments: list[str]) -> None:
    assert "ids" in (await taskqueue("delete", *arguments, code=2)).errors
