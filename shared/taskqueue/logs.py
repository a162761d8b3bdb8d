"""Log lines: JSON where a program reads them, plain where a person does."""

import logging
import sys
from typing import Any

from pythonjsonlogger.json import JsonFormatter

from taskqueue.settings import Settings


def set_up_logging(settings: Settings) -> None:
    """Send the process's log to standard error in the chosen format."""
    handler = logging.StreamHandler()
    as_text = settings.log_format == "text" or (settings.log_format == "auto" and sys.stderr.isatty())
    handler.setFormatter(_TextFormatter() if as_text else _json_formatter())
    logging.basicConfig(level=settings.log_level, handlers=[handler], force=True)
    # Python's own warnings too: a program that reads JSON lines can't read them otherwise.
    logging.captureWarnings(capture=True)
    # They report each reconnect themselves, with tracebacks; taskqueue.broker says it once.
    logging.getLogger("aio_pika").setLevel(logging.CRITICAL)
    logging.getLogger("aiormq").setLevel(logging.CRITICAL)


def task_fields(id: str, action: str, **more: Any) -> dict[str, Any]:
    """The `extra` of a line about a task: its id and action stand on each of them."""
    return {"task_id": id, "action": action, **more}


def _json_formatter() -> logging.Formatter:
    return JsonFormatter(
        "%(levelname)s %(name)s %(message)s",
        rename_fields={"levelname": "level", "name": "logger"},
        timestamp="time",
    )


class _TextFormatter(logging.Formatter):
    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(message)s", datefmt="%H:%M:%S")
        self._standard = set(vars(logging.makeLogRecord({}))) | {"message", "asctime"}

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  # the standard library's name
        extra = " ".join(f"{key}={value}" for key, value in vars(record).items() if key not in self._standard)
        return super().formatMessage(record) + (f"  {extra}" if extra else "")
