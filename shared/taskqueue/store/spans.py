"""What happened in the last hour, day or week: minutes, and the spans that they are added up to.

Minutes are kept for little more than a day, and there are many of them: a day is told in quarters of an hour, a
week in spans of two hours, once these are over.
"""

import json
from dataclasses import dataclass
from functools import partial
from typing import Final

from taskqueue.store.engine.protocol import Engine, Transaction, tuples

#: Minutes of a span, and for how many it is kept.
WIDTHS: Final = {15: 25 * 60, 120: 8 * 1440}
#: Minutes after its end in which a span is still counted into: clocks differ, and a write may have waited.
LATE = 10
#: Actions that have a name in a span.
_NAMED = 100
#: Rows deleted in one transaction.
_SLICE = 500


@dataclass(frozen=True, slots=True)
class Happened:
    """What happened in a window. A point is told by its first Unix minute, and '' is all actions without names."""

    #: (point, action, 'accepted' or a final status, tasks)
    counts: list[tuple[int, str, str, int]]
    #: (point, 'wait' or 'run', bucket's upper bound in milliseconds, attempts), ordered.
    times: list[tuple[int, str, int, int]]
    #: (action, 'wait' or 'run', bucket's upper bound, attempts), ordered; of those with a name.
    action_times: list[tuple[str, str, int, int]]


class Spans:
    """Adds up, and tells what happened. Raises as `Engine` does."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def happened(self, since: int, width: int, *, now: int, actions: int) -> Happened:
        """What happened from a minute on, in points of so many minutes.

        Args:
            since: in Unix minutes, a multiple of the width.
            now: Unix milliseconds.
            width: 1, or that of spans: 15 or 120.
            actions: how many have a name.
        """
        survey = self._engine.survey
        last = None if width == 1 else await self._last(width, now // 60_000)
        where = {"since": since, "width": width, "edge": since if last is None else max(since, last + width)}
        names = json.dumps([row["action"] for row in await survey("window_actions", **where, limit=actions)])
        return Happened(
            counts=tuples(await survey("window_counts", **where, names=names)),
            times=tuples(await survey("window_times", **where)),
            action_times=tuples(await survey("window_action_times", **where, names=names)),
        )

    async def add_up(self, now: int) -> None:
        """Add up what is over and not yet added up.

        Args:
            now: Unix milliseconds.
        """
        over = now // 60_000 - LATE
        for width in WIDTHS:
            last = await self._last(width, over)
            start = 0 if last is None else last + width
            while (counted := await self._first_counted(start)) is not None:
                first = counted // width * width
                if first + width > over:
                    break
                await self._add_up(first, width)
                start = first + width

    async def forget(self, now: int) -> None:
        """Delete the spans that were kept for long enough.

        Args:
            now: Unix milliseconds.
        """
        for width, kept in WIDTHS.items():
            prune = partial(_prune, width=width, before=now // 60_000 - kept)
            while await self._engine.write(prune) == _SLICE:
                pass

    async def _last(self, width: int, now: int) -> int | None:
        [row] = await self._engine.survey("last_span", width=width, now=now)
        return None if row["minute"] is None else int(row["minute"])

    async def _first_counted(self, since: int) -> int | None:
        [row] = await self._engine.survey("first_counted", since=since)
        return None if row["minute"] is None else int(row["minute"])

    async def _add_up(self, first: int, width: int) -> None:
        """They are read outside of the transaction, and written in one: a span is there as a whole, or not."""
        survey, where = self._engine.survey, {"since": first, "until": first + width}
        names = json.dumps([row["action"] for row in await survey("busiest_actions", **where, limit=_NAMED)])
        counts = tuples(await survey("sums_of_counts", **where, names=names))
        times = tuples(await survey("sums_of_times", **where, names=names))
        keep = partial(_keep, first=first, width=width, counts=json.dumps(counts), times=json.dumps(times))
        await self._engine.write(keep)


def _keep(tx: Transaction, *, first: int, width: int, counts: str, times: str) -> None:
    tx.change("keep_span_counts", width=width, minute=first, counts=counts)
    tx.change("keep_span_times", width=width, minute=first, times=times)


def _prune(tx: Transaction, *, width: int, before: int) -> int:
    """Of counts and times, each a slice at most; how many the larger one had."""
    return max(
        tx.change("prune_span_counts", width=width, before=before, limit=_SLICE),
        tx.change("prune_span_times", width=width, before=before, limit=_SLICE),
    )
