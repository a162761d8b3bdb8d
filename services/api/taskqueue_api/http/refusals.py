"""Log lines about what strangers send: a few a second, whatever they do."""

import asyncio
import logging
from typing import Any

log = logging.getLogger("taskqueue.api")

#: Lines in a period of so many seconds; those left out are counted, and told at its end.
LINES, PERIOD = 3, 1


class Refusals:
    """What was refused before it was a request."""

    def __init__(self) -> None:
        self._ends = 0.0
        self._told = 0

    def tell(self, error: str, **extra: Any) -> None:
        """Log a line, unless there were enough."""
        loop = asyncio.get_running_loop()
        if loop.time() >= self._ends:
            self._ends, self._told = loop.time() + PERIOD, 0
        self._told += 1
        if self._told <= LINES:
            log.warning("refused a request: %s", error, extra=extra)
        elif self._told == LINES + 1:
            loop.call_at(self._ends, self._sum_up)

    def _sum_up(self) -> None:
        log.warning("refused %d requests more in %d s", self._told - LINES, PERIOD)
