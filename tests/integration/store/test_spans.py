"""Minutes are added up to spans once these are over, each once, and a window tells the same before and after."""

import asyncio
import contextlib
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.integration.store.given import looking, stored

from taskqueue.store import Store, open_store
from taskqueue.store.spans import LATE, WIDTHS, Happened
from taskqueue_migrate.runner import migrate

#: A Unix minute at which a span of each width begins.
NOON = 29_000_040
assert NOON % 120 == 0

COUNTS = st.lists(
    st.tuples(
        st.integers(NOON - 300, NOON + 30),
        st.sampled_from("abc"),
        st.sampled_from(["accepted", "completed", "failed"]),
        st.integers(1, 9),
    ),
    max_size=30,
    unique_by=lambda row: row[:3],
)
TIMES = st.lists(
    st.tuples(
        st.integers(NOON - 300, NOON + 30),
        st.sampled_from("abc"),
        st.sampled_from(["wait", "run"]),
        st.sampled_from([1, 2, 3]),
        st.integers(1, 9),
    ),
    max_size=30,
    unique_by=lambda row: row[:4],
)


def fill(database: Path, counts: list[Any], times: list[Any]) -> None:
    with contextlib.closing(looking(database)) as connection:
        for table in ("minute_counts", "minute_times", "span_counts", "span_times"):
            connection.execute(f"DELETE FROM {table}")
        connection.executemany("INSERT INTO minute_counts VALUES (?, ?, ?, ?)", counts)
        connection.executemany("INSERT INTO minute_times VALUES (?, ?, ?, ?, ?)", times)


def expected(counts: list[Any], times: list[Any], since: int, width: int) -> Happened:
    """What a window tells, from the minutes alone; of all actions, as there are few."""
    points: Counter[tuple[int, str, str]] = Counter()
    for minute, action, what, tasks in counts:
        if minute >= since:
            points[minute // width * width, action, what] += tasks
    by_point: Counter[tuple[int, str, int]] = Counter()
    by_action: Counter[tuple[str, str, int]] = Counter()
    for minute, action, what, bound, attempts in times:
        if minute >= since:
            by_point[minute // width * width, what, bound] += attempts
            by_action[action, what, bound] += attempts
    return Happened(
        counts=[(*key, tasks) for key, tasks in sorted(points.items())],
        times=[(*key, attempts) for key, attempts in sorted(by_point.items())],
        action_times=[(*key, attempts) for key, attempts in sorted(by_action.items())],
    )


@settings(max_examples=40, deadline=None)
@given(counts=COUNTS, times=TIMES, now=st.integers(NOON - 120, NOON + 300), again=st.integers(0, 200))
def test_a_window_tells_the_same_whatever_was_added_up(
    tmp_path_factory: pytest.TempPathFactory, counts: list[Any], times: list[Any], now: int, again: int
) -> None:
    database = tmp_path_factory.mktemp("spans") / "tasks.db"
    migrate(database)
    fill(database, counts, times)

    async def hold() -> None:
        async with open_store(database, write_timeout=5) as store:
            for minute in (now, now, now + again):
                await store.spans.add_up(minute * 60_000)
                for width in (1, *WIDTHS):
                    since = (NOON - 240) // width * width
                    told = await store.spans.happened(since, width, now=minute * 60_000, actions=10)
                    assert told == expected(counts, times, since, width)
                for width in WIDTHS:
                    kept = stored(database, f"SELECT max(minute) AS last FROM span_counts WHERE width = {width}")
                    assert (kept[0]["last"] or 0) + width + LATE <= minute or kept[0]["last"] is None

    asyncio.run(hold())


async def test_what_is_added_up_is_told_when_the_minutes_are_gone(store: Store, database: Path) -> None:
    counts = [(NOON - 120 + n, "a", "completed", 1) for n in range(120)]
    fill(database, counts, [(NOON - 1, "a", "run", 5, 7)])
    now = (NOON + LATE) * 60_000
    await store.spans.add_up(now)
    await store.bulk.prune("minute_counts", before=NOON * 60_000)
    await store.bulk.prune("minute_times", before=NOON * 60_000)
    told = await store.spans.happened(NOON - 120, 120, now=now, actions=5)
    assert told == Happened(
        [(NOON - 120, "a", "completed", 120)], [(NOON - 120, "run", 5, 7)], [("a", "run", 5, 7)]
    )
    assert len((await store.spans.happened(NOON - 120, 15, now=now, actions=5)).counts) == 8


async def test_of_very_many_actions_the_busiest_have_names_and_no_task_is_left_out(
    store: Store, database: Path
) -> None:
    counts = [(NOON, f"a{n}", "completed", 1 + (n == 77)) for n in range(300)]
    times = [(NOON, f"a{n}", "run", 5, 1) for n in range(300)]
    fill(database, counts, times)
    now = (NOON + 200) * 60_000
    before = await store.spans.happened(NOON, 15, now=now, actions=2)
    assert before.counts == [
        (NOON, "", "completed", 298),
        (NOON, "a0", "completed", 1),
        (NOON, "a77", "completed", 2),
    ]
    await store.spans.add_up(now)
    kept = stored(database, "SELECT action, tasks FROM span_counts WHERE width = 15")
    assert len(kept) == 101
    assert sum(row["tasks"] for row in kept) == 301
    assert await store.spans.happened(NOON, 15, now=now, actions=2) == before


async def test_spans_are_forgotten_each_width_in_its_time(store: Store, database: Path) -> None:
    fill(database, [(NOON, f"a{n}", "completed", 1) for n in range(90)], [(NOON, "a", "run", 5, 1)])
    await store.spans.add_up((NOON + 200) * 60_000)

    async def widths(now: int) -> set[int]:
        await store.spans.forget(now * 60_000)
        return {
            row["width"]
            for row in stored(database, "SELECT width FROM span_counts UNION SELECT width FROM span_times")
        }

    assert await widths(NOON + 25 * 60) == {15, 120}
    assert await widths(NOON + 25 * 60 + 1) == {120}
    assert await widths(NOON + 8 * 1440 + 1) == set()


async def test_a_clock_that_was_ahead_hides_nothing_once_it_is_set_back(store: Store, database: Path) -> None:
    ahead, day = NOON + 10 * 1440, 1440
    fill(
        database,
        [(NOON - day, "a", "completed", 1), (NOON, "a", "completed", 2), (ahead, "a", "completed", 4)],
        [],
    )
    await store.spans.add_up((ahead + 200) * 60_000)
    with contextlib.closing(looking(database)) as connection:
        # What came after the clock was right again.
        connection.execute("INSERT INTO minute_counts VALUES (?, 'a', 'completed', 8)", (NOON + 125,))
    now = (NOON + 140) * 60_000
    for width in WIDTHS:
        told = await store.spans.happened(NOON - day, width, now=now, actions=5)
        assert [tasks for minute, _, _, tasks in told.counts if minute <= NOON + 140] == [1, 2, 8]
    await store.spans.add_up((NOON + 300) * 60_000)
    kept = stored(database, "SELECT minute FROM span_counts WHERE width = 120 ORDER BY minute")
    assert NOON + 120 in [row["minute"] for row in kept]
