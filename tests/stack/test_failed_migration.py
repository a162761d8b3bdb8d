"""A database that can't be migrated: nothing runs on it."""

import subprocess
from collections.abc import Iterator

import pytest
from tests.stack.stack import Stack, log_lines

pytestmark = pytest.mark.docker

_NEWER = """
import sqlite3
database = sqlite3.connect("/data/tasks.db")
database.execute("INSERT INTO schema_migrations VALUES (?, ?, ?, ?)", (9999, "future", "-", 0))
database.commit()
"""

#: What is done to the data volume beforehand, and what `migrate` must say about it.
DATABASES = {
    "corrupt": ("head -c 8192 /dev/urandom >/data/tasks.db", "/data/tasks.db"),
    "of a newer version": (
        f"rm -f /data/tasks.db && taskqueue-migrate && python -c '{_NEWER}'",
        "9999_future, newer than this version of taskqueue knows",
    ),
}


@pytest.fixture(scope="module")
def unmigrated(fresh_stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack of its own, with an empty data volume."""
    with Stack(f"{fresh_stack.name}-failing", tmp_path_factory.mktemp("failing")) as stack:
        stack.take_image_of(fresh_stack)
        yield stack


@pytest.mark.parametrize("database", DATABASES)
def test_after_a_failed_migration_api_and_worker_never_start(unmigrated: Stack, database: str) -> None:
    preparation, complaint = DATABASES[database]
    unmigrated.run("run", "--rm", "--no-deps", "-T", "migrate", "sh", "-c", preparation)

    up = [*unmigrated.compose.docker_compose_command(), "up", "--detach"]
    result = subprocess.run(up, cwd=unmigrated.compose.context, capture_output=True, text=True, check=False)

    assert result.returncode != 0
    assert "migrate" in result.stderr
    assert unmigrated.container("migrate").attrs["State"]["ExitCode"] == 1
    last = log_lines(unmigrated.container("migrate"))[-1]
    assert last["level"] == "ERROR"
    assert complaint in last["message"]
    for service in ("api", "worker"):
        state = unmigrated.container(service).attrs["State"]
        assert (state["Status"], state["StartedAt"]) == ("created", "0001-01-01T00:00:00Z")
