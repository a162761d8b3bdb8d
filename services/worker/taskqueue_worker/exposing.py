"""What Prometheus reads of a worker: a small HTTP server on a thread, where a port is set."""

import contextlib
from collections.abc import Iterator

from prometheus_client import start_http_server

from taskqueue.metrics import Metrics
from taskqueue.process import FatalError
from taskqueue.settings import Settings


@contextlib.contextmanager
def exposed(settings: Settings, metrics: Metrics) -> Iterator[None]:
    """Serve the worker's metrics meanwhile; nothing where no port is set.

    Raises:
        FatalError: the address can't be listened on.
    """
    if not settings.metrics_port:
        yield
        return
    try:
        server, thread = start_http_server(settings.metrics_port, settings.metrics_host, metrics.registry)
    except OSError as error:
        raise FatalError(
            f"can't listen on {settings.metrics_host}:{settings.metrics_port}: {error.strerror}; "
            "TASKQUEUE_METRICS_HOST and TASKQUEUE_METRICS_PORT name another address"
        ) from error
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
