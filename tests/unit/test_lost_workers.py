"""Who is taken for lost: only a counter that stood still while this observer was watching all along."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskqueue_worker.sweeps import LostWorkers

LEASE = 15.0


@pytest.fixture
def lost() -> LostWorkers:
    """An observer that has looked once, at second 100, and seen two workers."""
    lost = LostWorkers(LEASE)
    assert lost.look({"a": 1, "b": 1}, 100) == []
    return lost


def watch(lost: LostWorkers, beats: dict[str, int], start: int, end: int) -> list[tuple[str, int]]:
    """Look each third second; return what the last look told, and see that the others told nothing."""
    *earlier, last = [lost.look(beats, now) for now in range(start, end + 1, 3)]
    assert not any(earlier)
    return last


def test_a_counter_that_stands_still_for_a_lease_marks_a_lost_worker(lost: LostWorkers) -> None:
    assert watch(lost, {"a": 1}, 103, 115) == [("a", 1)]


def test_a_counter_that_stands_still_for_less_is_alive(lost: LostWorkers) -> None:
    assert watch(lost, {"a": 1}, 103, 112) == []


def test_each_rise_starts_the_lease_anew(lost: LostWorkers) -> None:
    assert watch(lost, {"a": 1}, 103, 112) == []
    assert watch(lost, {"a": 2}, 115, 127) == []
    assert watch(lost, {"a": 2}, 130, 130) == [("a", 2)]


def test_any_change_of_the_counter_is_a_sign_of_life(lost: LostWorkers) -> None:
    # A worker whose row was forgotten starts again at 0.
    assert watch(lost, {"a": 1}, 103, 112) == []
    assert watch(lost, {"a": 0}, 115, 127) == []


def test_one_lost_worker_does_not_make_another_one_lost(lost: LostWorkers) -> None:
    for beat, now in enumerate(range(103, 115, 3), start=2):
        assert lost.look({"a": 1, "b": beat}, now) == []
    assert lost.look({"a": 1, "b": 9}, 115) == [("a", 1)]


def test_a_worker_is_watched_from_its_first_appearance(lost: LostWorkers) -> None:
    assert watch(lost, {}, 103, 112) == []
    assert watch(lost, {"new": 0}, 115, 127) == []
    assert watch(lost, {"new": 0}, 130, 130) == [("new", 0)]


def test_a_worker_that_went_and_came_back_is_watched_anew(lost: LostWorkers) -> None:
    assert lost.look({}, 103) == []
    assert watch(lost, {"a": 1}, 106, 118) == []


def test_an_observer_that_was_away_starts_anew(lost: LostWorkers) -> None:
    assert watch(lost, {"a": 1}, 103, 112) == []
    # It was stopped for longer than half a lease: the others' beats may have been seen by nobody.
    assert watch(lost, {"a": 1}, 130, 142) == []
    assert watch(lost, {"a": 1}, 145, 145) == [("a", 1)]


def test_a_worker_that_stays_lost_is_told_each_time(lost: LostWorkers) -> None:
    assert watch(lost, {"a": 1}, 103, 115) == [("a", 1)]
    assert lost.look({"a": 1}, 118) == [("a", 1)]


def test_the_first_look_of_all_tells_nobody() -> None:
    # Also right after boot, when the monotonic clock is near 0.
    assert LostWorkers(LEASE).look({"a": 7}, 1) == []
    assert LostWorkers(LEASE).look({"a": 7}, 1_000_000) == []


@given(
    pauses=st.lists(st.floats(0.01, 4 * LEASE), min_size=1, max_size=60),
    intervals=st.lists(st.floats(0.01, LEASE / 2), min_size=1, max_size=20),
    start=st.floats(0, 1e6),
)
def test_a_worker_that_beats_twice_a_lease_is_never_lost_whatever_pauses_the_observer_has(
    pauses: list[float], intervals: list[float], start: float
) -> None:
    lost = LostWorkers(LEASE)
    now, beat, next_beat = start, 0, start + intervals[0]
    for pause in pauses:
        now += pause
        while next_beat <= now:
            beat += 1
            next_beat += intervals[beat % len(intervals)]
        assert lost.look({"worker": beat}, now) == []


@given(
    pauses=st.lists(st.floats(0.01, LEASE / 2), min_size=1, max_size=60),
    start=st.floats(0, 1e6),
)
def test_a_worker_that_never_beats_again_is_found_by_an_observer_that_keeps_looking(
    pauses: list[float], start: float
) -> None:
    lost = LostWorkers(LEASE)
    lost.look({"worker": 3}, start)
    first = now = start
    for pause in pauses:
        if now + pause - now > LEASE / 2:  # rounded up
            return
        now += pause
        assert lost.look({"worker": 3}, now) == ([("worker", 3)] if now - first >= LEASE else [])
