"""A taskqueue with small limits, and what its document says of it."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.integration.openapi.described import Described
from tests.integration.system import HANDLERS, System, quick_settings


@pytest.fixture
async def system(tmp_path: Path) -> AsyncIterator[System]:
    settings = quick_settings(
        tmp_path,
        handlers=f"{HANDLERS},tests.integration.openapi.actions",
        max_body_bytes=20_000,
        max_batch_bytes=30_000,
        max_wait=0.2,
        request_timeout=2,
    )
    async with System.open(settings) as system:
        yield system


@pytest.fixture
async def described(system: System) -> Described:
    return await Described.read(system)
