"""What an operator should look at, by rules like those of `deploy/prometheus/rules.yml`."""

import shutil
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from taskqueue.broker import Broker, BrokerError, BrokerState
from taskqueue.contract.windows import Attention
from taskqueue.task import FINAL

#: Minutes that are "now": what ended in them is held against the rest of the last hour.
RECENT = 10
#: Seconds for which a task may be due while nothing ends.
_STANDSTILL = 300
#: Failed tasks from which on their share tells something, that share, and a smaller one that has grown threefold.
_FAILURES, _SHARE, _RISING = 5, 0.2, 0.02
#: Shares of the room for waiting tasks, and of the disk that is free.
_NEARLY_FULL, _FREE = 0.8, 0.1


@dataclass(frozen=True, slots=True)
class Seen:
    """What is judged of the store. Spans are in seconds."""

    backlog: int
    oldest_waiting: float | None
    workers: int
    #: Tasks that wait for a worker, by their action.
    unknown: Mapping[str, int]
    #: (minutes ago, action, 'accepted' or a final status, tasks) of the last hour.
    counts: list[tuple[int, str, str, int]]
    #: `TASKQUEUE_MAX_BACKLOG`, 0 is none; and how many wait, due or not.
    max_backlog: int
    waiting: int


async def concerns(seen: Seen, broker: Broker, data_dir: Path) -> list[Attention]:
    """What needs attention, the most pressing first."""
    found = [*_of_broker(broker), *_of_store(seen), *await _dead_letters(broker), *_of_disk(data_dir)]
    return sorted(found, key=lambda each: each.severity)  # "critical" comes first, and the order else stays


def _of_broker(broker: Broker) -> Iterator[Attention]:
    kept = "Tasks are accepted and kept meanwhile."
    if broker.state is BrokerState.DISCONNECTED:
        yield Attention(
            concern="broker_away",
            severity="critical",
            text="The broker is away: no task is handed to a worker.",
            advice=f"Look whether it runs, and what it logs. {kept}",
            action=None,
        )
    elif broker.state is BrokerState.BLOCKED:
        yield Attention(
            concern="broker_blocked",
            severity="critical",
            text="The broker takes no messages for now.",
            advice=f"Look at its memory and disk. {kept}",
            action=None,
        )


def _of_store(seen: Seen) -> Iterator[Attention]:
    if not seen.workers:
        yield Attention(
            concern="no_worker",
            severity="critical" if seen.backlog else "warning",
            text="No worker is known" + (f", and {tasks(seen.backlog)} wait." if seen.backlog else "."),
            advice="Start workers. Tasks are accepted and kept meanwhile.",
            action=None,
        )
    ended_lately = sum(count for ago, _, what, count in seen.counts if ago <= _STANDSTILL // 60 and what in FINAL)
    if seen.workers and not ended_lately and (seen.oldest_waiting or 0) > _STANDSTILL:
        yield Attention(
            concern="nothing_completes",
            severity="critical",
            text="Tasks wait, and none has ended for five minutes.",
            advice="Look what the workers run, and what they log: long tasks may hold all of them.",
            action=None,
        )
    yield from _failures(seen)
    for action, count in sorted(seen.unknown.items(), key=lambda item: -item[1])[:5]:
        yield Attention(
            concern="unknown_action",
            severity="warning",
            text=f"{tasks(count)} wait for a worker that knows the action {action!r}.",
            advice="Start such a worker, or cancel them.",
            action=action,
        )
    if seen.max_backlog and seen.waiting > _NEARLY_FULL * seen.max_backlog:
        yield Attention(
            concern="backlog_nearly_full",
            severity="warning",
            text=f"{tasks(seen.waiting)} wait; from {seen.max_backlog:,} on new ones are refused.",
            advice="Start more workers, or raise TASKQUEUE_MAX_BACKLOG.",
            action=None,
        )


def _failures(seen: Seen) -> Iterator[Attention]:
    now: Counter[tuple[str, str]] = Counter()
    before: Counter[str] = Counter()
    for ago, action, what, count in seen.counts:
        if what in FINAL and ago <= RECENT:
            now[action, what] += count
        elif what in FINAL:
            before[what] += count
    failed = sum(count for (_, what), count in now.items() if what == "failed")
    share, earlier = failed / max(1, now.total()), before["failed"] / max(1, before.total())
    if failed < _FAILURES or (share < _SHARE and (share < _RISING or share < 3 * earlier)):
        return
    by_action = Counter({action: count for (action, what), count in now.items() if what == "failed"})
    [(worst, most)] = by_action.most_common(1)
    yield Attention(
        concern="failures",
        severity="warning",
        text=f"{share:.0%} of the tasks that ended in the last {RECENT} minutes failed ({failed:,}); in the rest "
        f"of the hour {earlier:.0%}." + (f" {most:,} are of {worst!r}." if worst else ""),
        advice="Look at their errors; once the cause is mended, retry them.",
        action=worst or None,
    )


async def _dead_letters(broker: Broker) -> list[Attention]:
    try:
        count = await broker.dead_count()
    except BrokerError:  # which is told already
        return []
    if not count:
        return []
    return [
        Attention(
            concern="dead_letters",
            severity="warning",
            text=f"{count:,} message{'s' * (count != 1)} in the queue can't be tasks.",
            advice="Look at them; put them back where they are tasks of this store, else drop them.",
            action=None,
        )
    ]


def _of_disk(data_dir: Path) -> Iterator[Attention]:
    try:
        disk = shutil.disk_usage(data_dir)
    except OSError:  # where the store can't be read either
        return
    if disk.free < _FREE * disk.total:
        yield Attention(
            concern="disk_nearly_full",
            severity="warning",
            text=f"{disk.free / disk.total:.0%} of the data folder's disk is free ({disk.free / 2**30:.1f} GiB).",
            advice="Keep tasks for less long (TASKQUEUE_KEEP_...), or make room; then run taskqueue shrink.",
            action=None,
        )


def tasks(count: int) -> str:
    """So many tasks, in words."""
    return f"{count:,} task{'s' * (count != 1)}"
