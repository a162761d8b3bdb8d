"""What can happen in a random history of the store, and with which values: what hypothesis draws."""

from collections.abc import Iterable
from typing import Any, TypeVar

from hypothesis import strategies as st
from tests.integration.store.given import LEASE
from tests.lifecycle import FINAL

T = TypeVar("T")

#: How far back something is chosen from what there has been: the latest are met most.
BACK = st.integers(0, 4)
DELAY = st.integers(0, 2 * LEASE)
ENDINGS = st.sampled_from(["complete", "back_off", "fail", "release", "snooze"])
#: How many tasks it submits, where it completes.
CHILDREN = st.sampled_from([0, 0, 0, 1, 2])
WORKERS = st.sampled_from(["a", "b"])
PRIORITIES = (8, 4, 0)
PRIORITY = st.sampled_from(PRIORITIES)
MAX_ATTEMPTS = st.none() | st.integers(1, 3)
LIMIT = st.integers(1, 10)

#: What can happen, and how.
STEPS: dict[str, dict[str, st.SearchStrategy[Any]]] = {
    "clock_moves": {"milliseconds": st.sampled_from([1, 900, LEASE, 3 * LEASE, -1, -900, -2 * LEASE])},
    "submits": {
        "priority": PRIORITY,
        "delay": st.sampled_from([0, 0, 0, 1_000, 8_000]),
        "max_attempts": MAX_ATTEMPTS,
        "tags": st.sampled_from([(), ("x",), ("x", "y")]),
    },
    "submits_to_publish": {"priorities": st.lists(PRIORITY, min_size=1, max_size=3), "max_attempts": MAX_ATTEMPTS},
    "leases": {"limit": st.integers(0, 3)},
    "is_settled": {"backs": st.lists(BACK, min_size=1, max_size=3)},
    "is_marked": {"backs": st.lists(BACK, min_size=1, max_size=3)},
    "is_not_confirmed": {"backs": st.lists(BACK, min_size=1, max_size=3)},
    "is_not_confirmed_as_it_may_be": {"back": BACK},
    "publishers_are_lost": {"limit": LIMIT},
    "messages_are_lost": {
        "priority": PRIORITY,
        "for_long": st.booleans(),
        "also_later": st.booleans(),
        "limit": LIMIT,
    },
    "the_queue_is_lost": {"limit": LIMIT},
    "is_claimed": {"back": BACK, "worker": WORKERS},
    "is_set_aside": {"back": BACK, "worker": BACK},
    "is_set_aside_as_it_may_be": {"back": BACK, "worker": BACK},
    "waits_in_vain": {"back": BACK, "worker": BACK, "queued": st.booleans()},
    "is_taken_up": {"knows": st.booleans(), "limit": LIMIT},
    "is_claimed_as_it_should": {"back": BACK, "worker": BACK},
    "ends": {"back": BACK, "verb": ENDINGS, "delay": DELAY, "children": CHILDREN},
    "ends_as_it_should": {
        "back": BACK,
        "verb": ENDINGS,
        "delay": DELAY,
        "children": CHILDREN,
        "cancel": st.booleans(),
    },
    "ends_during_a_later_attempt": {
        "back": BACK,
        "verb": ENDINGS,
        "delay": DELAY,
        "children": CHILDREN,
        "cancel": st.booleans(),
    },
    "ends_and_the_next_is_claimed": {"back": BACK, "verb": ENDINGS, "children": CHILDREN, "beside": st.booleans()},
    "is_cancelled": {"back": BACK},
    "tells_its_progress": {"back": BACK, "fraction": st.integers(0, 9)},
    "is_retried": {"back": BACK},
    "is_retried_as_it_should": {"back": BACK},
    "is_deleted": {"back": BACK},
    "is_deleted_as_it_should": {"back": BACK, "status": st.sampled_from(sorted(FINAL))},
    "is_rescued_as_it_should": {"back": BACK, "cancel": st.booleans()},
    "worker_beats_or_goes": {
        "worker": WORKERS,
        "what": st.sampled_from(["beat", "beat", "retire", "rescue", "rescue late", "rescue early"]),
    },
}


def latest(items: Iterable[T], back: int) -> T:
    items = list(items)
    return items[-1 - back % len(items)]
