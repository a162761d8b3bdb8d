"""The commands that read tasks: list, show, wait, watch."""

import asyncio
from uuid import uuid4

import pytest
from tests.conformance.waiting import eventually
from tests.integration import actions
from tests.integration.cli.conftest import CommandLine
from tests.integration.system import System


async def test_the_list_is_newest_first_and_filtered(taskqueue: CommandLine, system: System) -> None:
    ids = [await system.submit("x", tags=["a"]) for _ in range(5)]
    other = await system.submit("y", delay=100)

    async def listed(*options: str) -> list[str]:
        header, *rows = (await taskqueue("list", *options)).output.splitlines()
        assert header.split() == ["id", "action", "status", "age", "attempt", "tags", "error"]
        return [row.split()[0] for row in rows]

    assert await listed() == [other, *ids[::-1]]
    assert await listed("--limit", "2") == [other, ids[-1]]
    assert await listed("--limit", "0", "--tag", "a") == ids[::-1]
    assert await listed("--action", "y") == [other]
    assert await listed("--status", "pending", "--status", "failed") == [other]
    assert await listed("--created-before", "2020-01-01") == []
    assert len(await listed("--created-after", "2020-01-01T08:00:00+02:00", "--created-before", "4102444800")) == 6


async def test_the_list_is_for_programs_a_task_a_line(taskqueue: CommandLine, system: System) -> None:
    for _ in range(3):
        await system.submit("x")
    assert (await taskqueue("list", "--json")).json == (await system.get("/tasks")).body["tasks"]


async def test_a_line_is_not_cut_where_there_is_no_terminal(taskqueue: CommandLine, system: System) -> None:
    id = await system.submit("x" * 150, tags=["t" * 60])
    [_, row] = (await taskqueue("list")).output.splitlines()
    assert row.split()[:3] == [id, "x" * 150, "queued"]
    assert row.split()[-1] == "t" * 60


async def test_what_tasks_say_cannot_command_the_terminal(taskqueue: CommandLine, system: System) -> None:
    async with system.worker():
        id = await system.submit("fail", {"message": "\x1b[2J\x07\x9b31m[bold]x[/bold]"}, max_attempts=1)
        await system.until(id)
        for command in (
            ["list"],
            ["show", id],
            ["list", "--json"],
            ["submit", "fail", "message=\x1b[2J", "--wait"],
        ):
            ended = await taskqueue(*command, code=int("--wait" in command))
            written = ended.output + ended.errors
            assert not [c for c in written if not (c.isprintable() or c == "\n")], command
    assert "?[2J??31m[bold]x[/bold]" in (await taskqueue("list")).output


async def test_a_time_that_is_none_is_a_usage_error(taskqueue: CommandLine) -> None:
    assert "neither Unix seconds nor ISO 8601" in (await taskqueue("list", "--created-after", "soon", code=2)).said


async def test_a_task_is_shown_with_its_data_its_result_and_its_attempts(
    taskqueue: CommandLine, system: System
) -> None:
    async with system.worker():
        id = await system.submit("fail", {"message": "not yet", "until_attempt": 2}, tags=["a", "b"])
        await system.until(id)
    shown = (await taskqueue("show", id)).output
    facts = {line.split()[0]: line.split()[1:] for line in shown.splitlines() if line[:1].strip()}
    assert facts["id"] == [id]
    assert facts["status"] == ["completed"]
    assert facts["tags"] == ["a,", "b"]
    assert facts["failures"] == ["1", "of", "3"]
    assert '"message": "not yet"' in shown
    assert '"output": 2' in shown
    assert "RuntimeError: not yet" in shown
    assert (facts["1"][0], facts["2"][0]) == ("error", "ok")
    assert (await taskqueue("show", id, "--json")).json == [await system.task(id)]


async def test_a_task_is_shown_with_its_parent_and_its_children(taskqueue: CommandLine, system: System) -> None:
    async with system.worker():
        parent = await system.until(await system.submit("spread", {"names": ["a", "b"]}))
    shown = (await taskqueue("show", parent["id"])).output
    assert all(child in shown for child in parent["children"])
    assert "parent" not in shown
    first, second = parent["children"]
    assert f"parent {parent['id']}" in " ".join((await taskqueue("show", first)).output.split())
    _, *rows = (await taskqueue("list", "--parent", parent["id"])).output.splitlines()
    assert [row.split()[0] for row in rows] == [second, first]


async def test_what_a_task_waits_for_is_told(taskqueue: CommandLine, system: System) -> None:
    async with system.worker(handlers="tests.integration.openapi.actions"):
        id = await system.submit("nobody_knows_it")

        async def set_aside() -> bool:
            return (await system.task(id))["waiting_for"] is not None

        await eventually(set_aside)
        assert "a worker with action 'nobody_knows_it'" in (await taskqueue("show", id)).output
        assert "1 wait for a worker that knows their action" in (await taskqueue("stats")).output


async def test_the_traceback_of_a_failed_task_is_shown_in_lines(taskqueue: CommandLine, system: System) -> None:
    async with system.worker():
        id = await system.submit("fail", max_attempts=1)
        await system.until(id)
    assert "Traceback (most recent call last):\n" in (await taskqueue("show", id)).output


@pytest.mark.parametrize("command", ["show", "wait", "watch", "cancel", "retry", "delete"])
async def test_a_task_that_there_is_not_exits_3(taskqueue: CommandLine, command: str) -> None:
    id = str(uuid4())
    ended = await taskqueue(command, id, code=3)
    assert id in ended.errors
    assert len(ended.errors.splitlines()) == 1


async def test_waiting_ends_when_all_are_final(taskqueue: CommandLine, system: System) -> None:
    async with system.worker():
        first = await system.submit("hold", {"name": "gate"})
        second = await system.submit("uppercase")
        waiting = asyncio.create_task(taskqueue("wait", first, second))
        await actions.started("gate")
        actions.let_go("gate")
        assert (await waiting).output == f"{first}  completed\n{second}  completed\n"
        failed = await system.submit("refuse")
        ended = await taskqueue("wait", failed, second, "--json", code=1)
    assert [task["status"] for task in ended.json] == ["failed", "completed"]


async def test_waiting_that_takes_too_long_exits_75(taskqueue: CommandLine, system: System) -> None:
    id = await system.submit("x")
    ended = await taskqueue("wait", id, "--timeout", "0.01", code=75)
    assert ended.errors == f"taskqueue: task {id} is still queued\n"


async def test_a_task_is_watched_until_it_is_final(taskqueue: CommandLine, system: System) -> None:
    async with system.worker():
        id = await system.submit("report", {"name": "gate", "fractions": [0.5]})
        watching = asyncio.create_task(taskqueue("watch", id))
        await actions.started("gate")
        actions.let_go("gate")
        lines = (await watching).output.splitlines()
        assert lines[-1].split()[2:] == ["completed"]
        failed = await system.submit("refuse")
        *_, last = (await taskqueue("watch", failed, "--json", code=1)).json
    assert (last["event"], last["data"]["id"], last["data"]["status"]) == ("status", failed, "failed")


async def test_one_task_and_a_filter_are_not_watched_together(taskqueue: CommandLine) -> None:
    await taskqueue("watch", str(uuid4()), "--tag", "a", code=2)
