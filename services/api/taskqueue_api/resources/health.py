"""The resources `/livez` and `/readyz`, for health checks."""

from aiohttp import web

from taskqueue.store import StoreError
from taskqueue.store.schema import SCHEMA_VERSION
from taskqueue_api.keys import BROKER, STORE


async def livez(_request: web.Request) -> web.Response:
    """`GET /livez`: the process answers."""
    return web.json_response({"status": "ok"})


async def readyz(request: web.Request) -> web.Response:
    """`GET /readyz`: tasks can be accepted. A broker that is away doesn't hinder that, and is only told."""
    answer = {"broker": request.app[BROKER].state}
    try:
        version = await request.app[STORE].schema_version()
    except StoreError as error:
        return web.json_response({"status": "not ready", "error": str(error)} | answer, status=503)
    if version != SCHEMA_VERSION:
        cause = f"schema {version}, needed is {SCHEMA_VERSION}"
        return web.json_response({"status": "not ready", "error": cause} | answer, status=503)
    return web.json_response({"status": "ready", "schema": version} | answer)
