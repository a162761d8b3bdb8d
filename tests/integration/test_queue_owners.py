"""One store, one queue: a program that is set to another one's does not start, and says why."""

from pathlib import Path
from typing import Any

import pytest
from tests.conformance.server import RabbitServer
from tests.integration.programs import Client, Program, Programs

from taskqueue_migrate.runner import migrate

pytestmark = pytest.mark.docker

API, WORKER = "taskqueue-api", "taskqueue-worker"


@pytest.fixture
def broker(rabbit: RabbitServer, queue: str) -> dict[str, Any]:
    """Settings of an installation on this queue."""
    return {"broker_url": rabbit.url, "queue": queue}


@pytest.fixture
def another(tmp_path: Path) -> dict[str, Any]:
    """Settings of an installation with a store of its own."""
    folder = tmp_path / "another"
    folder.mkdir()
    migrate(folder / "tasks.db")
    return {"data_dir": folder}


async def refusal(program: Program) -> str:
    """The one line with which a program says why it doesn't start; it exits 78, as with a wrong setting."""
    assert await program.ended() == 78, program.errors
    assert "Traceback" not in program.errors
    [line] = [line for line in program.log if line["level"] == "ERROR"]
    return str(line["message"])


async def test_a_second_installation_or_another_queues_name_is_refused_at_the_start(
    migrated: Programs, broker: dict[str, Any], another: dict[str, Any]
) -> None:
    await (await migrated.start(API, **broker)).url()
    second = [await migrated.start(name, **broker | another) for name in (API, WORKER)]
    misnamed = [await migrated.start(name, **broker | {"queue": "another"}) for name in (API, WORKER)]
    for program in second:
        text = await refusal(program)
        assert f"the queue '{broker['queue']}' is another store's" in text
        assert "TASKQUEUE_TAKE_QUEUE" in text
    for program in misnamed:
        assert f"go through the queue '{broker['queue']}', and TASKQUEUE_QUEUE is 'another'" in await refusal(
            program
        )


async def test_a_queue_can_be_taken_over(
    migrated: Programs, client: Client, broker: dict[str, Any], another: dict[str, Any]
) -> None:
    api = await migrated.start(API, **broker)
    await api.url()
    assert await api.stop() == 0
    taken = await migrated.start(API, **broker | another, take_queue=True)
    url = await taken.url()
    await migrated.start(WORKER, **broker | another)
    [task] = await client.until_final(url, await client.submit(url, "sum", {"numbers": [1, 2]}))
    assert task["result"] == {"output": 3}
    await refusal(await migrated.start(API, **broker))


async def test_a_store_can_be_given_another_queue(
    migrated: Programs, client: Client, broker: dict[str, Any]
) -> None:
    api = await migrated.start(API, **broker)
    id = await client.submit(await api.url(), "sum", {"numbers": [1, 2]})
    assert await api.stop() == 0
    other = broker | {"queue": f"{broker['queue']}-new"}
    api = await migrated.start(API, **other, take_queue=True)
    url = await api.url()
    await migrated.start(WORKER, **other)
    [task] = await client.until_final(url, id)
    assert task["result"] == {"output": 3}, "what was in the queue before is published again"
