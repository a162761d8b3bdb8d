"""What every tier of tests shares: tests marked `docker` are skipped without an engine, but fail in CI."""

import functools
import os

import docker
import pytest
from docker.errors import DockerException

# Its reaper is one more image to pull: fixtures remove their own containers.
os.environ.setdefault("TESTCONTAINERS_RYUK_DISABLED", "true")
os.environ.setdefault("TESTCONTAINERS_HOST_OVERRIDE", "127.0.0.1")


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
