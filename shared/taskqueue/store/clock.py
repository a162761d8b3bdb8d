"""Times in the store are integer milliseconds; elsewhere they are seconds."""

import time


def now_ms() -> int:
    """Unix time in milliseconds."""
    return time.time_ns() // 1_000_000


def to_ms(seconds: float) -> int:
    """Seconds as milliseconds."""
    return round(seconds * 1000)
