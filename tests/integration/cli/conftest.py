"""The command line in the test's own process, beside a taskqueue there or a server that behaves badly."""

import asyncio
import json
import os
from dataclasses import dataclass
from typing import Any

import pytest
from tests.integration.system import System
from typer.testing import CliRunner

from taskqueue_api.live import catalogue
from taskqueue_cli import connection
from taskqueue_cli.app import app


@dataclass(frozen=True)
class Ended:
    """What a command wrote, and its exit code."""

    code: int
    output: str
    errors: str

    @property
    def said(self) -> str:
        """What it wrote to standard error, as one line: a usage error is wrapped, in a box."""
        return " ".join(self.errors.replace("│", "").split())

    @property
    def json(self) -> list[Any]:
        """A value a line."""
        return [json.loads(line) for line in self.output.splitlines()]


class CommandLine:
    """Runs commands against an API."""

    def __init__(self, url: str) -> None:
        self.url = url

    async def __call__(self, *arguments: str, typed: str = "", code: int | None = 0) -> Ended:
        """Run a command, which must end with this code; None is any."""
        # In a thread: the API is on this one's loop.
        result = await asyncio.to_thread(
            CliRunner().invoke,
            app,
            arguments,
            input=typed,
            env={"TASKQUEUE_URL": self.url, "NO_COLOR": None},
            prog_name="taskqueue",
        )
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert code in (None, result.exit_code), result.output
        return Ended(result.exit_code, result.stdout, result.stderr)


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)


@pytest.fixture(autouse=True)
def little_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "SHORT", 0.2)
    monkeypatch.setattr(connection, "LONG", 1)


@pytest.fixture
def fresh_catalogue(monkeypatch: pytest.MonkeyPatch) -> None:
    """The API looks for each request at what the workers can run."""
    monkeypatch.setattr(catalogue, "FRESH", 0)


@pytest.fixture
def taskqueue(system: System) -> CommandLine:
    return CommandLine(str(system.client.make_url("")).rstrip("/"))
