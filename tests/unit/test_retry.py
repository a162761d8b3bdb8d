"""The backoff: its bounds, and where in them it may fall."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskqueue import Backoff
from taskqueue.retry import LONGEST_PAUSE

FAILURES = st.integers(1, 10_000)
SECONDS = st.floats(0, LONGEST_PAUSE)
BACKOFFS = st.builds(Backoff, first=SECONDS, factor=st.floats(1, 1000), most=SECONDS, jitter=st.booleans())


def highest(low: float, high: float) -> float:
    return high


@given(failures=st.integers(1, 100), first=SECONDS, factor=st.integers(1, 1000), most=SECONDS)
def test_the_wait_is_drawn_from_zero_to_the_multiplied_first_or_the_most(
    failures: int, first: float, factor: int, most: float
) -> None:
    drawn_from: list[tuple[float, float]] = []

    def uniform(low: float, high: float) -> float:
        drawn_from.append((low, high))
        return high

    longest = Backoff(first, factor, most).pause(failures, uniform)

    # In whole numbers, so that it is not the same sum twice.
    assert longest == pytest.approx(min(most, first * factor ** (failures - 1)))
    assert drawn_from == [(0, longest)]


@given(failures=FAILURES, backoff=BACKOFFS, seed=st.integers())
def test_the_wait_is_what_was_drawn_or_without_jitter_the_longest(
    failures: int, backoff: Backoff, seed: int
) -> None:
    wait = backoff.pause(failures, random.Random(seed).uniform)
    longest = backoff.pause(failures, highest)
    assert wait == (random.Random(seed).uniform(0, longest) if backoff.jitter else longest)
    assert 0 <= wait <= longest <= backoff.most


@given(failures=FAILURES, backoff=BACKOFFS)
def test_no_wait_is_shorter_than_the_one_before(failures: int, backoff: Backoff) -> None:
    assert backoff.pause(failures, highest) <= backoff.pause(failures + 1, highest)


def test_the_longest_waits_double_until_the_most() -> None:
    backoff = Backoff(first=1, most=10)
    assert [backoff.pause(n, highest) for n in range(1, 7)] == [1, 2, 4, 8, 10, 10]


def test_by_default_the_wait_varies() -> None:
    assert len({Backoff(most=100).pause(3) for _ in range(20)}) > 1


@pytest.mark.parametrize("failures", [0, -1])
def test_there_is_no_wait_without_a_failure(failures: int) -> None:
    with pytest.raises(ValueError, match="at least one failure"):
        Backoff().pause(failures)


@pytest.mark.parametrize(
    "values",
    [
        {"first": -1},
        {"first": float("nan")},
        {"first": float("inf")},
        {"factor": 0.5},
        {"factor": 1001},
        {"factor": float("nan")},
        {"most": -0.1},
        {"most": float("inf")},
    ],
    ids=str,
)
def test_a_backoff_out_of_range_is_refused(values: dict[str, float]) -> None:
    [name] = values
    with pytest.raises(ValueError, match=f"{name}: .* is not between"):
        Backoff(**values)  # type: ignore[arg-type]
