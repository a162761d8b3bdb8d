"""When a failed task is tried again. Standard library only."""

import random
from collections.abc import Callable
from dataclasses import dataclass

#: The longest pause that may be asked for: a year, in seconds.
LONGEST_PAUSE = 366 * 86_400


@dataclass(frozen=True, slots=True)
class Backoff:
    """How long a task waits before its next attempt: longer after each failure.

    With jitter the wait is drawn from zero to that, after Marc Brooker's "Exponential Backoff And Jitter" (AWS
    Architecture Blog, 2015): full jitter spreads a crowd of retries better than a jitter around the mean.

    Args:
        first: seconds after the first failure, at most a year.
        factor: how much longer after each further one; between 1 and 1,000.
        most: the longest wait, in seconds, at most a year.

    Raises:
        ValueError: one is out of its range.
    """

    first: float = 1
    factor: float = 2
    most: float = 600
    jitter: bool = True

    def __post_init__(self) -> None:
        for name, value, least, most in (
            ("first", self.first, 0, LONGEST_PAUSE),
            ("factor", self.factor, 1, 1000),
            ("most", self.most, 0, LONGEST_PAUSE),
        ):
            if not least <= value <= most:
                raise ValueError(f"{name}: {value} is not between {least} and {most}")

    def pause(self, failures: int, uniform: Callable[[float, float], float] = random.uniform) -> float:
        """Seconds to wait before the next attempt.

        Args:
            failures: how many attempts have failed, this one included; at least 1.
            uniform: draws from a range; replaced in tests.

        Raises:
            ValueError: `failures` is below 1.
        """
        if failures < 1:
            raise ValueError("a backoff follows at least one failure")
        # A task has a hundred attempts at most, and larger powers might overflow.
        longest = min(self.most, self.first * float(self.factor) ** min(failures - 1, 100))
        return uniform(0, longest) if self.jitter else longest
