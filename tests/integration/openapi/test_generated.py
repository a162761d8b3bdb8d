"""schemathesis reads the document of a running API and sends what it makes of it: good requests, which must be
accepted, and bad ones, which must be refused; each answer is held against the document."""

from collections.abc import AsyncGenerator, AsyncIterator
from pathlib import Path

import pytest
from tests.integration.openapi.generated import run_schemathesis
from tests.integration.system import System, quick_settings

from taskqueue.task import Event
from taskqueue_api.live.watcher import Watcher


@pytest.fixture
async def system(tmp_path: Path) -> AsyncIterator[System]:
    """With the usual limits, but for waiting. What an action takes stands in no document, and is not checked; nor
    does a task wait for a worker that knows its action."""
    async with System.open(
        quick_settings(tmp_path, max_wait=0.2, check_actions="off", unknown_action_after=0)
    ) as system:
        yield system


@pytest.fixture
def streams_that_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """It reads answers whole: a stream ends at its first heartbeat, and is tested like the rest."""
    follow = Watcher.follow

    async def follow_while_busy(self: Watcher, after: int, heartbeat: float) -> AsyncGenerator[list[Event], None]:
        async for news in follow(self, after, heartbeat / 100):
            yield news
            if not news:
                return

    monkeypatch.setattr(Watcher, "follow", follow_while_busy)


@pytest.mark.usefixtures("streams_that_end")
async def test_schemathesis_finds_nothing(system: System, tmp_path: Path) -> None:
    async with system.worker():
        code, output = await run_schemathesis(str(system.client.make_url("/openapi.json")), tmp_path)
    print(output)
    assert code == 0
