"""The peer Celery, as its own command runs it: `celery --app bench.programs.celery_peer worker`.

Two processes, 10 tasks in flight, acknowledged late; its own result backend writes the rows.
"""

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any

import uvloop
from celery import Celery
from sqlalchemy import event
from sqlalchemy.engine import Engine

from bench.programs.http import DATABASE, URL, Queue, serve

#: Threads of the API, since a publish waits for its confirm; each has a connection of the pool.
_PUBLISHERS = 10

app = Celery("bench", broker=URL, backend=f"db+sqlite:///{DATABASE}")
app.conf.update(
    broker_pool_limit=_PUBLISHERS,
    broker_transport_options={"confirm_publish": True},
    task_acks_late=True,
    task_default_queue_type="quorum",
    worker_prefetch_multiplier=5,
)


@event.listens_for(Engine, "connect")
def _set_up(connection: Any, _record: Any) -> None:
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")


@app.task(name="uppercase")
def uppercase(text: str) -> dict[str, str]:
    """Its result is what it returns."""
    return {"output": text.upper()}


@asynccontextmanager
async def _opened() -> AsyncIterator[Queue]:
    loop = asyncio.get_running_loop()
    with ThreadPoolExecutor(_PUBLISHERS) as threads:

        def publish(text: str) -> str:
            return str(uppercase.delay(text).id)

        def read(id: str) -> Any:
            result = app.AsyncResult(id)
            return result.result if result.successful() else None

        async def submit(data: dict[str, Any]) -> str:
            return await loop.run_in_executor(threads, publish, data["text"])

        async def result(id: str) -> Any:
            return await loop.run_in_executor(threads, read, id)

        yield Queue(submit, result)


if __name__ == "__main__":
    uvloop.run(serve(_opened()))
