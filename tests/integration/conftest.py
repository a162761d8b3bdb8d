"""A taskqueue in the test's own process, with short waits."""

import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from uuid import uuid4

import aiohttp
import pytest
from tests.integration import actions
from tests.integration.programs import Client, Programs
from tests.integration.system import System, quick_settings

from taskqueue.settings import PREFIX
from taskqueue_migrate.runner import migrate


@pytest.fixture(autouse=True)
def no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith(PREFIX)]:
        monkeypatch.delenv(name)


@pytest.fixture(autouse=True)
def forgotten_actions() -> Iterator[None]:
    yield
    actions.forget()


@pytest.fixture
async def system(tmp_path: Path) -> AsyncIterator[System]:
    async with System.open(quick_settings(tmp_path)) as system:
        yield system


@pytest.fixture
async def programs(tmp_path: Path) -> AsyncIterator[Programs]:
    programs = Programs(tmp_path, [])
    yield programs
    await programs.end()


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    async with aiohttp.ClientSession() as session:
        yield Client(session)


@pytest.fixture
def queue() -> str:
    return f"test-{uuid4().hex[:12]}"


@pytest.fixture
def migrated(programs: Programs) -> Programs:
    """Programs whose database is there."""
    programs.data.mkdir()
    migrate(programs.data / "tasks.db")
    return programs
