"""Queues, exchanges and messages are lost, made up or doubled: every accepted task completes once."""

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import aio_pika
import pytest
from aio_pika.abc import AbstractChannel
from aio_pika.exceptions import ChannelNotFoundEntity
from tests.conformance.server import free_port
from tests.faults.cluster import Cluster, Process, until
from tests.fuzz.corpus import entries
from tests.fuzz.messages import put as put_raw
from tests.fuzz.messages import unpack

from taskqueue.message import Message, Priority, encode
from taskqueue.store import now_ms, open_store, verbs
from taskqueue.task import NewTask

pytestmark = pytest.mark.docker

Damage = Callable[[AbstractChannel, str], Awaitable[Any]]


async def _purge(channel: AbstractChannel, queue: str) -> Any:
    return await (await channel.get_queue(queue, ensure=False)).purge()


async def _unbind(channel: AbstractChannel, queue: str) -> Any:
    return await (await channel.get_queue(queue, ensure=False)).unbind(queue, routing_key=queue)


TO_THE_QUEUE: dict[str, Damage] = {
    "purged": _purge,
    "deleted": lambda channel, queue: channel.queue_delete(queue),
}

#: What goes with its dead letters comes first.
AROUND_THE_QUEUE: list[Damage] = [
    lambda channel, queue: channel.queue_delete(f"{queue}.dead"),
    lambda channel, queue: channel.exchange_delete(f"{queue}.dead"),
    _unbind,
    lambda channel, queue: channel.exchange_delete(queue),
]

#: What is no task's message, and what the reason for its burial says.
JUNK = {
    b"": "malformed message: not JSON",
    b"\xff\xfe\x00": "malformed message: not JSON",
    b"[" * 100_000: "malformed message: JSON nested too deeply",
    b'["a", "list"]': "malformed message: not a JSON object",
    b'{"id": 1, "action": "echo", "data": {}, "created_at": 1}': "malformed message: member 'id'",
    b"x" * 5_000_000: "malformed message: not JSON",
    encode(Message("nobody", "echo", {"value": 1}, 1.0)).encode(): "unknown task",
    encode(Message("x" * 50_000, "echo", {}, 1.0)).encode(): "unknown task",
    encode(Message("large", "echo", {"value": "y" * 5_000_000}, 1.0)).encode(): "unknown task",
}


@contextlib.asynccontextmanager
async def channel_of(cluster: Cluster) -> AsyncIterator[AbstractChannel]:
    """A channel to the broker, behind the back of taskqueue."""
    async with await aio_pika.connect(cluster.server.url) as connection:
        yield await connection.channel()


async def put(channel: AbstractChannel, queue: str, *bodies: bytes, **properties: str) -> None:
    """Publish to a queue; sent without an id if none is given."""
    for body in bodies:
        await channel.default_exchange.publish(aio_pika.Message(body, **properties), routing_key=queue)


async def length(cluster: Cluster, queue: str) -> int:
    async with channel_of(cluster) as channel:
        try:
            declared = await channel.declare_queue(queue, passive=True)
        except ChannelNotFoundEntity:
            return 0
        return declared.declaration_result.message_count or 0


async def dead_letters(cluster: Cluster) -> dict[str, tuple[str, str]]:
    """What `dead list` shows: reason and message, by id."""
    code, output = await dead(cluster, "list")
    *lines, last = output.splitlines()
    assert (code, last) == (0, f"{len(lines)} dead letters")
    listed = [line.split("\t") for line in lines]
    letters = {id: (reason, body) for id, reason, body in listed}
    assert len(letters) == len(listed), "two letters with one id"
    return letters


async def dead(cluster: Cluster, *arguments: str, **settings: str) -> tuple[int, str]:
    """Run `taskqueue-worker dead`: its exit code and all that it wrote."""
    process = await cluster.start("taskqueue_worker", "dead", *arguments, **settings)
    return await process.ended(), process.log.read_text()


async def until_dead(cluster: Cluster, count: int) -> None:
    dead_queue = f"{cluster.queue}.dead"

    async def rests() -> bool:
        return await length(cluster, dead_queue) == count

    await until(rests, f"{count} messages in {dead_queue}")


async def start_both(cluster: Cluster, **settings: float) -> Process:
    """An API, and the worker that is returned."""
    _, worker = await asyncio.gather(cluster.start_api(), cluster.start_worker(**settings))
    return worker


async def payload_of(cluster: Cluster, id: str) -> bytes:
    return str(cluster.row(id)["payload"]).encode()


@pytest.mark.parametrize("damage", TO_THE_QUEUE)
async def test_the_tasks_of_a_queue_that_was_lost_under_load_are_published_again(
    cluster: Cluster, damage: str
) -> None:
    worker = await start_both(cluster)
    load = asyncio.create_task(cluster.echo(120, concurrency=4, seconds=0.05))

    async def backlog() -> bool:
        return await length(cluster, cluster.queue) > 10

    await until(backlog, "a backlog")
    async with channel_of(cluster) as channel:
        lost = await TO_THE_QUEUE[damage](channel, cluster.queue)
    assert lost.message_count > 0
    await load
    await cluster.keeps_the_promise()
    assert worker.handle.returncode is None


async def test_what_is_deleted_around_the_queue_under_load_is_made_again(cluster: Cluster) -> None:
    worker = await start_both(cluster)
    load = asyncio.create_task(cluster.echo(300, concurrency=2, seconds=0.02))

    async def reaches_the_queue() -> bool:
        id = await cluster.must_submit(data={"value": 1}, expect=1)
        return cluster.row(id)["status"] != "pending"

    async with channel_of(cluster) as channel:
        for count, damage in enumerate(AROUND_THE_QUEUE, 1):
            await damage(channel, cluster.queue)
            await until(reaches_the_queue, "a POST to reach the queue again")
            await put(channel, cluster.queue, b"junk")
            await until_dead(cluster, count)
    await load
    await cluster.keeps_the_promise()
    letters = (await dead_letters(cluster)).values()
    assert list(letters) == [("malformed message: not JSON", "'junk'")] * len(AROUND_THE_QUEUE)
    assert worker.handle.returncode is None


async def test_messages_that_are_no_tasks_are_buried_with_a_reason_and_hinder_none(cluster: Cluster) -> None:
    worker = await start_both(cluster)
    async with channel_of(cluster) as channel:
        for number, body in enumerate(JUNK):
            await put(channel, cluster.queue, body)
            await cluster.must_submit(data={"value": number}, expect=number)
        await put(channel, cluster.queue, b"one id", b"for two", message_id="same")
        await cluster.keeps_the_promise()
        await until_dead(cluster, len(JUNK) + 2)
    assert worker.handle.returncode is None
    reasons = sorted(reason for reason, _ in (await dead_letters(cluster)).values())
    expected = sorted([*JUNK.values(), "malformed message: not JSON", "malformed message: not JSON"])
    assert all(reason.startswith(text) for reason, text in zip(reasons, expected, strict=True))


async def test_messages_whose_properties_can_not_be_read_are_buried_and_stop_no_worker(cluster: Cluster) -> None:
    worker = await start_both(cluster)
    foreign = [message for message in entries("messages").values() if unpack(message)[1] == b"no task"]
    async with channel_of(cluster) as channel:
        for message in foreign:
            await put_raw(await channel.get_underlay_channel(), cluster.queue, message)
        await cluster.must_submit(data={"value": 1}, expect=1)
        await cluster.keeps_the_promise()
        await until_dead(cluster, len(foreign))
    assert worker.handle.returncode is None
    assert {reason for reason, _ in (await dead_letters(cluster)).values()} == {"malformed message: not JSON"}


async def test_dead_letters_are_requeued_and_dropped_by_a_command(cluster: Cluster) -> None:
    # Only the requeued message can bring its task to the worker.
    worker = await start_both(cluster, reconcile_after=3600)
    id = str(uuid.uuid4())
    payload = encode(Message(id, "echo", {"value": 5}, now_ms() / 1000))
    async with channel_of(cluster) as channel:
        await put(channel, cluster.queue, payload.encode(), b"junk 1", b"junk 2", b"junk 3")
    await until_dead(cluster, 4)
    letters = await dead_letters(cluster)
    names = {body.strip("'"): name for name, (_, body) in letters.items()}
    assert letters[names[payload]][0] == "unknown task"

    # A backup is restored, say, and the task is known again.
    async with open_store(cluster.database, write_timeout=5) as store:
        task = NewTask(id, "echo", payload, now_ms(), now_ms(), Priority.NORMAL, 3, None)
        seq = await store.write(verbs.submit, task, "restored", lease=2_000)
        await store.write(verbs.settle, [(seq, "restored")])
    cluster.accepted[id] = 5

    code, output = await dead(cluster, "requeue", names[payload], "no-such-id")
    assert (code, output.count("\n")) == (1, 1)
    assert "no-such-id" in output
    assert await dead_letters(cluster) == letters
    away = f"amqp://127.0.0.1:{free_port()}/"
    code, output = await dead(cluster, "drop", "--all", broker_url=away)
    assert (code, output.count("\n")) == (1, 1)
    assert await dead_letters(cluster) == letters

    assert await dead(cluster, "drop", names["junk 1"], names["junk 1"]) == (0, "1 dropped\n")
    assert await dead(cluster, "requeue", names[payload], names["junk 2"]) == (0, "2 requeued\n")
    await cluster.keeps_the_promise()
    await until_dead(cluster, 2)
    letters = await dead_letters(cluster)
    assert sorted(body for _, body in letters.values()) == ["'junk 2'", "'junk 3'"]
    assert {reason for reason, _ in letters.values()} == {"malformed message: not JSON"}
    assert await dead(cluster, "drop", "--all") == (0, "2 dropped\n")
    assert await dead_letters(cluster) == {}
    assert worker.handle.returncode is None


async def test_a_message_that_comes_twenty_times_runs_its_task_once_and_not_before_its_time(
    cluster: Cluster,
) -> None:
    await asyncio.gather(start_both(cluster), cluster.start_worker())
    now = await cluster.must_submit(data={"value": 1, "seconds": 1}, expect=1)
    later = await cluster.must_submit(data={"value": 2}, expect=2, delay=2)
    for _ in range(2):  # while they wait or run, and when they are final
        async with channel_of(cluster) as channel:
            for id in (now, later):
                await put(channel, cluster.queue, *[await payload_of(cluster, id)] * 20)
        await cluster.keeps_the_promise()

        async def drained() -> bool:
            return await length(cluster, cluster.queue) == 0

        await until(drained, "the duplicates to be dropped")
    await cluster.keeps_the_promise()
    assert (cluster.outcomes(now), cluster.outcomes(later)) == (["ok"], ["ok"])
    task = cluster.row(later)
    assert task["attempt_started"] >= task["run_at"]
    assert await length(cluster, f"{cluster.queue}.dead") == 0
