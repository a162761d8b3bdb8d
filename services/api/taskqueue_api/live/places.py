"""How many streams of events, and requests that wait for a task, a process keeps open."""

import contextlib
from collections.abc import Iterator

from taskqueue_api.http.errors import unavailable


class Places:
    """What is open of a kind, held against a limit."""

    def __init__(self, limit: int, full: str) -> None:
        """With so many places; `full` is what is answered where all are taken."""
        self._limit = limit
        self._full = full
        self._taken = 0

    @contextlib.contextmanager
    def one(self) -> Iterator[None]:
        """Take a place meanwhile.

        Raises:
            HTTPServiceUnavailable: all are taken.
        """
        if self._taken >= self._limit:
            raise unavailable(self._full)
        self._taken += 1
        try:
            yield
        finally:
            self._taken -= 1
