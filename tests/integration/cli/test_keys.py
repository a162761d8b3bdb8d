"""`taskqueue keys`: at an API, and in the database itself; and what other commands do with a key."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.integration.cli.conftest import CommandLine
from tests.integration.keys import asking_for_keys, key_of
from tests.integration.programs import Programs
from tests.integration.system import System

from taskqueue.contract.keys import Role, read_key
from taskqueue.store import open_store


@pytest.fixture
async def system(tmp_path: Path) -> AsyncIterator[System]:
    async with asking_for_keys(tmp_path) as system:
        yield system


@pytest.fixture
async def admin(system: System, monkeypatch: pytest.MonkeyPatch) -> str:
    key = await key_of(system, Role.ADMIN)
    monkeypatch.setenv("TASKQUEUE_KEY", key)
    return key


@pytest.mark.usefixtures("admin")
async def test_a_key_is_made_listed_and_revoked_at_the_api(taskqueue: CommandLine) -> None:
    made = await taskqueue(
        "keys", "create", "--role", "submit", "--label", "the \x1b[2Jshop", "--days", "30", code=2
    )
    assert "control characters" in made.said
    made = await taskqueue("keys", "create", "--role", "submit", "--label", "the shop", "--days", "30")
    parts = read_key(made.output.strip())
    assert parts is not None
    assert "not shown again" in made.said
    listed = await taskqueue("keys", "list")
    assert listed.output.splitlines()[1].split()[:4] == [parts[0], "the", "shop", "submit"]
    assert parts[1] not in listed.output
    assert (await taskqueue("keys", "revoke", parts[0])).output == f"{parts[0]}  revoked\n"
    assert "revoked" in (await taskqueue("keys", "list")).output
    assert (await taskqueue("keys", "list", "--json")).json[0]["id"] == parts[0]
    assert "no key has the id 'none'" in (await taskqueue("keys", "revoke", "none", code=3)).said


@pytest.mark.parametrize("command", [["list"], ["submit", "x"], ["keys", "list"], ["watch"]])
async def test_a_command_without_a_key_says_how_to_show_one(taskqueue: CommandLine, command: list[str]) -> None:
    ended = await taskqueue(*command, code=77)
    assert "a key is needed" in ended.said and "TASKQUEUE_KEY" in ended.said


async def test_a_command_whose_key_may_not_says_what_is_needed(
    taskqueue: CommandLine, system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TASKQUEUE_KEY", await key_of(system, Role.READ))
    ended = await taskqueue("submit", "x", code=77)
    assert "needs the role submit" in ended.said


async def test_a_key_with_something_else_in_it_is_not_shown(
    taskqueue: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TASKQUEUE_KEY", "tq_secret\nX-Other: 1")
    ended = await taskqueue("list", code=2)
    assert "the key is none" in ended.said and "secret" not in ended.said


async def test_two_ends_exclude_each_other(taskqueue: CommandLine) -> None:
    arguments = ["keys", "create", "--role", "read", "--label", "x", "--days", "1", "--until", "2099-01-01"]
    assert "exclude each other" in (await taskqueue(*arguments, code=2)).said


async def test_the_first_key_is_made_in_the_database_while_the_api_runs(migrated: Programs) -> None:
    api = await migrated.start("taskqueue", "api", auth="on", broker_url="amqp://127.0.0.1:1/")
    assert "no key yet" in (await api.says("no key yet"))["message"]

    async def run(*arguments: str, code: int = 0) -> str:
        # A key in the environment is no setting, and doesn't keep a program from starting.
        program = await migrated.start("taskqueue", *arguments, key="tq_of_another")
        assert await program.ended() == code, program.errors
        return program.output

    key = (await run("keys", "create", "--role", "admin", "--label", "me")).strip()
    assert read_key(key)
    [listed] = [json.loads(line) for line in (await run("keys", "list", "--json")).splitlines()]
    assert (listed["label"], listed["role"], listed["revoked_at"]) == ("me", "admin", None)
    assert (await run("keys", "revoke", listed["id"])) == f"{listed['id']}  revoked\n"
    await run("keys", "revoke", listed["id"])
    await run("keys", "revoke", "none", code=3)
    await run("keys", "create", "--role", "admin", "--label", "", code=2)
    await run("keys", "create", "--role", "admin", "--label", "x", "--until", "2001-01-01", code=2)
    async with open_store(migrated.data / "tasks.db", write_timeout=5) as store:
        noted = await store.reads.audit(10)
    assert [(each.operation, each.target, each.key, each.address) for each in noted] == [
        ("revoke_key", listed["id"], None, None),
        ("create_key", listed["id"], None, None),
    ]


async def test_without_a_database_no_key_is_made(programs: Programs) -> None:
    program = await programs.start("taskqueue", "keys", "create", "--role", "admin", "--label", "me")
    assert await program.ended() == 1
    assert "taskqueue-migrate" in program.errors


@pytest.mark.parametrize("command", ["api", "embedded"])
async def test_an_api_that_others_reach_does_not_start_without_keys(migrated: Programs, command: str) -> None:
    program = await migrated.start("taskqueue", command, host="0.0.0.0", broker_url="amqp://127.0.0.1:1/")
    assert await program.ended() == 78
    assert "TASKQUEUE_AUTH=on" in program.errors
