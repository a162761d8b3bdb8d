"""The resources `/livez` and `/readyz`, for health checks."""

from aiohttp import web

from taskqueue.contract.answers import LiveAnswer, NotReadyAnswer, ReadyAnswer
from taskqueue.store import StoreError
from taskqueue.store.schema import SCHEMA_VERSION
from taskqueue_api.keys import BROKER, STORE


async def livez(_request: web.Request) -> web.Response:
    """`GET /livez`: the process answers."""
    return web.json_response(text=LiveAnswer(status="ok").to_json())


async def readyz(request: web.Request) -> web.Response:
    """`GET /readyz`: tasks can be accepted. A broker that is away doesn't hinder that, and is only told."""
    try:
        version = await request.app[STORE].schema_version()
    except StoreError as error:
        return _not_ready(request, str(error))
    if version != SCHEMA_VERSION:
        return _not_ready(request, f"schema {version}, needed is {SCHEMA_VERSION}")
    answer = ReadyAnswer(status="ready", schema=version, broker=request.app[BROKER].state)
    return web.json_response(text=answer.to_json())


def _not_ready(request: web.Request, cause: str) -> web.Response:
    answer = NotReadyAnswer(status="not ready", error=cause, broker=request.app[BROKER].state)
    return web.json_response(text=answer.to_json(), status=503)
