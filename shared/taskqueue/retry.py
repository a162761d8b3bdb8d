"""When a failed task is tried again: a pure function. Standard library only."""

import random
from collections.abc import Callable


def backoff(
    failures: int, *, base: float, cap: float, jitter: Callable[[float, float], float] = random.uniform
) -> float:
    """Seconds to wait before the next attempt: exponential backoff with full jitter.

    `uniform(0, min(cap, base * 2 ** (failures - 1)))`, after Marc Brooker's "Exponential Backoff And Jitter"
    (AWS Architecture Blog, 2015): full jitter spreads a crowd of retries better than a jitter around the mean.

    Args:
        failures: how many attempts have failed, this one included; at least 1.
        base: the longest first wait, in seconds.
        cap: the longest wait, in seconds.
        jitter: draws from a range; replaced in tests.

    Raises:
        ValueError: `failures` is below 1.
    """
    if failures < 1:
        raise ValueError("a backoff follows at least one failure")
    # 2.0 ** 1024 overflows; long before that the cap holds.
    return jitter(0, min(cap, base * 2.0 ** min(failures - 1, 64)))
