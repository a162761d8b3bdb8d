"""The commands that tell what goes on: overview, stats, workers, actions, top."""

from tests.integration import actions
from tests.integration.cli.conftest import CommandLine
from tests.integration.system import System


def rows(output: str) -> dict[str, list[str]]:
    """The cells of each line, by the first one."""
    return {line.split()[0]: line.split()[1:] for line in output.splitlines() if line.strip()}


async def test_the_stats_tell_tasks_by_status_by_minute_and_by_action(
    taskqueue: CommandLine, system: System
) -> None:
    await system.submit("later", delay=100)
    async with system.worker():
        await system.until(await system.submit("uppercase"))
        await system.until(await system.submit("refuse"))
    told = rows((await taskqueue("stats")).output)
    assert [told[status] for status in ("pending", "running")] == [["1"], ["0"]]
    assert (told["accepted"][0], told["completed"][0], told["failed"][0]) == ("3", "1", "1")
    assert told["accepted"][1].endswith(tuple("▁▂▃▄▅▆▇█"))
    assert told["refuse"][:3] == ["1", "0", "1"]
    [answer] = (await taskqueue("stats", "--minutes", "3", "--json")).json
    assert len(answer["minutes"]) == 4


async def test_the_overview_tells_what_needs_attention_and_what_happened(
    taskqueue: CommandLine, system: System
) -> None:
    output = (await taskqueue("overview")).output
    assert "No worker is known. Start workers." in output
    async with system.worker():
        await system.until(await system.submit("uppercase"))
        [answer] = (await taskqueue("overview", "--window", "7d", "--json")).json
        assert answer["attention"] == []
        output = (await taskqueue("overview", "--window", "24h")).output
    told = rows(output)
    assert "all is well" in output
    assert "workers: 1; tasks at a time: 2" in output
    assert "in the last 24h, in parts of 15 min" in output
    assert (told["accepted"][0], told["uppercase"][:3]) == ("1", ["1", "1", "0"])
    assert "1y" in (await taskqueue("overview", "--window", "1y", code=2)).errors


async def test_what_fails_is_told_with_how_often(taskqueue: CommandLine, system: System) -> None:
    async with system.worker():
        for n in range(3):
            await system.until(await system.submit("fail", {"message": f"no {n}"}, max_attempts=1))
    [line] = [
        line for line in (await taskqueue("errors", "--action", "fail")).output.splitlines() if "no …" in line
    ]
    assert line.split()[:2] == ["3", "fail"]
    [group] = (await taskqueue("errors", "--json")).json
    assert (group["tasks"], group["message"]) == (3, "no …")
    assert (await taskqueue("errors", "--tag", "other", "--json")).json == []


async def test_tags_are_listed(taskqueue: CommandLine, system: System) -> None:
    await system.submit("x", tags=["blue", "red"])
    assert (await taskqueue("tags")).output.split() == ["blue", "red"]
    assert (await taskqueue("tags", "r", "--json")).json == ["red"]


async def test_the_workers_are_told_with_what_they_run(taskqueue: CommandLine, system: System) -> None:
    async with system.worker():
        await system.submit("hold", {"name": "gate"})
        await actions.started("gate")
        output = (await taskqueue("workers")).output
        [worker] = (await taskqueue("workers", "--json")).json
        actions.let_go("gate")
    assert " hold (" in output
    assert worker["id"][:8] in output
    assert [task["action"] for task in worker["running"]] == ["hold"]


async def test_the_actions_are_told_with_their_arguments(taskqueue: CommandLine, system: System) -> None:
    async with system.worker():
        await system.until(await system.submit("uppercase"))  # by now, it has told what it can run
        lines = (await taskqueue("actions")).output.splitlines()
        listed = (await taskqueue("actions", "--json")).json
    [fail] = [line for line in lines if line.startswith("fail ")]
    assert "message: string = ..., until_attempt: integer = ..." in fail
    [anything] = [line for line in lines if line.startswith("*")]
    assert "..." in anything
    assert listed == sorted(listed, key=lambda action: str(action["name"]))


async def test_the_live_screen_needs_a_terminal(taskqueue: CommandLine) -> None:
    assert "taskqueue stats" in (await taskqueue("top", code=2)).errors
