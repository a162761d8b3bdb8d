"""The API of each program here: `POST /tasks` and `GET /tasks/<id>` in front of what it is given."""

import asyncio
import json
import os
import signal
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any

from aiohttp import web

#: Where things are, as every program here is told.
URL, DATABASE, PORT = (os.environ.get(f"BENCH_{name}", "") for name in ("URL", "DATABASE", "PORT"))


@dataclass
class Queue:
    """What an API is in front of."""

    #: Hands a task with this data to the broker, returns once that is confirmed, with its id.
    submit: Callable[[dict[str, Any]], Awaitable[str]]
    #: The task's result; None until there is one.
    result: Callable[[str], Awaitable[Any]]


async def until_signal() -> None:
    """Wait for SIGTERM."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    await stop.wait()


async def serve(opened: AbstractAsyncContextManager[Queue]) -> None:
    """Serve until SIGTERM."""
    async with opened as queue:

        async def submit(request: web.Request) -> web.Response:
            body = json.loads(await request.read())
            if body["action"] != "uppercase":
                raise web.HTTPBadRequest
            id = await queue.submit(body["data"])
            return web.json_response({"id": id, "status": "queued"}, status=202)

        async def read(request: web.Request) -> web.Response:
            id = request.match_info["id"]
            result = await queue.result(id)
            status = "queued" if result is None else "completed"
            return web.json_response({"id": id, "status": status, "result": result})

        app = web.Application()
        app.add_routes([web.post("/tasks", submit), web.get("/tasks/{id}", read)])
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", int(PORT), backlog=1024).start()
        await until_signal()
        await runner.cleanup()
