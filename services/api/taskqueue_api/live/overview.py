"""How it stands and what happened, read at most every few seconds however many look at it."""

import asyncio
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import Final

from taskqueue.broker import Broker
from taskqueue.contract.overview import Counts, Percentiles
from taskqueue.contract.windows import ActionInWindow, OverviewAnswer, Point, WindowName
from taskqueue.settings import Settings
from taskqueue.store import Store
from taskqueue.store.spans import Happened
from taskqueue.task import FINAL, Status
from taskqueue_api.live.attention import RECENT, Seen, concerns
from taskqueue_api.live.percentiles import percentiles

#: Actions that are told.
ACTIONS_TOLD = 50
_HOUR = 60

_Times = defaultdict[str, list[tuple[int, int]]]


@dataclass(frozen=True, slots=True)
class _Window:
    """How far it looks back and from point to point, in minutes; how long what was read is good, in seconds."""

    minutes: int
    width: int
    fresh: float


WINDOWS: Final[dict[WindowName, _Window]] = {
    "1h": _Window(_HOUR, 1, 2),
    "24h": _Window(24 * 60, 15, 10),
    "7d": _Window(7 * 1440, 120, 30),
}


@dataclass
class _Read:
    """An answer's text, and when it was read, on the loop's clock."""

    at: float = float("-inf")
    text: str = ""
    reading: asyncio.Lock = field(default_factory=asyncio.Lock)


class Overviews:
    """Answers of `GET /overview`."""

    def __init__(self, settings: Settings, store: Store, broker: Broker) -> None:
        self._settings = settings
        self._store = store
        self._broker = broker
        self._reads = {name: _Read() for name in WINDOWS}

    async def text(self, name: WindowName) -> str:
        """The answer as JSON text.

        Raises:
            StoreUnavailableError: the store can't be read now.
        """
        read, time = self._reads[name], asyncio.get_running_loop().time
        async with read.reading:
            if time() - read.at >= WINDOWS[name].fresh:
                read.text = (await self._read(name)).to_json()
                read.at = time()
        return read.text

    async def _read(self, name: WindowName) -> OverviewAnswer:
        window, store = WINDOWS[name], self._store
        now = store.clock()
        minute = now // 60_000
        last_hour = await store.spans.happened(minute - _HOUR, 1, now=now, actions=ACTIONS_TOLD)
        since = minute // window.width * window.width - window.minutes
        happened = (
            last_hour
            if window.width == 1
            else await store.spans.happened(since, window.width, now=now, actions=ACTIONS_TOLD)
        )
        standing = await store.reads.standing(now)
        backlog = standing.by_status[Status.QUEUED] + standing.due
        oldest = None if standing.oldest_waiting is None else max(0, now - standing.oldest_waiting) / 1000
        counts = [(minute - at, action, what, count) for at, action, what, count in last_hour.counts]
        seen = Seen(
            backlog=backlog,
            oldest_waiting=oldest,
            workers=standing.workers,
            unknown=standing.set_aside,
            counts=counts,
            max_backlog=self._settings.max_backlog,
            waiting=standing.by_status[Status.PENDING] + standing.by_status[Status.QUEUED],
        )
        ended = sum(count for ago, _, what, count in counts if what in FINAL and 1 <= ago <= RECENT)
        points = range(since, minute + 1, window.width)
        return OverviewAnswer(
            at=now / 1000,
            window=name,
            width=window.width * 60,
            attention=await concerns(seen, self._broker, self._settings.data_dir),
            tasks=standing.by_status,
            oldest_waiting=oldest,
            backlog=backlog,
            drains_in=backlog / (ended / (RECENT * 60)) if ended else None,
            workers=standing.workers,
            slots=standing.slots,
            points=_points(happened, points),
            **_whole(happened),
            **_by_action(happened, points),
        )


def _counts(counts: Counter[str]) -> dict[str, int]:
    return {what: counts[what] for what in ("accepted", "completed", "failed", "cancelled")}


def _points(happened: Happened, points: range) -> list[Point]:
    counts: defaultdict[int, Counter[str]] = defaultdict(Counter)
    for at, _, what, tasks in happened.counts:
        counts[at][what] += tasks
    times: defaultdict[int, _Times] = defaultdict(lambda: defaultdict(list))
    for at, what, bound, attempts in happened.times:
        times[at][what].append((bound, attempts))
    return [
        Point(
            at=at * 60,
            **_counts(counts[at]),
            wait=percentiles(times[at]["wait"]),
            run=percentiles(times[at]["run"]),
        )
        for at in points
    ]


def _whole(happened: Happened) -> dict[str, Percentiles]:
    times: defaultdict[str, Counter[int]] = defaultdict(Counter)
    for _, what, bound, attempts in happened.times:
        times[what][bound] += attempts
    return {what: percentiles(sorted(times[what].items())) for what in ("wait", "run")}


def _by_action(happened: Happened, points: range) -> dict[str, dict[str, ActionInWindow] | Counts]:
    """The members `actions` and `others`."""
    counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
    ended: defaultdict[str, Counter[int]] = defaultdict(Counter)
    for at, action, what, tasks in happened.counts:
        counts[action][what] += tasks
        if what in FINAL:
            ended[action][at] += tasks
    times: defaultdict[str, _Times] = defaultdict(lambda: defaultdict(list))
    for action, what, bound, attempts in happened.action_times:
        times[action][what].append((bound, attempts))
    named = sorted((counts.keys() | times.keys()) - {""})
    return {
        "actions": {
            action: ActionInWindow(
                **_counts(counts[action]),
                wait=percentiles(times[action]["wait"]),
                run=percentiles(times[action]["run"]),
                ended=[ended[action][at] for at in points],
            )
            for action in named
        },
        "others": Counts(**_counts(counts[""])),
    }
