"""`taskqueue-embedded`: the whole in one process, started, killed and started again."""

import asyncio
import json
import shlex
import signal
import socket
from pathlib import Path

import aiohttp
import pytest
from tests.conformance.waiting import eventually
from tests.integration.programs import Client, Programs

PROGRAM = "taskqueue-embedded"


async def test_it_says_where_to_send_a_task_runs_it_and_stops(programs: Programs, client: Client) -> None:
    program = await programs.start(PROGRAM)
    url = await program.url()
    await eventually(lambda: f"curl -X POST {url}/tasks" in program.output)
    assert (await client.get(f"{url}/readyz"))["status"] == "ready"
    id = await client.submit(url, "uppercase", {"text": "hello world"})
    [task] = await client.until_final(url, id)
    assert task["result"] == {"output": "HELLO WORLD"}
    assert await program.stop() == 0
    # Each line about a task names it and its action.
    for message in ("task accepted", "processing task", "task completed"):
        [line] = program.logged(message)
        assert {"task_id": id, "action": "uppercase"}.items() <= line.items()
    assert {line["level"] for line in program.log} == {"INFO"}


async def test_killed_in_the_middle_it_finishes_everything_when_started_again(
    programs: Programs, client: Client
) -> None:
    program = await programs.start(PROGRAM, simulated_work=0.3)
    url = await program.url()
    texts = [f"text {number}" for number in range(8)]
    ids = [await client.submit(url, "uppercase", {"text": text}) for text in texts]
    delayed = await client.submit(url, "uppercase", {"text": "delayed"}, delay=1)
    await program.says("task completed")
    await eventually(lambda: len(program.logged("processing task")) > len(program.logged("task completed")))
    await program.kill()

    # It doesn't wait for the dead one's lease.
    program = await programs.start(PROGRAM, lease=1000)
    url = await program.url()
    tasks = await client.until_final(url, *ids, delayed)
    assert [task["result"] for task in tasks] == [{"output": text.upper()} for text in [*texts, "delayed"]]
    lost = [task for task in tasks if task["failures"]]
    assert lost, "none was running when it was killed"
    for task in lost:
        attempts = (await client.get(f"{url}/tasks/{task['id']}"))["attempts"]
        assert [attempt["outcome"] for attempt in attempts] == ["worker_lost", "ok"]


async def test_while_its_database_is_gone_it_refuses_tasks_and_says_so(programs: Programs, client: Client) -> None:
    program = await programs.start(PROGRAM)
    url = await program.url()
    database = programs.data / "tasks.db"
    moved = database.rename(programs.data / "moved.db")
    with pytest.raises(AssertionError, match="failed to queue task"):
        await client.submit(url, "uppercase", {"text": "refused"})
    assert "tasks.db is gone" in (await client.get(f"{url}/readyz"))["error"]
    await program.says("nothing is read or written")
    moved.rename(database)
    await program.says("work goes on")
    id = await client.submit(url, "uppercase", {"text": "accepted"})
    [task] = await client.until_final(url, id)
    assert task["result"] == {"output": "ACCEPTED"}
    assert list(await client.tasks(url)) == [id]
    assert await program.stop() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_stopped_it_exits_0_and_loses_nothing(
    programs: Programs, client: Client, number: signal.Signals
) -> None:
    program = await programs.start(PROGRAM, simulated_work=0.2)
    url = await program.url()
    ids = [await client.submit(url, "uppercase", {"text": "x"}) for _ in range(6)]
    await program.says("processing task")
    program.handle.send_signal(number)
    assert await program.ended() == 0
    assert "Traceback" not in program.errors
    done = len(program.logged("task completed"))
    assert 0 < done < len(ids), "it finishes what runs, and begins nothing new"

    program = await programs.start(PROGRAM)
    tasks = await client.until_final(await program.url(), *ids)
    assert [(task["status"], task["attempt"], task["failures"]) for task in tasks] == [("completed", 1, 0)] * 6


async def test_told_to_stop_it_lets_its_listeners_go_while_it_finishes_its_tasks(
    programs: Programs, client: Client
) -> None:
    program = await programs.start(PROGRAM, simulated_work=6)
    url = await program.url()
    id = await client.submit(url, "uppercase", {"text": "x"})
    await program.says("processing task")
    async with aiohttp.ClientSession(url) as session, session.get("/events") as stream:
        waiting = asyncio.create_task(waited_for(session, id))
        for _ in range(3):  # the waiter's request has no other sign of having arrived than that later ones have
            await client.get(f"{url}/stats")
        program.handle.send_signal(signal.SIGTERM)
        await stream.content.read()  # to its end
        assert await waiting == "running"
        assert program.handle.returncode is None
        with pytest.raises(aiohttp.ClientConnectionError):
            await client.get(f"{url}/livez")
    assert await program.ended() == 0
    assert len(program.logged("task completed")) == 1


async def waited_for(session: aiohttp.ClientSession, id: str) -> str:
    async with session.get(f"/tasks/{id}", headers={"Prefer": "wait=50"}) as response:
        return str((await response.json())["status"])


async def test_two_on_one_folder_are_refused(programs: Programs) -> None:
    await (await programs.start(PROGRAM)).url()
    others = (PROGRAM, "taskqueue-api", "taskqueue-worker")
    for line in await asyncio.gather(*(programs.refused(other) for other in others)):
        assert f"{programs.data} is in use" in line


async def test_a_port_that_is_taken_is_told(programs: Programs) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        line = await programs.refused(PROGRAM, port=port)
    assert str(port) in line
    assert "TASKQUEUE_PORT" in line


async def test_a_host_that_is_not_ours_is_told(programs: Programs) -> None:
    assert "192.0.2.1" in await programs.refused(PROGRAM, host="192.0.2.1", auth="proxy")


async def test_a_corrupt_database_is_refused(programs: Programs) -> None:
    programs.data.mkdir()
    (programs.data / "tasks.db").write_bytes(b"not a database " * 1000)
    line = await programs.refused(PROGRAM)
    assert "tasks.db" in line
    assert "not a database" in line


async def test_a_data_folder_that_is_a_file_is_refused(programs: Programs) -> None:
    programs.data.touch()
    assert str(programs.data) in await programs.refused(PROGRAM)


@pytest.mark.parametrize(
    ("code", "cause"),
    [
        ("def (", "SyntaxError"),
        ("raise SystemExit('over')", "SystemExit"),
    ],
)
async def test_handlers_that_cannot_be_loaded_are_named(programs: Programs, code: str, cause: str) -> None:
    (programs.folder / "broken.py").write_text(code)
    line = await programs.refused(PROGRAM, handlers="handlers,broken")
    assert "'broken'" in line
    assert cause in line
    [program] = programs.started
    assert "serving" not in program.errors + program.output


async def test_its_greeting_is_a_request_that_it_can_answer(programs: Programs, client: Client) -> None:
    (programs.folder / "shop.py").write_text(
        "from taskqueue import action\n\n@action\ndef resize(path: str, width: int) -> dict:\n    return {}\n"
    )
    program = await programs.start(PROGRAM, handlers="shop")
    url = await program.url()
    await eventually(lambda: f"curl {url}/tasks" in program.output)
    words = shlex.split(program.output[program.output.index("curl") :].replace("\\\n", ""))
    answer = await client.post(f"{url}/tasks", json.loads(words[words.index("-d") + 1]))
    [task] = await client.until_final(url, answer["id"])
    assert (task["action"], task["status"]) == ("resize", "completed")


FAILING_RESOURCE = """
def pool():
    raise ConnectionError("refused")

@action
async def act(pool: Annotated[object, Depends(pool)]): ...
"""


@pytest.mark.parametrize(
    ("code", "line"),
    [
        (FAILING_RESOURCE, "resource 'pool' can't be opened: ConnectionError: refused"),
        ("@action('sum')\ndef other(): ...", "action 'sum' is registered twice"),
        ("@action\ndef act(pool: Annotated[str, Depends(len)]): ...", "len: nothing fills its parameter 'obj'"),
        ("@action(timeout=0)\ndef act(): ...", "action 'act': timeout: "),
        ("@middleware\ndef around(task, call_next): ...", "must be `async def"),
    ],
    ids=["resource", "twice", "signature", "option", "middleware"],
)
async def test_actions_that_cannot_be_run_end_it_before_it_serves(
    programs: Programs, code: str, line: str
) -> None:
    imports = "from typing import Annotated\nfrom taskqueue import Depends, action, middleware\n"
    (programs.folder / "broken.py").write_text(imports + code)
    assert line in await programs.refused(PROGRAM, handlers="handlers,broken")
    [program] = programs.started
    assert "serving on" not in program.errors


@pytest.mark.parametrize(("setting", "value"), [("port", "http"), ("prot", "8080")])
async def test_a_wrong_setting_is_named_in_one_line(
    programs: Programs, setting: str, value: str, tmp_path: Path
) -> None:
    program = await programs.start(PROGRAM, **{setting: value})
    assert await program.ended() == 78
    [line] = program.errors.splitlines()
    assert f"TASKQUEUE_{setting.upper()}" in line
    assert not (tmp_path / "data").exists()
