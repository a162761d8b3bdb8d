"""The programs as they are started from a shell: real processes, with their logs and exit codes."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
from tests.conformance.waiting import eventually

from taskqueue.settings import PREFIX
from taskqueue.task import FINAL

ROOT = Path(__file__).parents[2]

#: Seconds until a program must have ended, or have done what it was started for.
LIMIT = 30


def is_running(pid: int) -> bool:
    """Whether there is a process, and it is no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


@dataclass
class Program:
    """One process."""

    handle: asyncio.subprocess.Process
    folder: Path

    @property
    def output(self) -> str:
        return (self.folder / "stdout").read_text()

    @property
    def errors(self) -> str:
        return (self.folder / "stderr").read_text()

    @property
    def log(self) -> list[dict[str, Any]]:
        """Its log lines; all that it writes to standard error is JSON."""
        return [json.loads(line) for line in self.errors.splitlines()]

    def logged(self, message: str) -> list[dict[str, Any]]:
        return [line for line in self.log if message in line["message"]]

    async def says(self, message: str) -> dict[str, Any]:
        """Wait for a log line with this text."""

        def said() -> bool:
            assert self.handle.returncode is None or message in self.errors, self.errors
            return message in self.errors and self.errors.endswith("\n")

        await eventually(said)
        return self.logged(message)[0]

    async def url(self) -> str:
        """Where it serves, once it does."""
        return str((await self.says("serving on "))["message"].split()[-1])

    async def ended(self) -> int:
        """Its exit code, once it ends by itself."""
        async with asyncio.timeout(LIMIT):
            return await self.handle.wait()

    async def stop(self) -> int:
        """SIGTERM, and its exit code."""
        self.handle.send_signal(signal.SIGTERM)
        return await self.ended()

    async def kill(self) -> None:
        """SIGKILL."""
        if self.handle.returncode is None:
            self.handle.kill()
        await self.handle.wait()


@dataclass
class Programs:
    """Starts programs on one data folder."""

    folder: Path
    started: list[Program]

    @property
    def data(self) -> Path:
        return self.folder / "data"

    async def start(self, name: str, *arguments: str, installed: Sequence[Path] = (), **settings: Any) -> Program:
        """Start a console script; settings by their lower-case names.

        Args:
            installed: the folders of another installation, to run a module of; what is editable in this one is not
                seen then.
        """
        values: dict[str, Any] = {
            "data_dir": self.data,
            "port": 0,
            "log_format": "json",
            "retry_base": 0,
            "relay_interval": 0.1,
        }
        env = {PREFIX + key.upper(): str(value) for key, value in (values | settings).items()}
        script = Path(sys.executable).with_name(name)
        command = [sys.executable, "-S", "-m", name] if installed else [script]
        paths = [*map(str, installed), str(self.folder), str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
        folder = self.folder / f"{len(self.started)}-{name}"
        folder.mkdir()
        with (folder / "stdout").open("wb") as output, (folder / "stderr").open("wb") as errors:
            handle = await asyncio.create_subprocess_exec(
                *command,
                *arguments,
                env=os.environ | env | {"PYTHONPATH": os.pathsep.join(paths)},
                cwd=self.folder,
                stdout=output,
                stderr=errors,
            )
        program = Program(handle, folder)
        self.started.append(program)
        return program

    async def refused(self, name: str, *arguments: str, **settings: Any) -> str:
        """The one line with which a program says why it doesn't start; it exits 1."""
        program = await self.start(name, *arguments, **settings)
        assert await program.ended() == 1, program.errors
        assert "Traceback" not in program.errors
        [line] = [line for line in program.log if line["level"] not in {"INFO", "DEBUG"}]
        assert line["level"] == "ERROR"
        assert "\n" not in line["message"]
        return str(line["message"])

    async def end(self) -> None:
        for program in self.started:
            await program.kill()


class Client:
    """A client of an API that is somewhere else."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session

    async def submit(self, url: str, action: str, data: dict[str, Any] | None = None, **members: Any) -> str:
        body = {"action": action, "data": data or {}} | members
        async with self._session.post(f"{url}/tasks", json=body) as response:
            assert response.status == 202, await response.text()
            return str((await response.json())["id"])

    async def post(self, url: str, body: Any) -> Any:
        async with self._session.post(url, json=body) as response:
            assert response.ok, await response.text()
            return await response.json()

    async def get(self, url: str) -> Any:
        async with self._session.get(url) as response:
            return await response.json()

    async def tasks(self, url: str) -> dict[str, dict[str, Any]]:
        """The tasks, by id."""
        return {task["id"]: task for task in (await self.get(f"{url}/tasks?limit=1000"))["tasks"]}

    async def until_final(self, url: str, *ids: str) -> list[dict[str, Any]]:
        """Wait until these tasks are final, and return them."""
        tasks: dict[str, dict[str, Any]] = {}

        async def final() -> bool:
            nonlocal tasks
            tasks = await self.tasks(url)
            return all(tasks[id]["status"] in FINAL for id in ids)

        await eventually(final)
        return [tasks[id] for id in ids]
