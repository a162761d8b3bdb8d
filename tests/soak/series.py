"""What is looked at during a soak, and whether it stays what it was."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Bound:
    """The last quarter's median may exceed the first one's by a share of it and so much more."""

    share: float
    more: float
    unit: str

    def __str__(self) -> str:
        parts = [f"{self.share:.0%}"] if self.share else []
        return " and ".join([*parts, f"{self.more:g} {self.unit}".strip()])


#: Caches fill and arenas are kept: what leaks at each request makes many times as much in an hour.
MEMORY = Bound(0.05, 8, "MiB")
#: A pool's connections and a client's come and go.
FILES = Bound(0, 10, "")
THREADS = Bound(0, 2, "")
#: Its file keeps the size that it once had; readers and writers that come together make it a little larger.
LOG = Bound(0, 8, "MiB")
#: What is deleted makes room for what comes; a page is not always full.
DATABASE = Bound(0.1, 2, "MiB")
#: Other programs on the machine show in these: in the rare slow answer most.
MEDIAN, TAIL = Bound(0.5, 10, "ms"), Bound(1, 50, "ms")


@dataclass
class Series:
    """One value, over time."""

    name: str
    bound: Bound
    values: list[float] = field(default_factory=list)

    @property
    def quarters(self) -> tuple[float, float]:
        """The medians of the first and of the last quarter."""
        quarter = max(1, len(self.values) // 4)
        return statistics.median(self.values[:quarter]), statistics.median(self.values[-quarter:])

    @property
    def flat(self) -> bool:
        first, last = self.quarters
        return last <= first * (1 + self.bound.share) + self.bound.more

    def slope(self, interval: float) -> float:
        """Of the straight line through the values, in units an hour; `interval` is in seconds."""
        hours = [number * interval / 3600 for number in range(len(self.values))]
        return statistics.linear_regression(hours, self.values).slope

    def row(self, interval: float) -> list[str]:
        """For a table."""
        first, last = self.quarters
        return [
            self.name,
            self.bound.unit,
            f"{first:,.1f}",
            f"{last:,.1f}",
            f"{self.slope(interval):+,.1f}",
            str(self.bound),
            "yes" if self.flat else "**no**",
        ]


HEADER = ["what", "unit", "first quarter", "last quarter", "an hour, fitted", "may grow by", "flat"]


def not_flat(series: Sequence[Series]) -> list[str]:
    """The names of those that are not."""
    return [it.name for it in series if not it.flat]
