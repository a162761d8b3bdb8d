"""How many requests there are, and how long they take, by route."""

import time

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware
from prometheus_client import CollectorRegistry, Counter, Histogram

#: Stands for paths that lead nowhere: anybody may make them up.
_NOWHERE = "other"
_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


def measure(registry: CollectorRegistry) -> Middleware:
    """A middleware that counts requests and measures them; a stream's time is its client's, and isn't."""
    requests = Counter(
        "taskqueue_http_requests",
        "Requests that were answered.",
        ("method", "route", "status"),
        registry=registry,
    )
    seconds = Histogram(
        "taskqueue_http_request_seconds",
        "From a request's head to its answer's, waits with `Prefer: wait` included; streams are not measured.",
        ("method", "route"),
        buckets=_BUCKETS,
        registry=registry,
    )

    @web.middleware
    async def measure_request(request: web.Request, handler: Handler) -> web.StreamResponse:
        began = time.perf_counter()
        status = 500  # where nobody answers: the client has left, or the handler was cancelled
        streams = False
        try:
            response = await handler(request)
        except web.HTTPException as error:
            status = error.status
            raise
        else:
            status, streams = response.status, response.content_type == "text/event-stream"
            return response
        finally:
            resource = request.match_info.route.resource
            method, route = (request.method, resource.canonical) if resource else (_NOWHERE, _NOWHERE)
            requests.labels(method, route, status).inc()
            if not streams:
                seconds.labels(method, route).observe(time.perf_counter() - began)

    return measure_request
