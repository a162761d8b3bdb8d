"""The peer taskiq, as its own command runs it: `taskiq worker bench.programs.taskiq_peer:broker`.

A task writes its row itself, before it is acknowledged; those in flight share a connection, and so commits.
"""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiosqlite
import uvloop
from taskiq import Context, TaskiqDepends, TaskiqEvents, TaskiqState
from taskiq_aio_pika import AioPikaBroker, Queue, QueueType

from bench.programs.http import DATABASE, URL, serve
from bench.programs.http import Queue as Api

broker = AioPikaBroker(URL, qos=10, task_queues=[Queue(name="taskiq", type=QueueType.QUORUM)])


async def _connect() -> aiosqlite.Connection:
    database = await aiosqlite.connect(DATABASE)
    await database.execute("PRAGMA journal_mode = WAL")
    await database.execute("PRAGMA synchronous = FULL")
    await database.execute("CREATE TABLE IF NOT EXISTS results (id TEXT PRIMARY KEY, result TEXT NOT NULL)")
    return database


@broker.on_event(TaskiqEvents.WORKER_STARTUP)
async def _start(state: TaskiqState) -> None:
    state.database = await _connect()


@broker.on_event(TaskiqEvents.WORKER_SHUTDOWN)
async def _stop(state: TaskiqState) -> None:
    await state.database.close()


@broker.task("uppercase")
async def uppercase(text: str, context: Context = TaskiqDepends()) -> None:  # noqa: B008  # as its manual has it
    """Write the result under the task's id."""
    database: aiosqlite.Connection = context.state.database
    row = (context.message.task_id, json.dumps({"output": text.upper()}))
    await database.execute("INSERT OR IGNORE INTO results VALUES (?, ?)", row)
    await database.commit()


@asynccontextmanager
async def _opened() -> AsyncIterator[Api]:
    await broker.startup()
    database = await _connect()

    async def submit(data: dict[str, Any]) -> str:
        return str((await uppercase.kiq(data["text"])).task_id)

    async def result(id: str) -> Any:
        async with database.execute("SELECT result FROM results WHERE id = ?", (id,)) as rows:
            row = await rows.fetchone()
        return json.loads(row[0]) if row else None

    try:
        yield Api(submit, result)
    finally:
        await database.close()
        await broker.shutdown()


if __name__ == "__main__":
    uvloop.run(serve(_opened()))
