"""What is measured beside the rounds, by the names that `ONLY=` takes, and the table that each one makes.

Where there is code from before, it takes turns with ours.
"""

import tempfile
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench import probes
from bench.dashboards import dashboards
from bench.executors import executors as in_threads_and_processes
from bench.keyed import keyed
from bench.load import percentile
from bench.measure import Load, Measure
from bench.ours import Code, Embedded, WithRabbitMQ
from bench.peers import FLOOR
from bench.rabbitmq import RabbitMQ
from bench.report import by_process, spread, table
from bench.stores import fill
from bench.system import BATCH, SUBMIT_BATCH, Accepting, Start

#: Rounds of what takes long.
_FEW = 3

#: Tasks that wait when the worker is started. The floor accepts one at a time, and gets a quarter of them.
_BACKLOG = 100_000
#: Seconds that it may take until they wait.
_LONGEST = 600


@dataclass(frozen=True)
class Bench:
    """What a section works with."""

    broker: RabbitMQ
    rounds: int
    #: By whose it is: `ours`, and `before` if that was asked for.
    codes: dict[str, Code]
    #: The sizes of the stores, in tasks.
    stores: tuple[int, ...]

    @property
    def few(self) -> range:
        return range(min(self.rounds, _FEW))


Section = Callable[[Bench], Awaitable[str]]


async def idle(bench: Bench) -> str:
    """CPU of processes that have nothing to do."""
    systems: dict[str, Start] = {"floor": FLOOR}
    for whose, code in bench.codes.items():
        systems |= {f"{whose}: RabbitMQ": WithRabbitMQ(code), f"{whose}: embedded": Embedded(code)}
    rows = []
    for title, start in systems.items():
        with _folder() as folder:
            shares = await probes.idle(start, bench.broker, folder)
        rows.append([title, by_process([{role: share * 100 for role, share in shares.items()}], 1)])
    return table(["idle", "CPU, % of a core"], rows)


async def executors(bench: Bench) -> str:
    """Tasks that compute, in threads and in processes."""
    return await in_threads_and_processes(bench.codes["ours"], bench.rounds)


async def keys(bench: Bench) -> str:
    """What a key costs a POST."""
    return await keyed(bench.codes["ours"], bench.rounds)


async def open_dashboards(bench: Bench) -> str:
    """What a hundred open dashboards cost."""
    return await dashboards(bench.codes["ours"], bench.broker, len(bench.few))


async def start(bench: Bench) -> str:
    """From the start of the embedded mode until it is ready."""
    seconds = defaultdict(list)
    for _ in range(bench.rounds):
        for whose, code in bench.codes.items():
            with _folder() as folder:
                seconds[whose].append(await probes.start_time(Embedded(code), folder))
    rows = [[f"{whose}: embedded", spread([it * 1000 for it in times])] for whose, times in seconds.items()]
    return table(["start", "until ready, ms"], rows)


async def steady(bench: Bench) -> str:
    """Tasks arrive at half of the rate at which they can be finished."""
    systems: dict[str, Start] = {}
    for whose, code in bench.codes.items():
        systems |= {
            f"{whose}: embedded": Embedded(code),
            f"{whose}: RabbitMQ, 10 consumers": WithRabbitMQ(code, consumers=10),
        }
    arrivals = defaultdict(list)
    for _ in bench.few:
        for title, start in systems.items():
            with _folder() as folder:
                arrivals[title].append(await probes.steady(start, bench.broker, folder))
    header = ["steady arrival, half of what it can do", "tasks/s"]
    header += [f"POST to result, ms: p{share}" for share in _SHARES]
    header += [f"`created_at` to `processed_at`, ms: p{share}" for share in _SHARES]
    rows = []
    for title, measured in arrivals.items():
        row = [title, spread([it.rate for it in measured])]
        for latencies in ([it.seen for it in measured], [it.told for it in measured]):
            row += [spread([percentile(it, share / 100) * 1000 for it in latencies]) for share in _SHARES]
        rows.append(row)
    return table(header, rows)


_SHARES = (50, 95, 99)


async def backlog(bench: Bench) -> str:
    """A backlog is drained."""
    floor = Load(seconds=_LONGEST, most=_BACKLOG // 4)
    systems: dict[str, tuple[Accepting, Load]] = {"floor": (FLOOR, floor)}
    for whose, code in bench.codes.items():
        load = Load(SUBMIT_BATCH, tasks=BATCH, connections=2, seconds=_LONGEST, most=_BACKLOG)
        systems[f"{whose}: 10 consumers"] = (WithRabbitMQ(code, consumers=10), load)
    rates = {}
    for title, (start, load) in systems.items():
        with _folder() as folder:
            rates[title] = await probes.backlog(start, load, bench.broker, folder)
    rows = [[title, f"{rate / rates['floor']:.2f}", f"{rate:,.0f}"] for title, rate in rates.items()]
    return table([f"a backlog of {_BACKLOG:,} is drained (floor: {_BACKLOG // 4:,})", "÷ floor", "tasks/s"], rows)


async def stores(bench: Bench) -> str:
    """End to end on stores that hold many tasks."""
    measures: dict[tuple[str, int], list[Measure]] = defaultdict(list)
    for size in bench.stores:
        async with _filled(bench.codes, size) as folders:
            for _ in bench.few:
                for whose, folder in folders.items():
                    ten = WithRabbitMQ(bench.codes[whose], consumers=10)
                    measures[whose, size].append(await probes.on_store(ten, bench.broker, folder))
    rows = []
    for whose in bench.codes:
        [first, *_] = (measures[whose, size] for size in bench.stores)
        for size in bench.stores:
            on_it = measures[whose, size]
            ratios = [one.finished / other.finished for one, other in zip(on_it, first, strict=True)]
            rows.append(
                [
                    f"{whose}: {size:,} tasks there",
                    spread(ratios, 2),
                    spread([it.finished for it in on_it]),
                    spread([it.accepted for it in on_it]),
                    spread([it.p99 * 1000 for it in on_it], 1),
                ]
            )
    header = ["10 consumers, on a store with", f"÷ with {bench.stores[0]:,}"]
    return table([*header, "end to end, tasks/s", "POST, tasks/s", "POST p99, ms"], rows)


@asynccontextmanager
async def _filled(codes: dict[str, Code], size: int) -> AsyncIterator[dict[str, Path]]:
    with _folder() as root:
        folders = {whose: root / whose for whose in codes}
        for whose, folder in folders.items():
            folder.mkdir()
            await fill(codes[whose], folder, size)
        yield folders


@contextmanager
def _folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


SECTIONS: dict[str, Section] = {
    "idle": idle,
    "start": start,
    "steady": steady,
    "backlog": backlog,
    "stores": stores,
    "executors": executors,
    "keys": keys,
    "dashboards": open_dashboards,
}
