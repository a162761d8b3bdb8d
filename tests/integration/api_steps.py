"""What can happen in a random history of requests, and with which values: what hypothesis draws."""

from typing import Any

from hypothesis import strategies as st
from tests.integration.api_model import APPLIES_TO, JSON, Filter
from tests.lifecycle import STATUSES

ACTIONS, TAGS, WORKERS = ("mail", "größe & 1"), ("a", "b,c", "ü"), ("v", "w")
NEVER = 4_000_000_000

#: What is wrong in a task, by the member that the answer must name.
WRONG: list[tuple[str, JSON]] = [
    ("action", {"data": {}}),
    ("action", {"action": ""}),
    ("action", {"action": "two\nlines"}),
    ("prority", {"action": "mail", "prority": "high"}),
    ("priority", {"action": "mail", "priority": "urgent"}),
    ("run_at", {"action": "mail", "delay": 1, "run_at": 1}),
    ("delay", {"action": "mail", "delay": -1}),
    ("run_at", {"action": "mail", "run_at": "soon"}),
    ("tags", {"action": "mail", "tags": [str(number) for number in range(11)]}),
    ("tags", {"action": "mail", "tags": ["a", "a"]}),
    ("data", {"action": "mail", "data": ["not an object"]}),
    ("max_attempts", {"action": "mail", "max_attempts": 0}),
    ("timeout", {"action": "mail", "timeout": 0}),
]
NO_OBJECT = {b"": "invalid JSON", b'{"action"': "invalid JSON", b"[]": "the body must be a JSON object"}

MEMBERS = st.builds(
    lambda members, when: members | when,
    st.fixed_dictionaries(
        {"action": st.sampled_from(ACTIONS)},
        optional={
            "data": st.sampled_from([{}, {"text": "größer"}, {"a": [1, 2.5, None, {"b": True}]}]),
            "priority": st.sampled_from(["high", "normal", "low"]),
            "max_attempts": st.sampled_from([1, 3.0, 100, None]),
            "timeout": st.sampled_from([0.001, 60, None]),
            "tags": st.lists(st.sampled_from(TAGS), max_size=3, unique=True),
        },
    ),
    # One of these waits in vain for its time, so that not all are queued.
    st.sampled_from([{}, {}, {"delay": 0}, {"run_at": 1}, {"delay": 3600, "run_at": None}, {"run_at": NEVER}]),
)
#: How far back something is chosen from what there has been: the latest are met most.
BACK = st.integers(0, 4)
#: A task, of this status if there is one, so that each of them is met.
WHICH = st.tuples(st.sampled_from(STATUSES), BACK)
#: What a filter may ask for. Its times are those of submissions: how far back these are.
CRITERIA: dict[str, st.SearchStrategy[Any]] = {
    "status": st.lists(st.sampled_from(STATUSES), min_size=1, max_size=4, unique=True).map(tuple),
    "action": st.sampled_from(ACTIONS),
    "tag": st.sampled_from(TAGS),
    "created_after": BACK,
    "created_before": BACK,
}
#: Mostly for one thing: what several ask for together is rarely there.
FILTER = st.one_of(
    *(st.builds(Filter, **{name: values}) for name, values in CRITERIA.items()),
    st.just(Filter()),
    st.builds(Filter, **CRITERIA),
)
VERB = st.sampled_from(sorted(APPLIES_TO))
WAIT = st.sampled_from([{}, {}, {"Prefer": "wait=0"}])
ENDINGS = st.sampled_from(
    ["complete", "complete", "fail", "fail", "back off", "back off for long", "release", "snooze"]
)

#: What there is when a history begins: without it, failed tasks for one would be met rarely.
BEGINNING = st.lists(st.sampled_from(STATUSES), min_size=2, max_size=6)

#: What can happen, and how.
STEPS: dict[str, dict[str, st.SearchStrategy[Any]]] = {
    "submits": {"members": MEMBERS, "keyed": st.booleans(), "wait": WAIT},
    "submits_batch": {
        "tasks": st.lists(MEMBERS, min_size=1, max_size=4),
        "lines": st.booleans(),
        "keyed": st.booleans(),
    },
    "submits_again": {"back": BACK, "final": st.sampled_from([True, True, False]), "quoted": st.booleans()},
    "submits_other_with_an_old_key": {"back": BACK, "members": MEMBERS, "batch": st.booleans()},
    "submits_a_line_twice": {"members": MEMBERS},
    "submits_wrong": {"wrong": st.sampled_from(WRONG)},
    "submits_no_object": {"body": st.sampled_from(sorted(NO_OBJECT)), "batch": st.booleans()},
    "submits_batch_with_a_wrong_one": {
        "tasks": st.lists(MEMBERS, min_size=1, max_size=3),
        "wrong": st.sampled_from(WRONG),
        "place": st.integers(0, 3),
        "lines": st.booleans(),
    },
    "reads_one": {"which": WHICH, "method": st.sampled_from(["GET", "HEAD"]), "wait": WAIT},
    "asks_for_what_is_not_there": {"back": BACK},
    "finds": {
        "wanted": FILTER,
        "limit": st.integers(1, 3),
        "commas": st.booleans(),
        "meanwhile": st.lists(st.sampled_from(["submit", "delete"]), max_size=3),
    },
    "misuses_a_cursor": {"wanted": FILTER, "other": FILTER},
    "acts_on_one": {"verb": VERB, "which": WHICH},
    "acts_on_all": {"verb": VERB, "wanted": FILTER, "only_count": st.sampled_from([False, False, True])},
    "watches_all": {},
    "watches_some": {"wanted": FILTER},
    "watches_one": {"which": WHICH},
    "counts_what_happened": {},
    "time_passes": {"milliseconds": st.sampled_from([1, 999, 60_000, 900_000])},
    "looks_at_workers": {},
    "worker_claims": {"back": BACK, "worker": st.sampled_from(WORKERS)},
    "worker_runs": {"worker": st.sampled_from(WORKERS), "ending": ENDINGS, "cancel": st.booleans()},
    "worker_claims_in_vain": {"which": WHICH, "worker": st.sampled_from(WORKERS)},
    "worker_ends": {"back": BACK, "ending": ENDINGS, "cancel": st.booleans()},
    "worker_ends_too_late": {"back": BACK, "ending": ENDINGS},
    "worker_tells_progress": {"back": BACK, "late": st.booleans(), "tenths": st.integers(1, 9)},
}
