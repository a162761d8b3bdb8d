"""What `taskqueue` starts: the programs, and their upkeep."""

import contextlib
import signal
import sys
from pathlib import Path

import aiohttp
import pytest
from tests.conformance.waiting import eventually
from tests.integration.cli.conftest import CommandLine
from tests.integration.programs import Client, Program, Programs

from taskqueue.store.engine.sqlite.connection import connect

ACTIONS = """
from taskqueue import action

@action
async def price(cents: int) -> dict:
    return {"output": cents * %d}
"""


async def served(program: Program, times: int) -> str:
    """Where it serves, once it has begun to so often."""
    await eventually(lambda: program.errors.count("serving on http") >= times)
    return program.errors.rpartition("serving on ")[2].split()[0].strip('",')


async def test_dev_runs_the_actions_of_this_folder_and_takes_up_each_change(
    programs: Programs, client: Client
) -> None:
    shop = programs.folder / "shop.py"
    shop.write_text(ACTIONS % 1)
    program = await programs.start("taskqueue", "dev", "shop", log_format="text")
    url = await served(program, 1)
    await eventually(lambda: f"{url}/docs" in program.output)
    id = await client.submit(url, "price", {"cents": 100})
    [task] = await client.until_final(url, id)
    assert task["result"] == {"output": 100}

    shop.write_text(ACTIONS % 12)
    url = await served(program, 2)
    id = await client.submit(url, "price", {"cents": 100})
    [task] = await client.until_final(url, id)
    assert task["result"] == {"output": 1200}

    shop.write_text("def (")
    await eventually(lambda: "'shop' can't be imported: SyntaxError" in program.errors)
    shop.write_text(ACTIONS % 123)
    url = await served(program, 3)
    assert "shop.py changed: starting again" in program.errors

    program.handle.send_signal(signal.SIGINT)
    assert await program.ended() == 0
    assert "Traceback" not in program.errors
    with pytest.raises(aiohttp.ClientConnectionError):
        await client.get(f"{url}/livez")


@pytest.mark.parametrize("module", ["nowhere", "nowhere.actions", "os.nowhere"])
async def test_dev_of_a_module_that_there_is_not_is_a_usage_error(
    monkeypatch: pytest.MonkeyPatch, module: str
) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    ended = await CommandLine("")("dev", module, code=2)
    assert f"no module '{module}'" in ended.said


async def test_migrate_makes_the_database_api_serves_it_and_backup_copies_it(
    programs: Programs, client: Client
) -> None:
    programs.data.mkdir()
    assert await (await programs.start("taskqueue", "migrate")).ended() == 0
    api = await programs.start("taskqueue", "api", broker_url="amqp://127.0.0.1:1")
    id = await client.submit(await api.url(), "x")
    copy = programs.folder / "copy.db"
    assert await (await programs.start("taskqueue", "backup", str(copy))).ended() == 0
    assert await api.stop() == 0
    with contextlib.closing(connect(copy, busy_timeout=5)) as connection:
        assert [row["id"] for row in connection.execute("SELECT id FROM task")] == [id]


async def test_what_keeps_a_program_from_starting_is_told_in_one_line(programs: Programs) -> None:
    for name in ("worker", "shrink"):
        assert str(programs.data) in await programs.refused("taskqueue", name)


def test_the_help_names_each_command_and_so_does_the_document(document: str) -> None:
    from taskqueue_cli.app import COMMANDS

    assert [name for group in COMMANDS.values() for name in group if f"`{name}`" not in document] == []


@pytest.fixture
def document() -> str:
    return (Path(__file__).parents[3] / "docs" / "cli.md").read_text(encoding="utf-8")
