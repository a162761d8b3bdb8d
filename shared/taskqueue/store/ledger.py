"""What a transaction owes beside its tasks' rows: events and counters, written once, at its end.

The verbs tell what they changed; `balance` adds that up, so that many tasks cost a transaction hardly more than
one. Counters are written in the order of their keys, and before the events.
"""

import json
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from taskqueue.store.engine.protocol import Transaction
from taskqueue.task import FINAL, Status

#: Upper bounds of the histograms' buckets, in milliseconds: about ten a decade, so that a percentile is within a
#: quarter of the truth.
BOUNDS: Final = [1]
while BOUNDS[-1] < 1_000_000_000:
    BOUNDS.append(int(BOUNDS[-1] * 1.25 + 1))


@dataclass(frozen=True, slots=True)
class Changed:
    """A task went from a status to another."""

    seq: int
    action: str
    #: None: it is new.
    old: Status | None
    new: Status
    attempt: int
    #: Unix milliseconds.
    at: int


@dataclass(frozen=True, slots=True)
class Progressed:
    """A running task told how far it has come."""

    seq: int
    attempt: int
    at: int
    progress: str


@dataclass(frozen=True, slots=True)
class Took:
    """An attempt waited for its start (`wait`), or ran to a result (`run`), for so many milliseconds."""

    action: str
    what: str
    milliseconds: int
    #: Unix milliseconds.
    at: int


@dataclass(frozen=True, slots=True)
class Forgotten:
    """So many tasks of a status were deleted."""

    status: Status
    tasks: int


Owed = Changed | Progressed | Took | Forgotten


def balance(tx: Transaction) -> None:  # noqa: PLR0912  # a table of what each entry adds to
    """Write what is owed."""
    owed: Iterable[Owed] = tx.owed
    statuses: Counter[str] = Counter()
    minutes: Counter[tuple[int, str, str]] = Counter()
    times: Counter[tuple[int, str, str, int]] = Counter()
    accepted: dict[int, tuple[int, int]] = {}
    events: list[tuple[int, int, str, int, str | None]] = []
    for entry in owed:
        match entry:
            case Changed(seq, action, old, new, attempt, at):
                statuses[new] += 1
                if old is None:
                    minutes[at // 60_000, action, "accepted"] += 1
                    first, last = accepted.get(seq // 1000, (at, at))
                    accepted[seq // 1000] = min(first, at), max(last, at)
                else:
                    statuses[old] -= 1
                if new in FINAL:
                    minutes[at // 60_000, action, new] += 1
                events.append((at, seq, new, attempt, None))
            case Progressed(seq, attempt, at, progress):
                events.append((at, seq, Status.RUNNING, attempt, progress))
            case Took(action, what, milliseconds, at):
                bound = BOUNDS[min(bisect_left(BOUNDS, milliseconds), len(BOUNDS) - 1)]
                times[at // 60_000, action, what, bound] += 1
            case Forgotten(status, tasks):
                statuses[status] -= tasks
    if accepted:
        ranges = [(number, *span) for number, span in sorted(accepted.items())]
        tx.change("widen_created_ranges", ranges=json.dumps(ranges))
    if counts := sorted((status, tasks) for status, tasks in statuses.items() if tasks):
        tx.change("add_status_counts", counts=json.dumps(counts))
    if minutes:
        tx.change("add_minute_counts", counts=json.dumps([(*key, n) for key, n in sorted(minutes.items())]))
    if times:
        tx.change("add_minute_times", counts=json.dumps([(*key, n) for key, n in sorted(times.items())]))
    if events:
        tx.change("add_events", events=json.dumps(events))
