"""`taskqueue top`: what goes on, on a live screen."""

import itertools
import time
from collections import deque
from typing import Annotated

import typer
from rich.columns import Columns
from rich.console import Group, RenderableType
from rich.live import Live
from rich.rule import Rule
from rich.text import Text

from taskqueue.client import Client, TaskqueueError
from taskqueue.contract.overview import Minute
from taskqueue.task import Status
from taskqueue_cli.connection import HERE, Url, connect
from taskqueue_cli.output import console, plain
from taskqueue_cli.overview import by_action, by_minute, by_status, by_worker
from taskqueue_cli.reading import listing

#: Past minutes that are shown, actions, and failures.
_MINUTES, _ACTIONS, _FAILURES = 30, 5, 5
#: Looks over which a rate is taken: commits are shared, so that tasks are counted in bunches.
_LOOKS = 10


def top(
    interval: Annotated[float, typer.Option(min=0.1, metavar="SECONDS", help="Between two looks.")] = 1,
    url: Url = HERE,
) -> None:
    """Show what goes on, live, until Ctrl-C: counts, rates, the slowest actions, the newest failures."""
    screen = console()
    if not screen.is_terminal:
        raise typer.BadParameter("needs a terminal; `taskqueue stats` tells the same once")
    rates = Rates()
    with connect(url) as client:
        picture = _look(client, rates)
        with Live(picture, console=screen, screen=True, auto_refresh=False) as live:
            while True:
                time.sleep(interval)
                try:
                    picture = note = _look(client, rates)
                except TaskqueueError as error:
                    # What was seen last stays, until somebody answers again.
                    note = Group(Text(plain(str(error)), "red"), picture)
                live.update(note, refresh=True)


class Rates:
    """How many tasks are accepted and ended in a second, from counters of minutes."""

    def __init__(self) -> None:
        self._minutes: dict[int, Minute] = {}
        self._totals: deque[tuple[float, dict[str, int]]] = deque(maxlen=_LOOKS)

    def since_before(self, minutes: list[Minute], now: float) -> dict[str, float]:
        """The rates over the last looks.

        Args:
            minutes: as they are told now.
            now: seconds of a clock that is never set.
        """
        self._minutes |= {minute.at: minute for minute in minutes}
        total = {
            what: sum(getattr(minute, what) for minute in self._minutes.values())
            for what in ("accepted", "completed", "failed", "cancelled")
        }
        self._totals.append((now, total))
        then, before = self._totals[0]
        return {what: (total[what] - before[what]) / (now - then) if now > then else 0 for what in total}


def _look(client: Client, rates: Rates) -> RenderableType:
    stats = client.stats(_MINUTES)
    per_second = rates.since_before(stats.minutes, time.monotonic())
    failures = list(itertools.islice(client.find(page=_FAILURES, status=Status.FAILED), _FAILURES))
    parts: list[RenderableType] = [
        Columns([by_status(stats.tasks), by_minute(stats.minutes, per_second)], padding=(0, 4)),
        Rule("workers"),
        by_worker(client.workers()),
        Rule("slowest actions"),
        by_action(stats.actions, _ACTIONS),
        Rule("newest failures"),
        listing(failures),
    ]
    return Group(*parts)
