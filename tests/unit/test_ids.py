"""The ids of tasks."""

from random import Random
from uuid import RFC_4122, UUID

from hypothesis import given
from hypothesis import strategies as st

from taskqueue.task import new_id

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
