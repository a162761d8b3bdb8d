"""A taskqueue in the test's own process, and clients of it."""

import os
from collections.abc import AsyncIterator

import pytest
from tests.integration.system import System

from taskqueue.client import AsyncClient


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)


@pytest.fixture
def url(system: System) -> str:
    return str(system.client.make_url("")).rstrip("/")


@pytest.fixture
async def client(url: str) -> AsyncIterator[AsyncClient]:
    async with AsyncClient(url) as client:
        yield client
