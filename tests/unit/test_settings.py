"""Settings: their names in the environment, and what becomes of those that make no sense."""

import os
import shutil
import subprocess
import sysconfig
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

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


def test_bad_values_end_a_process_with_one_line_that_names_them_all(tmp_path: Path) -> None:
    ended = run("taskqueue-migrate", tmp_path, TASKQUEUE_PORT="x", TASKQUEUE_LEASE="0")
    assert ended.returncode == 78
    [line] = ended.stderr.splitlines()
    assert "TASKQUEUE_PORT: " in line
    assert "TASKQUEUE_LEASE: " in line
    assert not list(tmp_path.iterdir())
