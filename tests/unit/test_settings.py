"""Settings: their names in the environment, and what becomes of those that make no sense."""

import os
import shutil
import subprocess
import sysconfig
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from taskqueue.process import run_command
from taskqueue.settings import PREFIX, Settings

COMMANDS = ["taskqueue-api", "taskqueue-worker", "taskqueue-migrate", "taskqueue-embedded"]


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith(PREFIX)]:
        monkeypatch.delenv(name)


def run(command: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    path = shutil.which(command, path=sysconfig.get_path("scripts"))
    assert path is not None
    return subprocess.run(
        [path], cwd=folder, env=os.environ | environment, capture_output=True, text=True, timeout=30, check=False
    )


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("DATA_DIR", "/srv/x", Path("/srv/x")),
        ("PORT", "0", 0),
        ("PUBLISH_TIMEOUT", "0.25", 0.25),
        ("CONSUMERS", "7", 7),
        ("HANDLERS", "a,b.c", "a,b.c"),
        ("HEALTH_FILE", "/run/healthy", Path("/run/healthy")),
        ("LOG_FORMAT", "json", "json"),
    ],
)
def test_a_setting_is_read_from_its_environment_variable(
    monkeypatch: pytest.MonkeyPatch, name: str, text: str, value: Any
) -> None:
    monkeypatch.setenv(f"TASKQUEUE_{name}", text)
    assert getattr(Settings(), name.lower()) == value


def test_other_environment_variables_are_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PORT", "DATA_DIR", "HOST"):
        monkeypatch.setenv(name, "1")
    assert Settings() == Settings.model_construct()


def test_the_database_is_in_the_data_folder() -> None:
    assert Settings(data_dir=Path("/srv")).database == Path("/srv/tasks.db")


def test_the_brokers_password_is_not_printed() -> None:
    assert "hunter2" not in repr(Settings.model_validate({"broker_url": "amqp://me:hunter2@host/"}))


BAD = [
    ("RECONCILE_AFTER", "inf"),
    ("DISPATCH_LEASE", "1.5"),
    ("PORT", "70000"),
    ("PORT", "-1"),
    ("PORT", "http"),
    ("CONSUMERS", "0"),
    ("CONSUMERS", "2.5"),
    ("PREFETCH", "0"),
    ("QUEUE", ""),
    ("QUEUE", "a b"),
    ("QUEUE", "x" * 201),
    ("LEASE", "0"),
    ("LEASE", "nan"),
    ("LEASE", "inf"),
    ("RECONCILE_AFTER", "nan"),
    ("WRITE_TIMEOUT", "-1"),
    ("TASK_TIMEOUT", "100000"),
    ("MAX_ATTEMPTS", "0"),
    ("LOG_LEVEL", "LOUD"),
    ("LOG_FORMAT", "xml"),
]


@pytest.mark.parametrize(("name", "text"), BAD)
def test_a_value_that_makes_no_sense_is_refused(monkeypatch: pytest.MonkeyPatch, name: str, text: str) -> None:
    monkeypatch.setenv(f"TASKQUEUE_{name}", text)
    with pytest.raises(ValidationError) as caught:
        Settings()
    assert [error["loc"] for error in caught.value.errors()] == [(name.lower(),)]


@pytest.mark.parametrize("command", COMMANDS)
def test_an_unknown_setting_ends_each_process_with_one_line(tmp_path: Path, command: str) -> None:
    ended = run(command, tmp_path, TASKQUEUE_PROT="1", TASKQUEUE_HOTS="2")
    assert ended.returncode == 78
    [line] = ended.stderr.splitlines()
    assert "unknown setting TASKQUEUE_HOTS, TASKQUEUE_PROT" in line
    assert not list(tmp_path.iterdir())


#: What Kubernetes injects beside services called `taskqueue` and `taskqueue-api`.
KUBERNETES = {
    "TASKQUEUE_PORT": "tcp://10.0.0.1:8080",
    "TASKQUEUE_PORT_8080_TCP": "tcp://10.0.0.1:8080",
    "TASKQUEUE_PORT_8080_TCP_ADDR": "10.0.0.1",
    "TASKQUEUE_PORT_8080_TCP_PORT": "8080",
    "TASKQUEUE_PORT_8080_TCP_PROTO": "tcp",
    "TASKQUEUE_SERVICE_HOST": "10.0.0.1",
    "TASKQUEUE_SERVICE_PORT": "8080",
    "TASKQUEUE_SERVICE_PORT_HTTP": "8080",
    "TASKQUEUE_API_PORT": "udp://[fd00::1]:53",
    "TASKQUEUE_API_PORT_53_UDP": "udp://[fd00::1]:53",
    "TASKQUEUE_API_SERVICE_HOST": "fd00::1",
}


def test_where_the_client_finds_the_api_is_no_setting_and_ends_no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TASKQUEUE_URL", "http://tasks.example:8080")
    read: list[Settings] = []
    run_command(read.append)
    assert read == [Settings.model_construct()]


@pytest.mark.parametrize("command", COMMANDS)
def test_what_kubernetes_tells_of_a_service_ends_no_process_and_is_told_in_one_line(
    tmp_path: Path, command: str
) -> None:
    # Where there is no database, the services end, but not for their settings; the others do what they are for.
    ended = run(command, tmp_path, **KUBERNETES, TASKQUEUE_DATA_DIR="/proc", TASKQUEUE_LOG_FORMAT="text")
    assert ended.returncode == 1
    [line] = [line for line in ended.stderr.splitlines() if "INFO" in line]
    assert line.endswith(", ".join(sorted(KUBERNETES)))


def test_the_port_is_then_the_usual_one(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in KUBERNETES.items():
        monkeypatch.setenv(name, value)
    read: list[Settings] = []
    run_command(read.append)
    assert read == [Settings.model_construct()]
    assert os.environ["TASKQUEUE_PORT"] == "tcp://10.0.0.1:8080"  # a handler may look for the service


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "tcp:8080"),
        ("PORT", "http://10.0.0.1:8080"),
        ("PORT", "10.0.0.1:8080"),
        ("SERVICE_HOSTS", "10.0.0.1"),
        ("PORT_8080", "1"),
        ("HOST_PORT", "8080"),
    ],
)
def test_what_only_looks_like_that_is_refused_as_ever(tmp_path: Path, name: str, value: str) -> None:
    ended = run("taskqueue-migrate", tmp_path, **{f"TASKQUEUE_{name}": value})
    assert ended.returncode == 78
    [line] = ended.stderr.splitlines()
    assert f"TASKQUEUE_{name}" in line


def test_bad_values_end_a_process_with_one_line_that_names_them_all(tmp_path: Path) -> None:
    ended = run("taskqueue-migrate", tmp_path, TASKQUEUE_PORT="x", TASKQUEUE_LEASE="0")
    assert ended.returncode == 78
    [line] = ended.stderr.splitlines()
    assert "TASKQUEUE_PORT: " in line
    assert "TASKQUEUE_LEASE: " in line
    assert not list(tmp_path.iterdir())
