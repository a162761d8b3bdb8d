"""What the application's handlers share."""

from random import Random

from aiohttp import web

from taskqueue.broker import Broker
from taskqueue.intake import Intake
from taskqueue.metrics import Metrics
from taskqueue.settings import Settings
from taskqueue.store import Store
from taskqueue.telemetry import Telemetry
from taskqueue_api.http.failed_tries import FailedTries
from taskqueue_api.live.backlog import Backlog
from taskqueue_api.live.catalogue import Catalogue
from taskqueue_api.live.holders import Holder
from taskqueue_api.live.keyring import Keyring
from taskqueue_api.live.measures import StoreMeasures
from taskqueue_api.live.overview import Overviews
from taskqueue_api.live.places import Places
from taskqueue_api.live.watcher import Watcher

SETTINGS = web.AppKey("settings", Settings)
STORE = web.AppKey("store", Store)
BACKLOG = web.AppKey("backlog", Backlog)
CATALOGUE = web.AppKey("catalogue", Catalogue)
STREAMS = web.AppKey("streams", Places)
WAITS = web.AppKey("waits", Places)
WATCHER = web.AppKey("watcher", Watcher)
#: A protocol, so its type can't be given to AppKey's checked argument.
BROKER: web.AppKey[Broker] = web.AppKey("broker")
TELEMETRY = web.AppKey("telemetry", Telemetry)
MEASURES = web.AppKey("measures", StoreMeasures)
METRICS = web.AppKey("metrics", Metrics)
OVERVIEWS = web.AppKey("overviews", Overviews)
INTAKE = web.AppKey("intake", Intake)
#: Draws ids.
RANDOM = web.AppKey("random", Random)
FAILED_TRIES = web.AppKey("failed_tries", FailedTries)
KEYRING = web.AppKey("keyring", Keyring)
#: Of a request: whose it is. Nobody's, where it isn't there.
HOLDER = web.RequestKey("holder", Holder)
