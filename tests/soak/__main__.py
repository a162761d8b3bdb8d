"""`make soak`: API, two workers and RabbitMQ at half of the load that they can take, for an hour.

Memory, files, threads, the database, its log and the latencies must stay what they were, and the promise be kept.
"""

import argparse
import asyncio
import contextlib
import re
import secrets
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from random import Random

import uvloop
from bench import report
from bench.load import percentile
from bench.machine import in_words
from bench.processes import open_files, resident, threads
from tests.conformance.server import RabbitServer
from tests.faults.cluster import Cluster, Process
from tests.soak.mix import Mix
from tests.soak.series import DATABASE, FILES, HEADER, LOG, MEDIAN, MEMORY, TAIL, THREADS, Series, not_flat

DOCUMENT = Path(__file__).parents[2] / "docs" / "guarantees.md"
COMMAND = "make soak"

#: Seconds that final tasks, events and keys are kept, so that as much is deleted as comes.
KEPT = 60
#: As they ship, in place of the fault suite's short ones, but for what is kept.
SETTINGS = {
    "lease": 15,
    "dispatch_lease": 10,
    "publish_timeout": 1.5,
    "write_timeout": 5,
    "relay_interval": 1,
    "give_back_after": 5,
    "reconcile_after": 60,
    "retry_base": 1,
    "drain_timeout": 20,
    "keep_completed": KEPT,
    "keep_failed": KEPT,
    "keep_cancelled": KEPT,
    "keep_events": KEPT,
    "idempotency_keep": KEPT,
}
WORKERS = 2
#: Seconds until the first has been deleted (workers look once a minute) and all caches are full.
WARM_UP = 2 * KEPT + 60
#: Seconds between two samples.
INTERVAL = 10
#: Clients, and seconds, to find out how much is too much.
CLIENTS, SATURATED = 32, 30
MIB = 2**20
#: Of a log; what a task's handler raises is told within a line.
ERRORS = re.compile(r"^(?:Traceback|\S+ (?:ERROR|CRITICAL)).*", re.MULTILINE)


class Soak:
    """A system under load, and its samples."""

    def __init__(self, cluster: Cluster, mix: Mix, processes: dict[str, Process]) -> None:
        self._cluster = cluster
        self._mix = mix
        self._processes = processes
        self.series: dict[str, Series] = {}

    async def capacity(self) -> float:
        """Operations a second that it can take, until the last task is final."""
        began = time.monotonic()

        async def client() -> None:
            while time.monotonic() < began + SATURATED:
                await self._mix.operate()

        before = self._mix.done.total()
        await asyncio.gather(*(client() for _ in range(CLIENTS)))
        await self._cluster.until_final()
        return (self._mix.done.total() - before) / (time.monotonic() - began)

    async def run(self, rate: float, seconds: float) -> None:
        """Operate at this rate, and take samples, but for the warm-up."""
        await _steadily(self._mix.operate, rate, WARM_UP)
        sampling = asyncio.create_task(self._sample())
        try:
            await _steadily(self._mix.operate, rate, seconds)
        finally:
            sampling.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await sampling

    async def _sample(self) -> None:
        self._mix.posts.clear()
        self._mix.results.clear()
        while True:
            await asyncio.sleep(INTERVAL)
            await asyncio.to_thread(self._cluster.take_recordings)
            self._note()

    def _note(self) -> None:
        for name, process in self._processes.items():
            pid = process.handle.pid
            self._add(f"{name}: resident", MEMORY, resident(pid) / MIB)
            self._add(f"{name}: open files", FILES, open_files(pid))
            self._add(f"{name}: threads", THREADS, threads(pid))
        database = self._cluster.database
        self._add("database", DATABASE, database.stat().st_size / MIB)
        self._add("write-ahead log", LOG, database.with_name(f"{database.name}-wal").stat().st_size / MIB)
        for what, seconds in (("POST", self._mix.posts), ("POST to result", self._mix.results)):
            for bound, share in ((MEDIAN, 50), (TAIL, 99)):
                self._add(f"{what}: p{share}", bound, percentile(seconds, share / 100) * 1000)
            seconds.clear()

    def _add(self, name: str, bound: object, value: float) -> None:
        self.series.setdefault(name, Series(name, bound)).values.append(value)

    async def must_have_kept_the_promise(self) -> None:
        """Wait for the last, and ask the fault suite's oracle; no log may have an error."""
        await self._cluster.keeps_the_promise(deleted=True)
        for name, process in self._processes.items():
            assert process.handle.returncode is None, f"{name} has ended"
            log = process.log.read_text()
            errors = ERRORS.findall(log)
            assert not errors, f"{name} has logged {len(errors)} errors, {errors[0]} for one"


async def _steadily(operate: Callable[[], Awaitable[None]], rate: float, seconds: float) -> None:
    """Begin so many operations a second, whether or not earlier ones are done."""
    began = time.monotonic()
    async with asyncio.TaskGroup() as operations:
        for number in range(int(rate * seconds)):
            await asyncio.sleep(max(0.0, began + number / rate - time.monotonic()))
            operations.create_task(operate())


async def _soak(minutes: float, seed: int, folder: Path, server: RabbitServer) -> tuple[str, list[str]]:
    """The report, and what was not flat."""
    async with Cluster.open(server, folder) as cluster:
        processes = {"API": await cluster.start_api(**SETTINGS)}
        for number in range(WORKERS):
            processes[f"worker {number + 1}"] = await cluster.start_worker(**SETTINGS)
        mix = Mix(cluster, Random(seed))
        soak = Soak(cluster, mix, processes)
        most = await soak.capacity()
        rate = most / 2
        _say(f"it can take {most:.0f} operations a second: soaking at {rate:.0f} for {minutes:g} minutes")
        await soak.run(rate, minutes * 60)
        await soak.must_have_kept_the_promise()
        left = cluster.rows("SELECT count(*) AS n FROM task")[0]["n"]
        text = (
            f"On {in_words(server.version)}. {minutes:g} minutes after a warm-up of {WARM_UP} s, at {rate:.0f} "
            f"operations a second, half of what it can take; a sample each {INTERVAL} s. "
            f"{len(cluster.accepted):,} tasks were accepted, and each has ended once; all but {left:,} have been "
            f"deleted since, being kept for {KEPT} s."
        )
        series = list(soak.series.values())
        table = report.table(HEADER, [it.row(INTERVAL) for it in series])
        done = ", ".join(f"{name} {count:,}" for name, count in mix.done.most_common())
        return f"{text}\n\nOperations: {done}.\n\n{table}", not_flat(series)


def _say(line: str) -> None:
    print(line, flush=True)


async def _main(minutes: float, seed: int, *, write: bool) -> None:
    _say(f"soak: seed {seed}")
    server = RabbitServer("4.3")
    server.start()
    try:
        server.wait_ready()
        with tempfile.TemporaryDirectory() as folder:
            text, wrong = await _soak(minutes, seed, Path(folder), server)
    finally:
        server.remove()
    _say(text)
    if wrong:
        sys.exit(f"soak: not flat: {', '.join(wrong)}")
    if write:
        report.write(DOCUMENT, {"soak": text}, COMMAND)


if __name__ == "__main__":
    parser = argparse.ArgumentParser("soak", description="Load a taskqueue for long, and see that nothing grows.")
    parser.add_argument("--minutes", type=float, default=60, help="for how long (default: 60)")
    parser.add_argument("--seed", type=int, default=secrets.randbelow(10**6), help="the same operations again")
    parser.add_argument("--write", action="store_true", help="write the report to docs/guarantees.md")
    given = parser.parse_args()
    uvloop.run(_main(given.minutes, given.seed, write=given.write))
