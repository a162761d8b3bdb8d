"""Percentiles of the histograms that the store keeps."""

import itertools
from collections.abc import Sequence

from taskqueue.contract.overview import Percentiles


def percentiles(histogram: Sequence[tuple[int, int]]) -> Percentiles:
    """Those that are told; of what `percentile` takes."""
    return Percentiles(p50=percentile(histogram, 0.50), p95=percentile(histogram, 0.95))


def percentile(histogram: Sequence[tuple[int, int]], share: float) -> float | None:
    """The time in seconds that this share of the attempts didn't exceed; None without attempts.

    It is the upper bound of the bucket that the percentile falls into, so up to a quarter too high.

    Args:
        histogram: (upper bound in milliseconds, attempts), by bound.
        share: between 0 and 1.
    """
    rank = share * sum(attempts for _, attempts in histogram)
    for (bound, _), reached in zip(
        histogram, itertools.accumulate(attempts for _, attempts in histogram), strict=True
    ):
        if reached >= rank:
            return bound / 1000
    return None
