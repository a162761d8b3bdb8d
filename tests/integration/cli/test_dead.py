"""`taskqueue dead`: the dead letters in RabbitMQ."""

import json
from typing import TYPE_CHECKING

import aio_pika
import pytest
from tests.integration.cli.conftest import CommandLine
from tests.integration.programs import Programs

from taskqueue.broker import open_broker

if TYPE_CHECKING:
    from tests.conformance.server import RabbitServer


async def bury(rabbit: "RabbitServer", queue: str, *bodies: bytes) -> None:
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
    await bury(rabbit, queue, b"first", b"\x1b[2Jsecond", b"third")

    async def dead(*arguments: str, code: int = 0) -> str:
        program = await programs.start("taskqueue", "dead", *arguments, broker_url=rabbit.url, queue=queue)
        assert await program.ended() == code, program.errors
        return program.output

    header, *rows, last = (await dead("list")).splitlines()
    assert header.split() == ["id", "reason", "message"]
    assert [row.split()[1:] for row in rows] == [
        ["no", "?[2J", "task", "'first'"],
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


@pytest.mark.parametrize("which", [[], ["some-id", "--all"]])
async def test_either_some_are_named_or_all(which: list[str]) -> None:
    assert "--all" in (await CommandLine("")("dead", "drop", *which, code=2)).errors
