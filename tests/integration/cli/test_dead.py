"""`taskqueue dead`: the dead letters in RabbitMQ."""

import json
from typing import TYPE_CHECKING

import aio_pika
import pytest
from tests.conformance.burying import bury
from tests.integration.cli.conftest import CommandLine
from tests.integration.programs import Programs
from tests.integration.system import System

from taskqueue.broker import open_broker

if TYPE_CHECKING:
    from tests.conformance.server import RabbitServer


async def put_dead(rabbit: "RabbitServer", queue: str, *bodies: bytes) -> None:
    async with open_broker(rabbit.url, queue).dead_letters(1):
        pass  # the queues are there now
    async with await aio_pika.connect(rabbit.url) as connection:
        channel = await connection.channel()
        for body in bodies:
            message = aio_pika.Message(body, headers={"x-reason": "no \x1b[2J task"})
            await channel.default_exchange.publish(message, f"{queue}.dead")


@pytest.mark.docker
async def test_dead_letters_are_listed_requeued_and_dropped(
    rabbit: "RabbitServer", queue: str, programs: Programs
) -> None:
    await put_dead(rabbit, queue, b"first", b"\x1b[2Jsecond", b"third")

    async def dead(*arguments: str, code: int = 0) -> str:
        program = await programs.start("taskqueue", "dead", *arguments, broker_url=rabbit.url, queue=queue)
        assert await program.ended() == code, program.errors
        return program.output

    header, *rows, last = (await dead("list")).splitlines()
    assert header.split() == ["id", "age", "reason", "message"]
    assert [row.split()[1:] for row in rows] == [
        ["no", "?[2J", "task", "'first'"],  # nobody has noted since when
        ["no", "?[2J", "task", "'\\x1b[2Jsecond'"],
        ["no", "?[2J", "task", "'third'"],
    ]
    assert last == "3 dead letters"
    listed = [json.loads(line) for line in (await dead("list", "--json")).splitlines()]
    assert [letter["message"] for letter in listed] == ["first", "\x1b[2Jsecond", "third"]

    assert await dead("drop", "nobody", code=1) == ""
    assert await dead("requeue", listed[0]["id"]) == "1 requeued\n"
    assert await dead("drop", "--all") == "2 dropped\n"
    async with open_broker(rabbit.url, queue).dead_letters(10) as letters:
        assert letters.count == 0


async def test_at_an_api_they_are_listed_requeued_and_dropped(taskqueue: CommandLine, system: System) -> None:
    await bury(system.broker, b"first", b"\x1b[2Jsecond", b"third", b"x" * 5000, reason="no \x1b[2J task")
    header, *rows, last = (await taskqueue("dead", "list", "--limit", "3")).output.splitlines()
    assert header.split() == ["id", "age", "reason", "message"]
    assert rows[1].split()[1:] == ["now", "no", "?[2J", "task", "'\\x1b[2Jsecond'"]
    assert last == "4 dead letters, the oldest 3 shown"
    listed = (await taskqueue("dead", "list", "--json")).json
    assert [letter["size"] for letter in listed] == [5, 10, 5, 5000]
    long = (await taskqueue("dead", "list")).output.splitlines()[4]
    assert long.endswith("'" + "x" * 200 + "...'")

    refused = await taskqueue("dead", "drop", "nobody", listed[0]["id"], code=3)
    assert "no dead letter has the id 'nobody' now; nothing was done" in refused.said
    assert (await taskqueue("dead", "requeue", listed[0]["id"])).output == "1 requeued\n"
    assert (await taskqueue("dead", "drop", listed[3]["id"], "--json")).json == [{"count": 1, "left": 2}]
    assert (await taskqueue("dead", "drop", "--all", "--limit", "1")).output == "1 dropped; 1 are left\n"
    assert (await taskqueue("dead", "drop", "--all")).output == "1 dropped\n"
    assert await system.broker.ready_count() == 1


async def test_an_api_whose_broker_is_away_says_so(taskqueue: CommandLine, system: System) -> None:
    await system.broker.__aexit__(None, None, None)
    for arguments in (["list"], ["requeue", "--all"], ["drop", "x"]):
        assert "broker unavailable" in (await taskqueue("dead", *arguments, code=69)).said


async def test_an_api_takes_no_more_than_it_says(taskqueue: CommandLine) -> None:
    assert "1000" in (await taskqueue("dead", "list", "--limit", "1001", code=2)).said


@pytest.mark.parametrize("which", [[], ["some-id", "--all"]])
async def test_either_some_are_named_or_all(which: list[str]) -> None:
    assert "--all" in (await CommandLine("")("dead", "drop", *which, code=2)).errors
