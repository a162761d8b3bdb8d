"""How long a page takes near the newest task, in the middle and near the oldest: `python bench/paging.py`.

The depths take turns, so that a busy machine slows all of them alike.
"""

import asyncio
import statistics
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path

from taskqueue.store import Cursor, Filter, Store, open_store, verbs
from taskqueue.store.engine.protocol import Transaction
from taskqueue.store.engine.sqlite.connection import connect
from taskqueue.task import NewTask, Status
from taskqueue_migrate.runner import migrate

#: Tasks of a page, and pages measured at each depth.
LIMIT, TIMES = 100, 300
DEPTHS = (0.0, 0.5, 0.99)


def filters(rows: int) -> dict[str, Filter]:
    return {
        "all": Filter(),
        "one status": Filter(statuses=frozenset({Status.COMPLETED})),
        "three statuses": Filter(statuses=frozenset({Status.COMPLETED, Status.FAILED, Status.PENDING})),
        "an action": Filter(action="resize"),
        "a tag": Filter(tag="blue"),
        "half of the time": Filter(created_after=rows // 4, created_before=rows * 3 // 4),
    }


def task(n: int) -> NewTask:
    return NewTask(
        id=f"{n:032}",
        action=("resize", "mail", "report")[n % 3],
        payload='{"data":{"text":"' + "x" * 200 + '"}}',
        created_at=n,
        run_at=n,
        priority=4,
        max_attempts=3,
        timeout=None,
        tags=("blue",) if n % 2 else (),
    )


def submit(tx: Transaction, numbers: range) -> None:
    for n in numbers:
        verbs.submit(tx, task(n))


def end_most(database: Path) -> None:
    """Past the verbs: a million claims would take long, and pages look at the rows alone."""
    with closing(connect(database, busy_timeout=60)) as db:
        db.execute("UPDATE task SET status = 'completed', processed_at = 1, result = '{}' WHERE seq % 10 < 8")
        db.execute("UPDATE task SET status = 'failed', processed_at = 1, error = '{}' WHERE seq % 10 = 8")


async def measure(store: Store, filter: Filter, rows: int) -> list[float]:
    """The median time of a page at each depth, in milliseconds."""
    first = await store.reads.first_page(filter)
    # The last page is a whole one, too.
    top, bottom = min(first.before, rows), first.floor + 1000
    cursors = [Cursor(top - int((top - bottom) * depth), first.floor) for depth in DEPTHS]
    took: list[list[float]] = [[] for _ in DEPTHS]
    for _ in range(TIMES):
        for cursor, times in zip(cursors, took, strict=True):
            began = time.perf_counter()
            page = await store.reads.find(filter, limit=LIMIT, cursor=cursor)
            times.append(time.perf_counter() - began)
            assert len(page.tasks) == LIMIT
    return [statistics.median(times) * 1000 for times in took]


async def main(rows: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        database = Path(folder) / "tasks.db"
        migrate(database)
        async with open_store(database, write_timeout=60) as store:
            for start in range(0, rows, 1000):
                await store.write(submit, range(start, start + 1000))
            end_most(database)
            say(f"{rows} tasks, median of {TIMES} pages of {LIMIT}, in milliseconds")
            say(f"{'filter':<18}" + "".join(f"{f'depth {depth:.0%}':>12}" for depth in DEPTHS) + f"{'99%/0%':>10}")
            for name, filter in filters(rows).items():
                times = await measure(store, filter, rows)
                say(f"{name:<18}" + "".join(f"{t:12.2f}" for t in times) + f"{times[-1] / times[0]:10.2f}")


def say(line: str) -> None:
    print(line)  # noqa: T201  # its answer


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 100_000))
