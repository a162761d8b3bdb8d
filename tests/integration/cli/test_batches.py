"""`taskqueue submit --batch`: a file of tasks."""

import asyncio
import json
from pathlib import Path

import pytest
from tests.integration.cli.conftest import CommandLine
from tests.integration.client.hostile import Hostile, drops, passes_on, says
from tests.integration.system import System, quick_settings

#: As many as go into one request.
BATCH = 1000


def written(folder: Path, *lines: str) -> str:
    path = folder / "tasks.ndjson"
    path.write_text("\n".join(lines) + "\n")
    return str(path)


def numbered(count: int) -> list[str]:
    return [json.dumps({"action": "note", "data": {"text": f"{number}"}}) for number in range(count)]


async def texts(system: System) -> list[str]:
    """Those of the tasks that there are, in the order in which they were accepted."""
    found: list[str] = []
    path = "/tasks?limit=1000"
    while True:
        page = (await system.get(path)).body
        found += [task["payload"]["data"]["text"] for task in page["tasks"]]
        if "next" not in page:
            return found[::-1]
        path = f"/tasks?limit=1000&cursor={page['next']}"


async def test_a_file_of_any_length_is_submitted_in_its_order(
    taskqueue: CommandLine, system: System, tmp_path: Path
) -> None:
    ended = await taskqueue("submit", "--batch", written(tmp_path, *numbered(2 * BATCH + 100)))
    assert ended.output == "2,100 tasks submitted\n"
    assert await texts(system) == [f"{number}" for number in range(2 * BATCH + 100)]


async def test_standard_input_is_a_file_too_and_empty_lines_are_no_tasks(
    taskqueue: CommandLine, system: System
) -> None:
    lines = ["", *numbered(2), "", ""]
    ended = await taskqueue("submit", "--batch", "-", "--json", typed="\n".join(lines))
    assert [accepted["status"] for accepted in ended.json] == ["queued", "queued"]
    assert await texts(system) == ["0", "1"]


async def test_each_wrong_line_is_told_and_nothing_is_submitted(
    taskqueue: CommandLine, system: System, tmp_path: Path
) -> None:
    good = numbered(BATCH + 10)
    wrong = ["{", '{"data": {}}', '{"action": "x", "prority": "high"}', "[]"]
    ended = await taskqueue("submit", "--batch", written(tmp_path, *good, "", *wrong, *good), code=2)
    assert ended.output == ""
    first, *told = ended.errors.splitlines()
    assert first == "taskqueue: nothing was submitted:"
    assert [line.partition(":")[0] for line in told] == [f"line {BATCH + 12 + n}" for n in range(4)]
    assert "action" in told[1]
    assert "prority" in told[2]
    assert await system.count() == 0


async def test_of_very_many_wrong_lines_some_are_told(taskqueue: CommandLine, tmp_path: Path) -> None:
    ended = await taskqueue("submit", "--batch", written(tmp_path, *["{"] * 1234), code=2)
    assert len(ended.errors.splitlines()) == 22
    assert ended.errors.endswith("... and 1,214 more\n")


async def test_a_line_that_the_api_refuses_is_told_before_anything_is_submitted(
    taskqueue: CommandLine, system: System, tmp_path: Path
) -> None:
    lines = numbered(BATCH + 10)
    lines[BATCH + 3] = f'{{"action": "x", "data": {{"deep": {"[" * 195}{"]" * 195}}}}}'
    ended = await taskqueue("submit", "--batch", written(tmp_path, "", *lines), code=2)
    first, second = ended.errors.splitlines()
    assert first == "taskqueue: nothing was submitted:"
    assert second.startswith(f"line {BATCH + 5}: JSON nested too deeply")
    assert await system.count() == 0


async def test_where_a_batch_is_refused_that_was_fine_before_it_is_told_which_lines_are_in(
    system: System, tmp_path: Path
) -> None:
    url = str(system.client.make_url("")).rstrip("/")
    wrong = {"path": "tasks.3.data.x", "error": "tasks.3.data.x: not known", "index": 3}
    refuses = says(422, {"error": "invalid data", "details": [wrong]})
    async with Hostile.listening(*[passes_on(url)] * 3, refuses) as hostile:
        lines = numbered(BATCH + 10)
        ended = await CommandLine(hostile.url)("submit", "--batch", written(tmp_path, "", *lines), code=2)
    assert ended.errors.splitlines() == [
        f"taskqueue: line {BATCH + 5}: data.x: not known",
        "1,000 tasks before were submitted",
        f"lines {BATCH + 2} to {BATCH + 11}: not submitted",
        "what follows was not sent",
    ]
    assert len(await texts(system)) == BATCH


@pytest.mark.usefixtures("fresh_catalogue")
async def test_lines_whose_data_do_not_fit_their_action_are_told_and_nothing_is_submitted(
    taskqueue: CommandLine, system: System, tmp_path: Path
) -> None:
    wrong = ['{"action": "note", "data": {"text": 1}}', '{"action": "note"}']
    lines = ["", *numbered(2 * BATCH), *wrong, *numbered(500)]
    async with system.worker():
        await system.until(await system.submit("uppercase"))  # by now, it has told what it can run
        ended = await taskqueue("submit", "--batch", written(tmp_path, *lines), code=2)
    first, second, third = ended.errors.splitlines()
    assert first == "taskqueue: nothing was submitted:"
    assert second.startswith(f"line {2 * BATCH + 2}: data.text: ")
    assert third == f"line {2 * BATCH + 3}: data.text: required"
    assert await system.count() == 1


async def test_a_task_that_is_too_large_is_told_by_its_line(tmp_path: Path) -> None:
    lines = [*numbered(10), json.dumps({"action": "note", "data": {"text": "x" * 2000}}), *numbered(5)]
    async with System.open(quick_settings(tmp_path, max_task_bytes=1000)) as system:
        url = str(system.client.make_url("")).rstrip("/")
        ended = await CommandLine(url)("submit", "--batch", written(tmp_path, *lines), code=2)
        assert await system.count() == 0
    assert ended.errors.startswith("taskqueue: nothing was submitted:\nline 11: makes a message of ")


async def test_lines_whose_answer_was_lost_are_called_unknown(system: System, tmp_path: Path) -> None:
    url = str(system.client.make_url("")).rstrip("/")
    # Three batches are checked first.
    script = [*[passes_on(url)] * 4, passes_on(url, but_drops=True), drops]
    async with Hostile.listening(*script) as hostile:
        ended = await CommandLine(hostile.url)(
            "submit", "--batch", written(tmp_path, *numbered(2 * BATCH + 1)), code=69
        )
    first, *told = ended.errors.splitlines()
    assert "doesn't answer" in first
    assert told == [
        "1,000 tasks before were submitted",
        f"lines {BATCH + 1} to {2 * BATCH}: unknown; they may have been submitted or not",
        "what follows was not sent",
    ]
    # They were, and none of them twice.
    assert await texts(system) == [f"{number}" for number in range(2 * BATCH)]


@pytest.mark.parametrize("arguments", [["x"], ["--wait"], ["--priority", "high"], ["--key", "k"]])
async def test_nothing_else_goes_with_a_file(taskqueue: CommandLine, tmp_path: Path, arguments: list[str]) -> None:
    ended = await taskqueue("submit", *arguments, "--batch", written(tmp_path, *numbered(1)), code=2)
    assert "--batch" in ended.errors


async def test_a_file_that_is_not_there_is_a_usage_error(taskqueue: CommandLine, tmp_path: Path) -> None:
    ended = await taskqueue("submit", "--batch", str(tmp_path / "none"), code=2)
    assert "No such file" in ended.said


async def test_before_anything_is_sent_somebody_must_answer(tmp_path: Path) -> None:
    async with asyncio.timeout(20):
        await CommandLine("http://127.0.0.1:1")("submit", "--batch", written(tmp_path, *numbered(1)), code=69)
