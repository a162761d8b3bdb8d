"""What every tier of tests shares: tests marked `docker` are skipped without an engine, but fail in CI."""

import functools
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

import docker
import pytest
from docker.errors import DockerException
from xdist.remote import Producer
from xdist.scheduler import LoadFileScheduling

if TYPE_CHECKING:
    from tests.conformance.server import RabbitServer

# Its reaper is one more image to pull: fixtures remove their own containers.
os.environ.setdefault("TESTCONTAINERS_RYUK_DISABLED", "true")
os.environ.setdefault("TESTCONTAINERS_HOST_OVERRIDE", "127.0.0.1")

STACK = "tests/stack/"
#: The folders whose tests use compose.
COMPOSED = (STACK, "tests/project/")


@functools.cache
def missing_docker() -> str | None:
    """Why there is no Docker engine, or None if there is one."""
    try:
        client = docker.from_env(timeout=10)
    except DockerException as error:
        return f"no Docker engine: {error}"
    try:
        client.ping()
    except DockerException as error:
        return f"no Docker engine: {error}"
    finally:
        client.close()
    return None


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("docker") and (reason := missing_docker()):
        if os.environ.get("CI"):
            pytest.fail(reason, pytrace=False)
        pytest.skip(reason)


@pytest.fixture(scope="session")
def rabbit() -> "Iterator[RabbitServer]":
    """One RabbitMQ; each test has a queue of its own there."""
    from tests.conformance.server import RabbitServer  # reads the environment that is set above

    server = RabbitServer("4.3")
    server.start()
    try:
        server.wait_ready()
        yield server
    finally:
        server.remove()


class FileByFile(LoadFileScheduling):
    """Gives each of several test processes a file at a time, and one of them all that use compose."""

    def _split_scope(self, nodeid: str) -> str:
        return STACK if nodeid.startswith(COMPOSED) else str(super()._split_scope(nodeid))


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> FileByFile:
    return FileByFile(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    # They take longest, so they come first, and nobody waits for them at the end. The Makefile keeps this order.
    items.sort(key=lambda item: not item.nodeid.startswith(COMPOSED))
