"""Traces of what a worker runs, where they are asked for: only then is OpenTelemetry imported."""

import contextlib
from collections.abc import Iterator

from taskqueue.process import BadSettingsError
from taskqueue.settings import Settings
from taskqueue.telemetry import Telemetry


@contextlib.contextmanager
def traced(settings: Settings, telemetry: Telemetry) -> Iterator[None]:
    """Send spans of all attempts meanwhile; nothing where that is off.

    Raises:
        BadSettingsError: OpenTelemetry is not installed.
    """
    if settings.traces == "off":
        yield
        return
    try:
        from taskqueue.traces import Traces  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise BadSettingsError(
            f"TASKQUEUE_TRACES is {settings.traces}, and {error.name} is not installed: the extra `otel` brings "
            "it (pip install 'taskqueue-http[otel]')"
        ) from error
    traces = Traces.exporting(settings.queue)
    telemetry.listen(traces.follow)
    try:
        yield
    finally:
        traces.close()
