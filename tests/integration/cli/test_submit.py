"""`taskqueue submit`: one task."""

from pathlib import Path

import pytest
from tests.integration.cli.conftest import CommandLine
from tests.integration.system import System


async def test_the_id_alone_is_written(taskqueue: CommandLine, system: System) -> None:
    ended = await taskqueue("submit", "uppercase", "text=hello")
    task = await system.task(ended.output.strip())
    assert (task["action"], task["payload"]["data"]) == ("uppercase", {"text": "hello"})
    assert ended.errors == ""


async def test_arguments_are_json_where_they_are_json_and_text_else(
    taskqueue: CommandLine, system: System
) -> None:
    words = [
        "a=hello world",
        "b=2",
        "c=[1, null]",
        'd="2"',
        "e:=false",
        "f=x=y",
        "g=",
        "h=01",
        "i=NaN",
        "j=größer",
    ]
    id = (await taskqueue("submit", "x", *words)).output.strip()
    assert (await system.task(id))["payload"]["data"] == {
        "a": "hello world",
        "b": 2,
        "c": [1, None],
        "d": "2",
        "e": False,
        "f": "x=y",
        "g": "",
        "h": "01",
        "i": "NaN",
        "j": "größer",
    }


async def test_arguments_come_from_a_file_or_from_standard_input_and_can_be_changed(
    taskqueue: CommandLine, system: System, tmp_path: Path
) -> None:
    (tmp_path / "arguments.json").write_text('{"path": "a.png", "width": 200}')
    id = (await taskqueue("submit", "x", f"@{tmp_path}/arguments.json", "width=300")).output.strip()
    assert (await system.task(id))["payload"]["data"] == {"path": "a.png", "width": 300}
    id = (await taskqueue("submit", "x", "@-", typed='{"path": "b.png"}')).output.strip()
    assert (await system.task(id))["payload"]["data"] == {"path": "b.png"}


@pytest.mark.parametrize(
    ("word", "why"),
    [
        ("text", "neither key=value"),
        ("=x", "neither key=value"),
        (":=1", "neither key=value"),
        ("a:=[1,", "a: not JSON"),
        ("@no-such-file.json", "no-such-file.json: No such file"),
        ("@-", "a JSON object is needed"),
        ("a=\udcff", "a: not UTF-8"),
    ],
)
async def test_an_argument_that_can_not_be_read_is_told_and_nothing_is_submitted(
    taskqueue: CommandLine, system: System, word: str, why: str
) -> None:
    ended = await taskqueue("submit", "x", word, typed="[1]", code=2)
    assert why in ended.said
    assert await system.count() == 0


async def test_its_options_are_the_tasks(taskqueue: CommandLine, system: System) -> None:
    options = ["--priority", "high", "--max-attempts", "5", "--timeout", "2.5", "--tag", "a", "--tag", "b"]
    id = (await taskqueue("submit", "x", "n=1", *options, "--run-at", "2100-01-01T00:00:00Z")).output.strip()
    task = await system.task(id)
    assert (task["priority"], task["max_attempts"], task["timeout"]) == ("high", 5, 2.5)
    assert (task["tags"], task["run_at"], task["status"]) == (["a", "b"], 4102444800, "pending")


async def test_with_the_same_key_there_is_one_task(taskqueue: CommandLine, system: System) -> None:
    first = await taskqueue("submit", "x", "n=1", "--key", "order-7")
    again = await taskqueue("submit", "x", "n=1", "--key", "order-7")
    assert first.output == again.output
    ended = await taskqueue("submit", "x", "n=2", "--key", "order-7", code=1)
    assert "Idempotency-Key" in ended.errors
    assert await system.count() == 1


async def test_what_the_api_refuses_is_told_by_its_path(taskqueue: CommandLine) -> None:
    ended = await taskqueue("submit", "x", "--max-attempts", "500", "--priority", "low", "--tag", "", code=2)
    assert ended.output == ""
    assert ended.errors.startswith("taskqueue: ")
    assert "max_attempts" in ended.errors
    assert "tags.0" in ended.errors


@pytest.mark.usefixtures("fresh_catalogue")
async def test_data_that_do_not_fit_the_action_are_refused_by_their_path(
    taskqueue: CommandLine, system: System
) -> None:
    async with system.worker():
        await system.until(await system.submit("sum"))  # by now, it has told what it can run
        ended = await taskqueue("submit", "sum", "numbers=many", "other=1", code=2)
    first, *told = ended.errors.splitlines()
    assert first == "taskqueue: invalid data"
    assert sorted(line.partition(":")[0] for line in told) == ["  data.numbers", "  data.other"]
    assert await system.count() == 1


async def test_with_wait_its_result_is_written(taskqueue: CommandLine, system: System) -> None:
    async with system.worker():
        ended = await taskqueue("submit", "sum", "numbers=[1, 2.5]", "--wait")
    assert ended.output == '{\n  "output": 3.5\n}\n'


async def test_with_wait_a_failed_task_exits_1_with_its_error(taskqueue: CommandLine, system: System) -> None:
    async with system.worker():
        ended = await taskqueue("submit", "refuse", "--wait", code=1)
    assert ended.output == ""
    assert ended.errors.endswith("is failed: Reject: no such customer\n")


async def test_for_programs_it_writes_json(taskqueue: CommandLine, system: System) -> None:
    [accepted] = (await taskqueue("submit", "uppercase", "text=x", "--json")).json
    assert accepted == {"id": accepted["id"], "status": "queued"}
    async with system.worker():
        [task] = (await taskqueue("submit", "uppercase", "text=x", "--wait", "--json")).json
        [failed] = (await taskqueue("submit", "refuse", "--wait", "--json", code=1)).json
    assert task == await system.task(task["id"])
    assert failed["error"]["type"] == "Reject"


async def test_without_an_action_it_is_a_usage_error(taskqueue: CommandLine) -> None:
    assert "name an action" in (await taskqueue("submit", code=2)).errors
