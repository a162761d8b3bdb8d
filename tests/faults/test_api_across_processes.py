"""What the API tells of the work of other processes, over a real RabbitMQ."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from tests.conformance.server import free_port
from tests.faults.cluster import Cluster, Process

from taskqueue.store import open_store, verbs

pytestmark = pytest.mark.docker

#: Seconds within which a change of another process is told: half a second, and as much for a busy machine.
SOON = 1.0


async def another_api(cluster: Cluster) -> tuple[Process, str]:
    """A second API process, and its URL."""
    port = free_port()
    api = await cluster.start("taskqueue_api", port=port)
    await api.says("serving on")
    return api, f"http://127.0.0.1:{port}"


async def statuses(response: aiohttp.ClientResponse) -> AsyncIterator[tuple[dict[str, Any], float]]:
    """The changes of a stream, each with the time at which it came."""
    async for line in response.content:
        if line.startswith(b"data: "):
            yield json.loads(line[6:]), time.time()


async def test_a_waiter_of_one_api_is_answered_by_what_another_api_and_a_worker_did(cluster: Cluster) -> None:
    await cluster.start_api()
    await cluster.start_worker()
    _, url = await another_api(cluster)
    id = await cluster.must_submit("echo", expect=7, data={"value": 7, "seconds": 1})
    async with cluster.http.get(f"{url}/tasks/{id}", headers={"Prefer": "wait=30"}) as response:
        task = await response.json()
    assert response.headers["Preference-Applied"] == "wait=30"
    assert (task["status"], task["result"]["output"]) == ("completed", 7)
    assert time.time() - task["processed_at"] < SOON
    await cluster.keeps_the_promise()


async def test_a_stream_tells_the_changes_of_all_processes_soon_and_in_order(cluster: Cluster) -> None:
    await cluster.start_api()
    _, url = await another_api(cluster)
    await asyncio.gather(cluster.start_worker(), cluster.start_worker())
    seen: dict[str, list[str]] = {}
    late = []
    async with cluster.http.get(f"{url}/events") as stream:
        posting = asyncio.create_task(cluster.echo(40, concurrency=4))
        async with asyncio.timeout(30):
            async for change, at in statuses(stream):
                seen.setdefault(change["id"], []).append(change["status"])
                late.append(at - change["at"])
                if sum(path[-1] == "completed" for path in seen.values()) == 40:
                    break
        await posting
    assert seen.keys() == cluster.accepted.keys()
    assert all(path == ["queued", "running", "completed"] for path in seen.values()), seen
    assert sorted(late)[len(late) // 2] < SOON / 2
    assert max(late) < 2 * SOON
    await cluster.keeps_the_promise()


async def test_a_stream_is_resumed_at_another_api_without_loss_or_double(cluster: Cluster) -> None:
    first = await cluster.start_api()
    _, url = await another_api(cluster)
    await cluster.start_worker()
    ids: list[int] = []
    async with cluster.http.get("/events", headers={"Last-Event-ID": "0"}) as stream:
        await cluster.echo(20)
        with_id = (line async for line in stream.content if line.startswith(b"id: "))
        async with asyncio.timeout(30):
            async for line in with_id:
                ids.append(int(line[4:]))
                if len(ids) == 30:
                    break
    await first.kill()
    await cluster.until_final()
    total = cluster.rows("SELECT max(seq) AS seq FROM events")[0]["seq"]
    async with cluster.http.get(f"{url}/events", headers={"Last-Event-ID": str(ids[-1])}) as stream:
        async with asyncio.timeout(30):
            async for line in stream.content:
                if line.startswith(b"id: "):
                    ids.append(int(line[4:]))
                    if ids[-1] == total:
                        break
    assert ids == [row["seq"] for row in cluster.rows("SELECT seq FROM events ORDER BY seq")]


async def test_an_api_that_is_told_to_stop_lets_its_listeners_go(cluster: Cluster) -> None:
    api = await cluster.start_api()
    id = await cluster.must_submit("echo", data={"value": 1}, delay=1000)
    reader, writer = await asyncio.open_connection("127.0.0.1", cluster.port)
    wait = f"GET /tasks/{id} HTTP/1.1\r\nHost: localhost\r\nPrefer: wait=60\r\nExpect: 100-continue\r\n\r\n"
    writer.write(wait.encode())
    async with asyncio.timeout(30):
        assert await reader.readline() == b"HTTP/1.1 100 Continue\r\n"  # the sign that it has arrived
    async with cluster.http.get("/events") as stream:
        began = time.monotonic()
        assert await api.stop() == 0
        assert time.monotonic() - began < 3
        await stream.content.read()  # to its end
    head, _, body = (await reader.read()).strip().partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 ")
    assert json.loads(body)["status"] == "pending"
    writer.close()
    await writer.wait_closed()


async def test_the_stream_of_a_task_that_is_deleted_at_its_end_ends_too(cluster: Cluster) -> None:
    """Nothing can be told of it any more: neither that, nor anything else."""
    await cluster.start_api()
    id = await cluster.must_submit("echo", data={"value": 1}, delay=1000)
    async with cluster.http.get(f"/tasks/{id}/events") as stream:
        assert (await anext(statuses(stream)))[0]["status"] == "pending"
        async with open_store(cluster.database, write_timeout=5) as store:
            await store.write(lambda tx: (verbs.cancel(tx, id), verbs.delete(tx, id)))
        async with asyncio.timeout(10):
            assert [change async for change in statuses(stream)] == []
    async with cluster.http.get(f"/tasks/{id}/events", headers={"Last-Event-ID": "1"}) as stream:
        assert stream.status == 404
