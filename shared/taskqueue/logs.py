"""How a process writes its log: JSON where a program reads it, plain where a person does."""

import asyncio
import json
import logging
import sys
from collections.abc import Mapping
from contextvars import ContextVar
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any

from taskqueue.settings import Settings

#: The request that this code runs for: it stands on each line that is logged meanwhile.
REQUEST_ID: ContextVar[str | None] = ContextVar("request_id", default=None)
#: The fields of the attempt that this code runs for: they stand on each line, too, also on those of a handler.
TASK_FIELDS: ContextVar[Mapping[str, Any]] = ContextVar("task_fields", default=MappingProxyType({}))

#: What a record has of its own; what it has beside is the line's `extra`.
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}

#: `json.dumps` would make one for each line.
_ENCODER = json.JSONEncoder(default=str)


def set_up_logging(settings: Settings, handler: logging.Handler | None = None) -> None:
    """Send the process's log to standard error in the chosen format.

    Lines below WARNING are written of taskqueue, of the packages that `settings.handlers` names, and of the root
    logger only: what other libraries chat stays out.

    Args:
        handler: what takes the records instead.
    """
    handler = handler or _TickHandler()
    as_text = settings.log_format == "text" or (settings.log_format == "auto" and sys.stderr.isatty())
    handler.setFormatter(_TextFormatter() if as_text else _JsonFormatter())
    handler.addFilter(_Ours(settings.handlers or "handlers"))
    handler.addFilter(_name_request_and_task)
    logging.basicConfig(level=settings.log_level, handlers=[handler], force=True)
    # What no line of ours tells need not be looked up for each (Python's "Logging HOWTO", Optimization).
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    logging._srcfile = None
    # Python's own warnings too: a program that reads JSON lines can't read them otherwise.
    logging.captureWarnings(capture=True)


class _Ours(logging.Filter):
    def __init__(self, handlers: str) -> None:
        super().__init__()
        modules = (module.strip().partition(".")[0] for module in handlers.split(","))
        self._ours = frozenset({"root", "taskqueue", *modules})

    def filter(self, record: logging.LogRecord) -> bool:
        return record.levelno >= logging.WARNING or record.name.partition(".")[0] in self._ours


def _name_request_and_task(record: logging.LogRecord) -> bool:
    fields = vars(record)
    request_id = REQUEST_ID.get()
    if request_id is not None:
        fields.setdefault("request_id", request_id)
    for name, value in TASK_FIELDS.get().items():
        fields.setdefault(name, value)
    return True


class _TickHandler(logging.StreamHandler[Any]):
    """Writes the lines of one tick of the event loop together: a call for each costs more than making them."""

    def __init__(self) -> None:
        super().__init__()
        self._lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._lines.append(self.format(record))
        except Exception:
            self.handleError(record)
            return
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:  # another thread's, or no loop's
            self.flush()
        else:
            if len(self._lines) == 1:
                loop.call_soon(self.flush)

    def flush(self) -> None:
        with self.lock:  # type: ignore[union-attr]  # only before it has been made
            lines, self._lines = self._lines, []
            if lines:
                self.stream.write("\n".join(lines) + "\n")
            super().flush()


class _JsonFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        fields = {"level": record.levelname, "logger": record.name, "message": record.getMessage()}
        fields |= {name: value for name, value in vars(record).items() if name not in _STANDARD}
        if record.exc_text:  # of a record from another process
            fields["exc_info"] = record.exc_text
        elif record.exc_info:
            fields["exc_info"] = self.formatException(record.exc_info)
        fields["time"] = datetime.fromtimestamp(record.created, UTC).isoformat().replace("+00:00", "Z")
        return _ENCODER.encode(fields)


class _TextFormatter(logging.Formatter):
    """A line, with the fields behind it; what has lines of its own, such as a traceback, under it."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(message)s", datefmt="%H:%M:%S")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  # the standard library's name
        extra = {key: str(value) for key, value in vars(record).items() if key not in _STANDARD}
        behind = " ".join(f"{key}={text}" for key, text in extra.items() if "\n" not in text)
        under = [text.rstrip("\n") for text in extra.values() if "\n" in text]
        return "\n".join([super().formatMessage(record) + (f"  {behind}" if behind else ""), *under])
