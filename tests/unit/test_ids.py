"""The ids of tasks."""

import os
from concurrent.futures import ThreadPoolExecutor
from random import Random
from uuid import RFC_4122, UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskqueue.task import new_id
from taskqueue_api.live.randomness import BufferedRandom

TIMES = st.integers(0, 2**48 - 1)


@given(now=TIMES, seed=st.integers(0, 2**32))
def test_an_id_is_a_uuid_of_version_7_that_begins_with_its_time(now: int, seed: int) -> None:
    id = UUID(new_id(now, Random(seed)))
    assert (id.version, id.variant, id.int >> 80) == (7, RFC_4122, now)


@given(earlier=TIMES, later=TIMES)
def test_ids_are_in_the_order_of_their_times(earlier: int, later: int) -> None:
    random = Random(0)
    assert (new_id(earlier, random) < new_id(later, random)) or earlier >= later


def test_ids_of_one_moment_differ_and_a_seed_repeats_them() -> None:
    once, again = Random(1), Random(1)
    ids = [new_id(0, once) for _ in range(1000)]
    assert len(set(ids)) == 1000
    assert ids == [new_id(0, again) for _ in range(1000)]


@given(sizes=st.lists(st.integers(0, 2000), max_size=30))
def test_as_many_of_the_systems_bits_are_drawn_as_are_asked_for(sizes: list[int]) -> None:
    random = BufferedRandom()
    assert all(0 <= random.getrandbits(size) < 1 << size for size in sizes)


def test_the_system_is_asked_once_for_hundreds_of_ids(monkeypatch: pytest.MonkeyPatch) -> None:
    asked, urandom = [], os.urandom
    monkeypatch.setattr(os, "urandom", lambda size: (asked.append(size), urandom(size))[1])
    random = BufferedRandom()
    assert len({new_id(0, random) for _ in range(400)}) == 400
    assert len(asked) == 1


def test_all_threads_draw_different_ones() -> None:
    random = BufferedRandom()
    with ThreadPoolExecutor(4) as threads:
        drawn = [*threads.map(lambda _: random.getrandbits(74), range(20_000))]
    assert len(set(drawn)) == len(drawn)
    # Half of all bits are set, whichever they are.
    for bit in range(74):
        assert 9_000 < sum(number >> bit & 1 for number in drawn) < 11_000
