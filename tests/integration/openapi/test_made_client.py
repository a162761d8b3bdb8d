"""A client that openapi-python-client makes of the document, as a stranger to this project would."""

import asyncio
import importlib
import json
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from tests.integration.openapi.described import Described
from tests.integration.system import System

#: The name of the package that is made.
MADE = "made_of_the_document"


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path / MADE
    for name in [name for name in sys.modules if name.partition(".")[0] == MADE]:
        del sys.modules[name]


def part(name: str) -> ModuleType:
    return importlib.import_module(f"{MADE}.{name}")


async def make(described: Described, package: Path) -> str:
    """Make the client, and return what the tool says; any warning of its is a failure."""
    document = package.with_suffix(".json")
    document.write_text(json.dumps(described.document))
    scripts = Path(sys.executable).parent
    tool = await asyncio.create_subprocess_exec(
        scripts / "openapi-python-client",
        "generate",
        "--fail-on-warning",
        *("--meta", "none"),
        *("--path", str(document)),
        *("--output-path", str(package)),
        env=os.environ | {"PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}"},  # it runs ruff
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await tool.communicate()
    assert tool.returncode == 0, output.decode()
    return output.decode()


async def test_it_is_made_without_a_warning_and_submits_gets_and_finds(
    system: System, described: Described, package: Path
) -> None:
    assert "warning" not in (await make(described, package)).lower()
    models: Any = part("models")
    # None is numbered for want of a name, as `BulkBodyType0` would be.
    assert not [name for name in models.__all__ if re.search("[0-9]", name)]

    url = str(system.client.make_url("")).rstrip("/")
    async with system.worker(), part("client").Client(base_url=url) as client:

        async def ask(path: str, *args: Any, **parameters: Any) -> Any:
            return await part(f"api.{path}").asyncio(*args, client=client, **parameters)

        data = models.SubmitBodyData.from_dict({"text": "hello"})
        body = models.SubmitBody(action="uppercase", data=data, priority=models.Priority.HIGH, tags=["a"])
        task = await ask("tasks.submit_task", body=body, prefer="wait=20")
        assert isinstance(task, models.WholeTaskAnswer)
        assert (task.status, task.result) == (models.Status.COMPLETED, {"output": "HELLO"})

        again = await ask("tasks.get_task", task.id)
        assert (again.id, again.attempts[0].outcome) == (task.id, models.Outcome.OK)

        page = await ask("tasks.find_tasks", tag="a", status=[models.Status.COMPLETED])
        assert [found.id for found in page.tasks] == [task.id]

        deleted = await ask("bulk.delete_tasks", body=models.BulkBody(tag="a"))
        assert (deleted.count, deleted.dry_run) == (1, False)
        missing = await ask("tasks.get_task", task.id)
        assert isinstance(missing, models.ErrorAnswer)
        assert "no task has the id" in missing.error
