"""Sums that only grow, of counters that the store keeps by the minute, and for a day."""

from collections import Counter
from collections.abc import Hashable, Iterable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)

#: Minutes for which a minute is read again: clocks differ, and a transaction may have waited for its lock.
LATE = 10


class Totals(Generic[K]):
    """What was counted since this process looked first, by key: it grows, also where the store forgets minutes."""

    def __init__(self) -> None:
        self._over: Counter[K] = Counter()
        self._since: int | None = None

    def since(self, minute: int) -> int:
        """The first minute to be read, where this one is the present one; in Unix minutes."""
        if self._since is None:
            self._since = minute - LATE
        return self._since

    def add(self, rows: Iterable[tuple[int, K, int]], minute: int) -> Counter[K]:
        """The sums.

        Args:
            rows: (minute, key, count) of all minutes from `since` on.
            minute: the present one.
        """
        since = max(self.since(minute), minute - LATE)
        total = self._over.copy()
        for at, key, count in rows:
            total[key] += count
            if at < since:
                self._over[key] += count
        self._since = since
        return total
