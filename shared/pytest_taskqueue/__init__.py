"""The pytest plugin: the fixture `taskqueue`. It is loaded wherever taskqueue is installed, so it imports late."""

import sys
from collections.abc import AsyncIterator, Generator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from taskqueue.testing.queue import Queue

try:
    from pytest_asyncio import fixture as async_fixture
except ImportError:  # anyio's plugin runs it as it is
    async_fixture = pytest.fixture  # type: ignore[assignment]


@pytest.fixture
def taskqueue_settings() -> dict[str, Any]:
    """Settings of the fixture `taskqueue`, by name: to be overridden."""
    return {}


@async_fixture
async def taskqueue(
    taskqueue_settings: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> "AsyncIterator[Queue]":
    """A taskqueue of the test's own, see `taskqueue.testing.queue`.

    TASKQUEUE_URL names it meanwhile, and actions submit themselves to it.
    """
    from taskqueue.testing.queue import Queue  # noqa: PLC0415  # only for those who ask for it

    folder = tmp_path_factory.mktemp("taskqueue")
    with pytest.MonkeyPatch.context() as patch:
        async with Queue.open(folder, **taskqueue_settings) as queue:
            patch.setenv("TASKQUEUE_URL", queue.url)
            queue.client.bind()
            yield queue


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown() -> Generator[None, None, None]:
    """Forget what a test has registered that is defined within it: the next one may define the same again."""
    try:
        return (yield)
    finally:
        if "taskqueue.actions" in sys.modules:
            _forget_local_functions()


def _forget_local_functions() -> None:
    from taskqueue.actions import middlewares, registry  # noqa: PLC0415  # which the test has imported

    for name, registered in list(registry.ACTIONS.items()):
        if _is_local(registered.function):
            del registry.ACTIONS[name]
    middlewares.MIDDLEWARE[:] = [function for function in middlewares.MIDDLEWARE if not _is_local(function)]


def _is_local(function: object) -> bool:
    return "<locals>" in getattr(function, "__qualname__", "")
