"""Log lines: JSON where a program reads them, plain where a person does."""

import logging
import sys
from contextvars import ContextVar
from typing import Any

from pythonjsonlogger.json import JsonFormatter

from taskqueue.settings import Settings
from taskqueue.task import Claim

#: The request that this code runs for: it stands on each line that is logged meanwhile.
REQUEST_ID: ContextVar[str | None] = ContextVar("request_id", default=None)


def set_up_logging(settings: Settings) -> None:
    """Send the process's log to standard error in the chosen format."""
    handler = logging.StreamHandler()
    as_text = settings.log_format == "text" or (settings.log_format == "auto" and sys.stderr.isatty())
    handler.setFormatter(_TextFormatter() if as_text else _json_formatter())
    handler.addFilter(_name_request)
    logging.basicConfig(level=settings.log_level, handlers=[handler], force=True)
    # Python's own warnings too: a program that reads JSON lines can't read them otherwise.
    logging.captureWarnings(capture=True)
    # They report each reconnect themselves, with tracebacks; taskqueue.broker says it once.
    logging.getLogger("aio_pika").setLevel(logging.CRITICAL)
    logging.getLogger("aiormq").setLevel(logging.CRITICAL)


def task_fields(id: str, action: str, **more: Any) -> dict[str, Any]:
    """The `extra` of a line about a task: its id and action stand on each of them."""
    return {"task_id": id, "action": action, **more}


def claim_fields(claim: Claim, **more: Any) -> dict[str, Any]:
    """The `extra` of a line about an attempt, with the request that submitted its task."""
    request = {} if claim.request_id is None else {"request_id": claim.request_id}
    return task_fields(claim.id, claim.action, attempt=claim.attempt, **request, **more)


def _name_request(record: logging.LogRecord) -> bool:
    request_id = REQUEST_ID.get()
    if request_id is not None and not hasattr(record, "request_id"):
        record.request_id = request_id
    return True


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
