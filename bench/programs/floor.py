"""The floor, the least that does the job: aiohttp → RabbitMQ (confirmed, quorum queue) → worker → one insert.

It has no durable accept, no claim and no retry: the distance to it is what a task queue costs. Its worker has 10
messages in flight; results that gather while one is written share the next commit.
"""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from typing import Any

import aio_pika
import uvloop
from aio_pika.abc import AbstractIncomingMessage, DeliveryMode
from uuid_utils import uuid7

from bench.programs.http import DATABASE, URL, Queue, serve, until_signal
from bench.sqlite import sqlite3

_QUEUE = "floor"
_IN_FLIGHT = 10
_Result = tuple[AbstractIncomingMessage, str, str]


@asynccontextmanager
async def _opened() -> AsyncIterator[Queue]:
    async with await aio_pika.connect(URL) as connection:
        channel = await connection.channel()
        await channel.declare_queue(_QUEUE, durable=True, arguments={"x-queue-type": "quorum"})
        with closing(_connect()) as database:

            async def submit(data: dict[str, Any]) -> str:
                id = str(uuid7())
                body = json.dumps({"id": id, "data": data}).encode()
                message = aio_pika.Message(body, message_id=id, delivery_mode=DeliveryMode.PERSISTENT)
                await channel.default_exchange.publish(message, _QUEUE)
                return id

            async def result(id: str) -> Any:
                row = database.execute("SELECT result FROM results WHERE id = ?", (id,)).fetchone()
                return json.loads(row[0]) if row else None

            yield Queue(submit, result)


def _connect() -> sqlite3.Connection:
    database = sqlite3.connect(DATABASE, isolation_level=None, check_same_thread=False)
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("PRAGMA synchronous = FULL")
    database.execute("CREATE TABLE IF NOT EXISTS results (id TEXT PRIMARY KEY, result TEXT NOT NULL)")
    return database


async def _work() -> None:
    done: asyncio.Queue[_Result] = asyncio.Queue()

    async def run(message: AbstractIncomingMessage) -> None:
        task = json.loads(message.body)
        done.put_nowait((message, task["id"], json.dumps({"output": task["data"]["text"].upper()})))

    async with await aio_pika.connect(URL) as connection:
        channel = await connection.channel()
        await channel.set_qos(_IN_FLIGHT)
        queue = await channel.declare_queue(_QUEUE, durable=True, arguments={"x-queue-type": "quorum"})
        with closing(_connect()) as database:
            writing = asyncio.create_task(_write(database, done))
            await queue.consume(run)
            await until_signal()
            writing.cancel()


async def _write(database: sqlite3.Connection, done: asyncio.Queue[_Result]) -> None:
    while True:
        results = [await done.get()]
        while not done.empty():
            results.append(done.get_nowait())
        await asyncio.to_thread(_insert, database, [(id, result) for _, id, result in results])
        for message, _, _ in results:
            await message.ack()


def _insert(database: sqlite3.Connection, results: list[tuple[str, str]]) -> None:
    database.execute("BEGIN IMMEDIATE")
    database.executemany("INSERT OR IGNORE INTO results VALUES (?, ?)", results)
    database.execute("COMMIT")


if __name__ == "__main__":
    uvloop.run(serve(_opened()) if sys.argv[1] == "api" else _work())
