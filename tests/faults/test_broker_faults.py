"""The broker is killed, away, silent, full or late: a POST never hangs, and every accepted task completes once."""

import asyncio
import contextlib
import random
import time
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from tests.conformance.proxy import Proxy
from tests.conformance.server import PASSWORD, USER, RabbitServer, free_port
from tests.faults.cluster import LEASE, Cluster, Process, until

pytestmark = pytest.mark.docker

#: Seconds within which a POST is answered, whatever the broker does.
PROMPT = 2
#: Seconds until a silent broker is noticed.
NOTICED = 40


class Firewall(Proxy):
    """Stands between the processes and the broker."""

    def lift(self) -> None:
        """Let packets through again, also those that were held back."""
        self._forwarding.set()


@pytest.fixture
async def firewall(cluster: Cluster) -> AsyncIterator[Firewall]:
    """Shut at first."""
    async with Firewall(free_port(), cluster.server.port) as firewall:
        cluster.url = f"amqp://{USER}:{PASSWORD}@127.0.0.1:{firewall.port}/"
        yield firewall


@contextlib.asynccontextmanager
async def killed(server: RabbitServer) -> AsyncIterator[None]:
    """The broker is down until this is left; it then serves again."""
    await asyncio.to_thread(server.kill)
    try:
        yield
    finally:
        await asyncio.to_thread(server.start_again)
        await asyncio.to_thread(server.wait_ready)


@contextlib.asynccontextmanager
async def disk_alarm(server: RabbitServer) -> AsyncIterator[None]:
    """The broker takes no messages until this is left."""
    await asyncio.to_thread(server.ctl, "set_disk_free_limit", str(10**15))
    try:
        yield
    finally:
        await asyncio.to_thread(server.ctl, "set_disk_free_limit", "50000000")


async def post(cluster: Cluster, value: int) -> str:
    """POST a task, which must be accepted promptly, and tell the status of the answer."""
    started = time.monotonic()
    async with cluster.http.post("/tasks", json={"action": "echo", "data": {"value": value}}) as response:
        answer = await response.json()
    assert response.status == 202, answer
    assert time.monotonic() - started <= PROMPT
    cluster.accepted[answer["id"]] = value
    return str(answer["status"])


async def post_many(cluster: Cluster, count: int) -> set[str]:
    """POST some at a time, each as `post` does, and tell the statuses of the answers."""
    return {status for n in range(0, count, 10) for status in await asyncio.gather(*_posts(cluster, n, n + 10))}


def _posts(cluster: Cluster, first: int, end: int) -> list[asyncio.Task[str]]:
    return [asyncio.create_task(post(cluster, number)) for number in range(first, end)]


def age(health_file: Path) -> float:
    return time.time() - health_file.stat().st_mtime


async def start_both(cluster: Cluster) -> tuple[Process, Process, Path]:
    """An API, a worker, and the worker's health file."""
    health_file = cluster.folder / "healthy"
    api, worker = await asyncio.gather(cluster.start_api(), cluster.start_worker(health_file=health_file))
    await until(health_file.exists, "the worker to be healthy")
    return api, worker, health_file


async def test_a_broker_killed_with_a_backlog_loses_none_of_it_and_health_tells_the_truth(
    cluster: Cluster,
) -> None:
    api, worker, health_file = await start_both(cluster)
    await cluster.echo(60, seconds=0.2)
    async with killed(cluster.server):
        await cluster.until_ready(api, broker="disconnected")
        assert cluster.rows("SELECT id FROM task WHERE status = 'queued'"), "no backlog is left"
        assert await post_many(cluster, 20) == {"pending"}
        await until(lambda: age(health_file) > LEASE, "the worker's health file to grow old")
    await cluster.until_ready(api)
    await cluster.keeps_the_promise()
    assert age(health_file) < LEASE
    assert worker.handle.returncode is None


async def test_a_broker_away_for_90_s_delays_tasks_and_nothing_else(cluster: Cluster, firewall: Firewall) -> None:
    await firewall.open()
    api, worker, _ = await start_both(cluster)
    await cluster.echo(20)
    await firewall.shut()
    await cluster.until_ready(api, broker="disconnected")
    back = time.monotonic() + 90
    statuses = set()
    while time.monotonic() < back:
        statuses.add(await post(cluster, len(cluster.accepted)))
        await asyncio.sleep(0.3)  # the load is light
    assert statuses == {"pending"}
    await firewall.open()
    await cluster.keeps_the_promise()
    assert worker.handle.returncode is None


async def test_a_broker_whose_packets_are_dropped_is_noticed_and_hangs_no_post(
    cluster: Cluster, firewall: Firewall
) -> None:
    await firewall.open()
    api, worker, health_file = await start_both(cluster)
    await cluster.echo(100, seconds=0.1)
    firewall.drop()
    dropped, dropped_wall = time.monotonic(), time.time()
    noticing = asyncio.create_task(cluster.until_ready(api, broker="disconnected"))
    while not noticing.done():
        assert await post(cluster, len(cluster.accepted)) == "pending"
        await asyncio.sleep(0.2)  # the load is light
    await noticing
    assert time.monotonic() - dropped <= NOTICED
    await until(lambda: age(health_file) > LEASE, "the worker's health file to grow old")
    assert health_file.stat().st_mtime - dropped_wall <= NOTICED
    assert await post_many(cluster, 20) == {"pending"}
    firewall.lift()
    await cluster.until_ready(api)
    await cluster.keeps_the_promise()
    assert worker.handle.returncode is None


async def test_a_broker_that_takes_no_messages_hangs_no_post_and_stops_no_worker(cluster: Cluster) -> None:
    api, worker, health_file = await start_both(cluster)
    await cluster.echo(100, seconds=0.05)
    async with disk_alarm(cluster.server):
        await post_many(cluster, 20)  # RabbitMQ blocks a connection when it publishes
        await cluster.until_ready(api, broker="blocked")
        assert await post_many(cluster, 20) == {"pending"}
        await until(lambda: not cluster.rows("SELECT id FROM task WHERE status = 'queued'"), "the backlog to end")
        assert age(health_file) < LEASE
        assert cluster.rows("SELECT id FROM task WHERE status = 'pending'")
    await cluster.keeps_the_promise()
    assert worker.handle.returncode is None


async def test_a_broker_that_comes_up_late_gets_each_task_from_one_of_several_relays(
    cluster: Cluster, firewall: Firewall
) -> None:
    started = time.monotonic()
    api = await cluster.start("taskqueue_api")
    workers = await asyncio.gather(*(cluster.start_worker() for _ in range(4)))
    await cluster.until_ready(api, broker="disconnected")
    assert await post_many(cluster, 500) == {"pending"}
    await asyncio.sleep(started + 5 - time.monotonic())
    assert {worker.handle.returncode for worker in workers} == {None}
    await firewall.open()
    await cluster.keeps_the_promise()
    assert cluster.rows("SELECT DISTINCT attempt FROM task") == [{"attempt": 1}]


async def test_a_process_killed_each_second_of_two_apis_and_two_workers_loses_nothing(cluster: Cluster) -> None:
    chance = random.Random(seed := random.randrange(10**6))
    print(f"seed {seed}")
    ports = [cluster.port, free_port()]
    programs = [("taskqueue_api", {"port": port}) for port in ports] + [("taskqueue_worker", {})] * 2
    processes = [await cluster.start(program, **settings) for program, settings in programs]
    await cluster.until_ready(processes[0])
    over = asyncio.Event()

    async def client(number: int) -> None:
        while not over.is_set():
            number += 10
            body = {"action": "echo", "data": {"value": number, "seconds": 0.02}}
            url = f"http://127.0.0.1:{chance.choice(ports)}/tasks"
            try:
                async with cluster.http.post(url, json=body) as response:
                    cluster.accepted[(await response.json())["id"]] = number
            except (aiohttp.ClientError, KeyError):
                await asyncio.sleep(0.1)

    clients = [asyncio.create_task(client(number)) for number in range(10)]
    for _ in range(10):
        await asyncio.sleep(1)
        index = chance.randrange(len(programs))
        await processes[index].kill()
        program, settings = programs[index]
        processes[index] = await cluster.start(program, **settings)
    over.set()
    await asyncio.gather(*clients)
    assert len(cluster.accepted) > 100
    await cluster.keeps_the_promise()
