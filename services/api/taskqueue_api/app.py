"""The application, and what its handlers share."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Coroutine
from random import Random
from typing import Any

from aiohttp import web

from taskqueue.broker import Broker
from taskqueue.dispatch import demote_when_the_queue_was_lost
from taskqueue.intake import Intake
from taskqueue.logs import REQUEST_ID
from taskqueue.metrics import Metrics
from taskqueue.process import FatalError
from taskqueue.settings import Settings
from taskqueue.store import Store, StoreError
from taskqueue.telemetry import Telemetry
from taskqueue_api.http.addresses import read_address
from taskqueue_api.http.authentication import authenticate, trust_everybody
from taskqueue_api.http.compression import compress
from taskqueue_api.http.cors import ORIGINS, allow_origins, answer_preflights, read_origins, refuse_foreign_pages
from taskqueue_api.http.deadline import COMING, MAX_WAIT, REQUEST_TIMEOUT, WORKED_ON, end_long_reads
from taskqueue_api.http.defence import defend
from taskqueue_api.http.errors import json_errors
from taskqueue_api.http.failed_tries import FailedTries
from taskqueue_api.http.measured import measure
from taskqueue_api.http.names import refuse_other_names
from taskqueue_api.http.prefix import read_prefix
from taskqueue_api.http.protocol import Runner
from taskqueue_api.http.request_ids import name_requests, tell_request_id
from taskqueue_api.http.room import ANSWERS, TURN, Room, send_large_answers
from taskqueue_api.keys import (
    BACKLOG,
    BROKER,
    CATALOGUE,
    FAILED_TRIES,
    HOLDER,
    INTAKE,
    KEYRING,
    MEASURES,
    METRICS,
    OVERVIEWS,
    RANDOM,
    SETTINGS,
    STORE,
    STREAMS,
    TELEMETRY,
    WAITS,
    WATCHER,
)
from taskqueue_api.live.backlog import Backlog
from taskqueue_api.live.catalogue import Catalogue
from taskqueue_api.live.holders import ANYBODY
from taskqueue_api.live.keyring import Keyring
from taskqueue_api.live.measures import StoreMeasures
from taskqueue_api.live.overview import Overviews
from taskqueue_api.live.places import Places
from taskqueue_api.live.randomness import BufferedRandom
from taskqueue_api.live.watcher import Watcher
from taskqueue_api.openapi.docs import DOCS, Docs
from taskqueue_api.openapi.document import document
from taskqueue_api.reach import refuse_open_door
from taskqueue_api.routes import ROUTES, routes
from taskqueue_api.ui.routes import pages

#: Bytes of large answers that are in hand at a time, as the store has them: an answer has a task's data twice.
ANSWER_BYTES = 4 * 1024 * 1024


def build_app(
    settings: Settings, store: Store, broker: Broker, telemetry: Telemetry, random: Random | None = None
) -> web.Application:
    """The API over an open store and a started broker.

    Args:
        random: draws ids; None takes the system's.
    """
    metrics = Metrics()
    keyring, tries, asks_for_keys = Keyring(store), FailedTries(metrics.registry), settings.auth == "on"
    telemetry.listen(metrics.count)
    app = web.Application(
        middlewares=[
            measure(metrics.registry),
            name_requests(REQUEST_ID),
            send_large_answers,
            answer_preflights,
            compress,
            json_errors(StoreError, "database unavailable"),
            *([refuse_other_names] if settings.auth == "off" else ()),
            refuse_foreign_pages,
            *([read_address] if settings.trust_forwarded_for else ()),
            authenticate(keyring.identify, HOLDER, tries) if asks_for_keys else trust_everybody(ANYBODY, HOLDER),
            end_long_reads,
            *([read_prefix] if settings.trust_forwarded_prefix else ()),
        ],
        client_max_size=settings.max_body_bytes,
    )
    app[ORIGINS] = read_origins(settings.cors_origins)
    app[REQUEST_TIMEOUT] = settings.request_timeout
    app[MAX_WAIT] = settings.max_wait
    # Beside bodies that are worked on, one that has come waits, or a slow one comes.
    app[COMING] = Room(2 * settings.max_batch_bytes, settings.request_timeout)
    app[WORKED_ON] = Room(settings.max_batch_bytes, settings.request_timeout)
    app[ANSWERS] = Room(ANSWER_BYTES, settings.request_timeout)
    app[TURN] = asyncio.Lock()
    app[SETTINGS] = settings
    app[STORE] = store
    app[BROKER] = broker
    app[TELEMETRY] = telemetry
    app[METRICS] = metrics
    app[MEASURES] = StoreMeasures(settings, store, broker)
    app[OVERVIEWS] = Overviews(settings, store, broker)
    app[RANDOM] = random or BufferedRandom()
    app[INTAKE] = Intake(settings, store, broker, telemetry)
    app[BACKLOG] = Backlog(store, settings.max_backlog)
    app[CATALOGUE] = Catalogue(store, settings.check_actions)
    app[STREAMS] = Places(settings.max_streams, "too many streams are open")
    app[WAITS] = Places(settings.max_waits, "too many requests wait for a task; nothing was done")
    app[WATCHER] = Watcher(store)
    app[KEYRING] = keyring
    app[FAILED_TRIES] = tries
    app[DOCS] = Docs(document(ROUTES, keys=asks_for_keys))
    app.on_response_prepare.extend([tell_request_id, allow_origins, defend])
    app.cleanup_ctx.extend([_take_in, _watch_queue, _watch_events])
    if asks_for_keys:
        app.cleanup_ctx.append(_follow_keys)
    # Before the server waits for the open requests to end.
    app.on_shutdown.append(_let_listeners_go)
    app.add_routes([*routes(), *pages()])
    return app


@contextlib.asynccontextmanager
async def serving(app: web.Application) -> AsyncIterator[str]:
    """Serve the application, and yield its URL. Leaving stops accepting and lets requests finish.

    Raises:
        BadSettingsError: it would be open to others than this machine.
        FatalError: the address can't be listened on.
    """
    settings = app[SETTINGS]
    refuse_open_door(settings)
    runner = Runner(app, access_log=None, shutdown_timeout=settings.drain_timeout)
    await runner.setup()
    try:
        site = web.TCPSite(runner, settings.host, settings.port, backlog=1024)
        try:
            await site.start()
        except OSError as error:
            raise FatalError(
                f"can't listen on {settings.host}:{settings.port}: {error.strerror}; "
                "TASKQUEUE_HOST and TASKQUEUE_PORT name another address"
            ) from error
        host, port = runner.addresses[0][:2]
        async with app[METRICS].watching_the_loop():
            yield f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    finally:
        await runner.cleanup()


async def _take_in(app: web.Application) -> AsyncIterator[None]:
    async with app[INTAKE].running():
        yield


async def _watch_queue(app: web.Application) -> AsyncIterator[None]:
    async with _running(demote_when_the_queue_was_lost(app[STORE], app[BROKER], app[TELEMETRY])):
        yield


async def _watch_events(app: web.Application) -> AsyncIterator[None]:
    async with _running(app[WATCHER].run()):
        yield


async def _follow_keys(app: web.Application) -> AsyncIterator[None]:
    await app[KEYRING].open()
    async with _running(app[KEYRING].run()):
        yield


async def _let_listeners_go(app: web.Application) -> None:
    app[WATCHER].close()


@contextlib.asynccontextmanager
async def _running(coroutine: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    task = asyncio.create_task(coroutine)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait({task})
