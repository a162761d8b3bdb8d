"""A storm: something random goes wrong every moment while tasks pour in; then the promise is checked.

The short form runs with all tests. `make storm` runs the long one; STORM_SEED repeats one that failed.
"""

import asyncio
import contextlib
import os
import random
import secrets
import signal
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path

import aio_pika
import pytest
from tests.conformance.server import RabbitServer
from tests.faults.cluster import LEASE, Cluster, Process

pytestmark = [pytest.mark.docker, pytest.mark.timeout(1800)]

TASKS = int(os.environ.get("STORM_TASKS", "2000"))
KILLS = int(os.environ.get("STORM_KILLS", "5"))
SEED = int(os.environ.get("STORM_SEED") or secrets.randbelow(10**6))
WORKERS = 3


class Storm:
    """The faults, and how often each has struck."""

    def __init__(self, cluster: Cluster, chance: random.Random) -> None:
        self.cluster = cluster
        self.chance = chance
        self.struck: Counter[str] = Counter()
        self.workers: list[Process] = []
        self.api: Process

    @property
    def kills(self) -> int:
        return sum(self.struck[name] for name in ("kill_worker", "kill_api", "kill_broker"))

    async def begin(self) -> None:
        self.api = await self.cluster.start_api()
        self.workers = [await self.cluster.start_worker() for _ in range(WORKERS)]

    async def strike(self) -> None:
        faults: list[tuple[int, Callable[[], Awaitable[None]]]] = [
            (6, self.kill_worker),
            (3, self.kill_api),
            (2, self.stop_worker),
            (2, self.freeze_worker),
            (1, self.kill_broker),
            (1, self.purge_queue),
            (1, self.delete_queue),
            (1, self.hold_write_lock),
        ]
        weights, calls = zip(*faults, strict=True)
        [fault] = self.chance.choices(calls, weights)
        self.struck[fault.__name__] += 1
        await fault()

    async def kill_worker(self) -> None:
        await self._replace_worker(lambda worker: worker.kill())

    async def stop_worker(self) -> None:
        await self._replace_worker(lambda worker: worker.stop())

    async def kill_api(self) -> None:
        await self.api.kill()
        self.api = await self.cluster.start("taskqueue_api")

    async def freeze_worker(self) -> None:
        worker = self.chance.choice(self.workers)
        worker.send(signal.SIGSTOP)
        await asyncio.sleep(LEASE * self.chance.uniform(0.5, 2))
        worker.send(signal.SIGCONT)

    async def kill_broker(self) -> None:
        server = self.cluster.server
        await asyncio.to_thread(server.kill)
        await asyncio.sleep(self.chance.uniform(0, 2))
        await asyncio.to_thread(server.start_again)
        await asyncio.to_thread(server.wait_ready)

    async def purge_queue(self) -> None:
        async with await aio_pika.connect(self.cluster.server.url) as connection:
            channel = await connection.channel()
            with contextlib.suppress(aio_pika.exceptions.ChannelNotFoundEntity):
                await (await channel.get_queue(self.cluster.queue, ensure=False)).purge()

    async def delete_queue(self) -> None:
        async with await aio_pika.connect(self.cluster.server.url) as connection:
            channel = await connection.channel()
            await channel.queue_delete(self.cluster.queue)

    async def hold_write_lock(self) -> None:
        with contextlib.closing(self.cluster.connect()) as db:
            await asyncio.to_thread(db.execute, "BEGIN IMMEDIATE")
            await asyncio.sleep(self.chance.uniform(0.5, 3))
            db.execute("ROLLBACK")

    async def _replace_worker(self, end: Callable[[Process], Awaitable[object]]) -> None:
        old = self.workers.pop(self.chance.randrange(len(self.workers)))
        await end(old)
        self.workers.append(await self.cluster.start("taskqueue_worker"))


async def _pour(cluster: Cluster, accepted: int, storm_over: asyncio.Event) -> None:
    """POST until that many tasks are accepted, and the storm has had its time."""
    number = 0

    async def client() -> None:
        nonlocal number
        while len(cluster.accepted) < accepted or not storm_over.is_set():
            number += 1
            action = "echo_in_thread" if number % 10 == 0 else "echo"
            if await cluster.submit(action, expect=number, data={"value": number}) is None:
                await asyncio.sleep(0.1)
            elif len(cluster.accepted) > accepted:
                await asyncio.sleep(0.5)  # the storm outlasts the load: a trickle is enough

    await asyncio.gather(*(client() for _ in range(10)))


async def test_a_storm_loses_no_task_and_records_no_outcome_twice(rabbit: RabbitServer, tmp_path: Path) -> None:
    print(f"\nstorm: seed {SEED}, {TASKS} tasks")
    chance = random.Random(SEED)
    over = asyncio.Event()
    async with Cluster.open(rabbit, tmp_path) as cluster:
        storm = Storm(cluster, chance)
        await storm.begin()
        pouring = asyncio.create_task(_pour(cluster, TASKS, over))
        while storm.kills < KILLS or len(cluster.accepted) < TASKS:
            await asyncio.sleep(chance.uniform(0.5, 2))
            await storm.strike()
        over.set()
        await pouring
        await cluster.keeps_the_promise(patience=300)
    print(f"storm: {len(cluster.accepted)} accepted, {storm.kills} SIGKILLs, {dict(storm.struck)}")
    assert storm.kills >= KILLS
    assert len(cluster.accepted) >= TASKS
