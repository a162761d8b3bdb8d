"""How many streams of events a process keeps open."""

import contextlib
from collections.abc import Iterator

from taskqueue_api.http.errors import unavailable


class Streams:
    """The open streams, held against a limit."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._open = 0

    @contextlib.contextmanager
    def one(self) -> Iterator[None]:
        """Count a stream while it is open.

        Raises:
            HTTPServiceUnavailable: there are as many as may be.
        """
        if self._open >= self._limit:
            raise unavailable("too many streams are open")
        self._open += 1
        try:
            yield
        finally:
            self._open -= 1
