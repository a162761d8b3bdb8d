"""`taskqueue-api` and `taskqueue-worker`, each in its process."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass

import aiohttp
import pytest
from tests.conformance.server import PASSWORD, RabbitServer, free_port
from tests.conformance.waiting import eventually
from tests.integration.programs import Client, Programs

from taskqueue.store.engine.sqlite.connection import connect
from taskqueue.store.engine.sqlite.locks import WriteLock

API, WORKER = "taskqueue-api", "taskqueue-worker"
BOTH = pytest.mark.parametrize("name", [API, WORKER])


@pytest.fixture
def nowhere() -> str:
    """The URL of a broker that isn't up."""
    return f"amqp://taskqueue:{PASSWORD}@127.0.0.1:{free_port()}/"


@dataclass
class Closed:
    """Where a broker should be, and somebody else is, who ends each connection."""

    url: str = ""
    #: How often somebody has tried.
    attempts: int = 0

    async def turn_away(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.attempts += 1
        if self.attempts % 2:
            await reader.read(100)  # else the connection is not closed, but reset
        writer.close()

    async def until_tried_again(self) -> None:
        """Wait for some more attempts."""
        wanted = self.attempts + 3
        await eventually(lambda: self.attempts >= wanted)


@pytest.fixture
async def closed() -> AsyncIterator[Closed]:
    closed = Closed()
    async with await asyncio.start_server(closed.turn_away, "127.0.0.1", 0) as server:
        closed.url = f"amqp://taskqueue:{PASSWORD}@127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        yield closed


# What they need


@BOTH
async def test_without_a_data_folder_they_do_not_start(programs: Programs, name: str) -> None:
    line = await programs.refused(name)
    assert str(programs.data) in line
    assert "TASKQUEUE_DATA_DIR" in line


@BOTH
async def test_without_a_database_they_say_what_to_run(programs: Programs, name: str) -> None:
    programs.data.mkdir()
    assert "taskqueue-migrate" in await programs.refused(name)
    assert not (programs.data / "tasks.db").exists()


@BOTH
async def test_on_a_database_without_the_schema_they_say_what_to_run(programs: Programs, name: str) -> None:
    programs.data.mkdir()
    connect(programs.data / "tasks.db", busy_timeout=1, create=True).close()
    assert "taskqueue-migrate" in await programs.refused(name)


@BOTH
@pytest.mark.parametrize(
    "url",
    [
        f"http://taskqueue:{PASSWORD}@host/",
        f"amqp://taskqueue:{PASSWORD}@host:port/",
        f"amqp://taskqueue:{PASSWORD}@/",
        "memory://",
    ],
)
async def test_a_broker_url_that_cannot_be_used_is_told_without_its_password(
    migrated: Programs, name: str, url: str
) -> None:
    program = await migrated.start(name, broker_url=url)
    assert await program.ended() == 78
    [line] = [line for line in program.errors.splitlines() if "INFO" not in line]
    assert "URL" in line
    assert PASSWORD not in line


async def test_an_api_whose_port_is_taken_says_so(migrated: Programs, nowhere: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        program = await migrated.start(API, port=port, broker_url=nowhere)
        assert await program.ended() == 1
    [line] = [line for line in program.log if line["level"] == "ERROR"]
    assert str(port) in line["message"]
    assert "Traceback" not in program.errors


# Without a broker


async def test_an_api_without_a_broker_accepts_tasks_and_tells_it_once(
    migrated: Programs, client: Client, closed: Closed
) -> None:
    api = await migrated.start(API, broker_url=closed.url)
    url = await api.url()
    ids = [await client.submit(url, "uppercase", {"text": "x"}) for _ in range(5)]
    await closed.until_tried_again()
    assert {task["status"] for task in (await client.tasks(url)).values()} == {"pending"}
    assert (await client.get(f"{url}/readyz"))["broker"] == "disconnected"
    assert await api.stop() == 0
    assert len(ids) == len(api.logged("task accepted"))
    [line] = [line for line in api.log if line["level"] != "INFO"]
    assert "trying again" in line["message"]
    assert PASSWORD not in api.errors


async def test_a_worker_without_a_broker_keeps_trying_and_stops_when_told(
    migrated: Programs, closed: Closed
) -> None:
    worker = await migrated.start(WORKER, broker_url=closed.url)
    await worker.says("worker started")
    await worker.says("trying again")
    await closed.until_tried_again()
    assert worker.handle.returncode is None
    assert await worker.stop() == 0
    assert "Traceback" not in worker.errors


async def test_an_api_told_to_stop_finishes_the_requests_that_it_has(
    migrated: Programs, client: Client, nowhere: str
) -> None:
    api = await migrated.start(API, broker_url=nowhere)
    url = await api.url()
    with contextlib.closing(connect(migrated.data / "tasks.db", busy_timeout=5)) as other:
        other.execute("BEGIN IMMEDIATE")
        posting = asyncio.create_task(client.submit(url, "uppercase", {"text": "x"}))
        with contextlib.closing(WriteLock(migrated.data / "tasks.db")) as lock:

            def is_writing() -> bool:
                """Whether the task is on its way: then our lock is held, and that of SQLite is waited for."""
                if lock.try_acquire():
                    lock.release()
                    return False
                return True

            await eventually(is_writing)
        api.handle.terminate()
        await api.says("stopping")

        async def refuses() -> bool:
            try:
                async with aiohttp.ClientSession() as session:
                    await session.get(f"{url}/livez")
            except aiohttp.ClientError:
                return True
            return False

        await eventually(refuses)
        assert not posting.done()
        other.execute("ROLLBACK")
    id = await posting
    assert await api.ended() == 0
    with contextlib.closing(connect(migrated.data / "tasks.db", busy_timeout=5)) as other:
        assert [row["id"] for row in other.execute("SELECT id FROM task")] == [id]


# With RabbitMQ


@pytest.mark.docker
async def test_tasks_flow_from_the_api_to_the_worker_and_both_stop_when_told(
    migrated: Programs, client: Client, rabbit: RabbitServer, queue: str
) -> None:
    api = await migrated.start(API, broker_url=rabbit.url, queue=queue)
    worker = await migrated.start(WORKER, broker_url=rabbit.url, queue=queue)
    url = await api.url()
    await worker.says("worker started")
    assert (await client.get(f"{url}/readyz"))["broker"] == "connected"
    ids = [await client.submit(url, "sum", {"numbers": [number, 1]}) for number in range(20)]
    tasks = await client.until_final(url, *ids)
    assert [task["result"] for task in tasks] == [{"output": number + 1} for number in range(20)]
    assert {task["attempt"] for task in tasks} == {1}
    for id in ids:
        for program, message in ((api, "task accepted"), (worker, "processing task"), (worker, "task completed")):
            [line] = [line for line in program.logged(message) if line["task_id"] == id]
            assert line["action"] == "sum"
    assert await worker.stop() == 0
    assert await api.stop() == 0
    for program in (api, worker):
        assert "Traceback" not in program.errors
        assert PASSWORD not in program.errors


@pytest.mark.docker
async def test_what_a_stopped_worker_gives_back_another_finishes(
    migrated: Programs, client: Client, rabbit: RabbitServer, queue: str
) -> None:
    broker = {"broker_url": rabbit.url, "queue": queue}
    api = await migrated.start(API, **broker)
    url = await api.url()
    first = await migrated.start(WORKER, simulated_work=0.3, drain_timeout=5, **broker)
    await first.says("worker started")
    ids = [await client.submit(url, "uppercase", {"text": "x"}) for _ in range(8)]
    await first.says("processing task")
    assert await first.stop() == 0
    assert not (await client.get(f"{url}/tasks?status=running"))["tasks"]
    await migrated.start(WORKER, **broker)
    tasks = await client.until_final(url, *ids)
    assert [(task["status"], task["failures"]) for task in tasks] == [("completed", 0)] * 8
    # Claimed at the moment of the stop, a task is released again: one more attempt, which costs nothing.
    assert {task["attempt"] for task in tasks} <= {1, 2}


@BOTH
@pytest.mark.docker
@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({PASSWORD: "wr0ng"}, "refuses user 'taskqueue' on vhost '/': ACCESS_REFUSED"),
        ({"taskqueue": "wr0ng"}, "refuses user 'wr0ng' on vhost '/': ACCESS_REFUSED"),
        ({"/": "/wr0ng"}, "vhost wr0ng not found"),
    ],
    ids=["password", "user", "vhost"],
)
async def test_what_the_broker_refuses_for_good_is_told_without_the_password(
    migrated: Programs, rabbit: RabbitServer, name: str, change: dict[str, str], told: str
) -> None:
    [(old, new)] = change.items()
    head, _, tail = rabbit.url.rpartition(old)
    program = await migrated.start(name, broker_url=f"{head}{new}{tail}")
    assert await program.ended() == 1
    [line] = [line for line in program.log if line["level"] == "ERROR"]
    assert told in line["message"]
    assert "TASKQUEUE_BROKER_URL" in line["message"]
    assert PASSWORD not in program.errors
    assert f":{new}@" not in program.errors
    assert "Traceback" not in program.errors
