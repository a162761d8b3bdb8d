"""What the application's handlers share."""

import asyncio

from aiohttp import web

from taskqueue.broker import Broker
from taskqueue.settings import Settings
from taskqueue.store import TaskStore
from taskqueue_api.live.backlog import Backlog
from taskqueue_api.live.streams import Streams
from taskqueue_api.live.watcher import Watcher

SETTINGS = web.AppKey("settings", Settings)
STORE = web.AppKey("store", TaskStore)
BACKLOG = web.AppKey("backlog", Backlog)
STREAMS = web.AppKey("streams", Streams)
WATCHER = web.AppKey("watcher", Watcher)
#: A protocol, so its type can't be given to AppKey's checked argument.
BROKER: web.AppKey[Broker] = web.AppKey("broker")
#: Marks under way, of tasks that were answered `queued`.
MARKS = web.AppKey("marks", set[asyncio.Task[None]])
