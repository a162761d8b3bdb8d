"""`GET /metrics`: what Prometheus reads, of the store and the broker, and of this process."""

from collections.abc import Iterable

from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric

from taskqueue_api.keys import MEASURES, METRICS


async def metrics(request: web.Request) -> web.Response:
    """`GET /metrics`: in Prometheus's text format, or in OpenMetrics where that is asked for."""
    told = CollectorRegistry(auto_describe=False)
    told.register(_Read(await request.app[MEASURES].read()))
    told.register(request.app[METRICS].registry)
    encode, content_type = choose_encoder(request.headers.get("Accept", ""))
    return web.Response(body=encode(told), headers={"Content-Type": content_type})


class _Read:
    """What was read, as a registry takes it."""

    def __init__(self, metrics: list[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> Iterable[Metric]:
        return self._metrics
