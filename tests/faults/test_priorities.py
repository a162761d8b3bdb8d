"""Priorities, over a real RabbitMQ."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.conformance.server import RabbitServer
from tests.conformance.waiting import eventually
from tests.integration import actions
from tests.integration.system import System, quick_settings
from tests.integration.test_submitting import overtakes

from taskqueue.broker import open_broker

pytestmark = pytest.mark.docker


@pytest.fixture
async def system(rabbit: RabbitServer, tmp_path: Path) -> AsyncIterator[System]:
    """All in one process, but for RabbitMQ."""
    settings = quick_settings(tmp_path, publish_timeout=5)
    try:
        async with System.open(settings, open_broker(rabbit.url, f"priority-{tmp_path.name}")) as system:
            await eventually(lambda: system.broker.state == "connected")
            yield system
    finally:
        actions.forget()


async def test_a_backlog_holds_up_a_high_one_by_the_prefetched_few_only(system: System) -> None:
    await overtakes(system, prefetched=system.settings.prefetch)
    assert actions.notes[-1] == "low"
