"""The backoff: its bounds, and where in them it may fall."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskqueue.retry import backoff

FAILURES = st.integers(1, 10_000)
SECONDS = st.floats(0, 1e6)


@given(failures=FAILURES, base=SECONDS, cap=SECONDS)
def test_the_wait_is_drawn_from_zero_to_the_doubled_base_or_the_cap(
    failures: int, base: float, cap: float
) -> None:
    drawn_from: list[tuple[float, float]] = []

    def jitter(low: float, high: float) -> float:
        drawn_from.append((low, high))
        return high

    longest = backoff(failures, base=base, cap=cap, jitter=jitter)

    # In whole numbers, so that it is not the same sum twice.
    assert longest == pytest.approx(min(cap, base * 2 ** min(failures - 1, 64)))
    assert drawn_from == [(0, longest)]


@given(failures=FAILURES, base=SECONDS, cap=SECONDS, seed=st.integers())
def test_the_wait_is_what_the_jitter_drew(failures: int, base: float, cap: float, seed: int) -> None:
    wait = backoff(failures, base=base, cap=cap, jitter=random.Random(seed).uniform)
    longest = backoff(failures, base=base, cap=cap, jitter=lambda _, high: high)
    assert wait == random.Random(seed).uniform(0, longest)
    assert 0 <= wait <= longest


def test_the_longest_waits_double_until_the_cap() -> None:
    waits = [backoff(n, base=1, cap=10, jitter=lambda _, high: high) for n in range(1, 7)]
    assert waits == [1, 2, 4, 8, 10, 10]


def test_by_default_the_wait_varies() -> None:
    assert len({backoff(3, base=1, cap=100) for _ in range(20)}) > 1


@pytest.mark.parametrize("failures", [0, -1])
def test_there_is_no_wait_without_a_failure(failures: int) -> None:
    with pytest.raises(ValueError, match="at least one failure"):
        backoff(failures, base=1, cap=1)
