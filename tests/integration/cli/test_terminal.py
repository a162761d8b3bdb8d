"""On a terminal: colours, the live screen, Ctrl-C, completion."""

import asyncio
import os
import pty
import re
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from tests.conformance.waiting import eventually
from tests.integration.cli.conftest import CommandLine
from tests.integration.system import System
from typer.testing import CliRunner

from taskqueue_cli.app import app

#: Its own, so that a command has to see to it by itself: as a shell without job control, for what runs in the
#: background.
IGNORING_CTRL_C = ["sh", "-c", 'trap "" INT; exec "$@"', "sh"]

#: Sends Ctrl-C's signal when the first of the commands is imported.
AS_IT_STARTS = """
import os, signal, sys

class Finder:
    def find_spec(name, path, target=None):
        if name == "taskqueue_cli.acting":
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Finder)
"""

#: Seconds that a command may take to end.
LIMIT = 30


@dataclass
class Terminal:
    """A terminal, and what was written to it."""

    command: int
    _screen: int
    _read: bytearray = field(default_factory=bytearray)

    @classmethod
    @contextmanager
    def opened(cls) -> Iterator["Terminal"]:
        screen, command = pty.openpty()
        terminal = cls(command, screen)
        reading = threading.Thread(target=terminal._take)
        reading.start()
        try:
            yield terminal
        finally:
            os.close(command)  # the reader's end, once the command's own has ended
            reading.join()
            os.close(screen)

    @property
    def text(self) -> str:
        return self._read.decode(errors="replace")

    def _take(self) -> None:
        try:
            while part := os.read(self._screen, 65536):
                self._read += part
        except OSError:  # the other side is closed
            return


async def start(
    taskqueue: CommandLine, terminal: Terminal, *arguments: str, **env: str
) -> asyncio.subprocess.Process:
    """Start a command that writes to a terminal, and to nothing else."""
    return await asyncio.create_subprocess_exec(
        *IGNORING_CTRL_C,
        Path(sys.executable).with_name("taskqueue"),
        *arguments,
        env=os.environ | {"TASKQUEUE_URL": taskqueue.url, "TERM": "xterm-256color", "COLUMNS": "120"} | env,
        stdout=terminal.command,
        stderr=terminal.command,
    )


async def ended(process: asyncio.subprocess.Process) -> int:
    async with asyncio.timeout(LIMIT):
        return await process.wait()


@pytest.mark.parametrize("env", [{}, {"NO_COLOR": "1"}])
async def test_colours_are_for_terminals_that_want_them(
    taskqueue: CommandLine, system: System, env: dict[str, str]
) -> None:
    await system.submit("x")
    with Terminal.opened() as terminal:
        assert await ended(await start(taskqueue, terminal, "list", **env)) == 0
    assert "queued" in terminal.text
    assert ("\x1b[34m" in terminal.text) == (not env)


async def test_a_file_of_tasks_is_submitted_behind_a_bar_that_leaves_the_terminal(
    taskqueue: CommandLine, tmp_path: Path
) -> None:
    (tmp_path / "tasks.ndjson").write_text('{"action": "x"}\n' * 1500)
    with Terminal.opened() as terminal:
        process = await start(taskqueue, terminal, "submit", "--batch", str(tmp_path / "tasks.ndjson"))
        assert await ended(process) == 0
    for step in ("checking", "submitting"):
        assert re.search(rf"{step} [^\r]*1500/1500", terminal.text)
    assert terminal.text.endswith("\x1b[2K1,500 tasks submitted\r\n")  # on the line that the bar had


async def test_the_live_screen_follows_and_ctrl_c_gives_the_terminal_back(
    taskqueue: CommandLine, system: System
) -> None:
    with Terminal.opened() as terminal:
        process = await start(taskqueue, terminal, "top", "--interval", "0.1")
        await eventually(lambda: "newest failures" in terminal.text)
        id = await system.submit("refuse")
        async with system.worker():
            await eventually(lambda: id in terminal.text)
        process.send_signal(signal.SIGINT)
        assert await ended(process) == 130
    assert terminal.text.startswith("\x1b[?1049h")  # a screen of its own
    assert terminal.text.endswith("\x1b[?25h\x1b[?1049l")  # the cursor is shown again, and the screen as it was
    assert "Traceback" not in terminal.text


async def test_the_live_screen_lives_on_while_nobody_answers(taskqueue: CommandLine, system: System) -> None:
    with Terminal.opened() as terminal:
        process = await start(taskqueue, terminal, "top", "--interval", "0.1")
        await eventually(lambda: "newest failures" in terminal.text)
        await system.client.close()
        await eventually(lambda: "doesn't answer" in terminal.text)
        process.send_signal(signal.SIGTERM)
        assert await ended(process) == 128 + signal.SIGTERM
    assert "\x1b[?1049l" in terminal.text


async def test_ctrl_c_ends_a_watch_without_a_mess(taskqueue: CommandLine, system: System) -> None:
    with Terminal.opened() as terminal:
        process = await start(taskqueue, terminal, "watch")

        async def told() -> bool:
            await system.submit("x")
            return "queued" in terminal.text

        await eventually(told)
        process.send_signal(signal.SIGINT)
        assert await ended(process) == 130
    assert "Traceback" not in terminal.text
    assert "Aborted" not in terminal.text


async def test_ctrl_c_while_it_is_still_starting_is_no_mess_either(taskqueue: CommandLine, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(AS_IT_STARTS)
    with Terminal.opened() as terminal:
        assert await ended(await start(taskqueue, terminal, "list", PYTHONPATH=str(tmp_path))) == 130
    assert terminal.text == ""


@pytest.mark.parametrize(
    ("words", "wanted"), [("taskqueue sub", "submit"), ("taskqueue list --status comp", "completed")]
)
def test_the_shell_completes_commands_and_choices(words: str, wanted: str) -> None:
    env = {
        "_TASKQUEUE_COMPLETE": "complete_bash",
        "COMP_WORDS": words,
        "COMP_CWORD": str(words.count(" ")),
    }
    assert wanted in CliRunner().invoke(app, prog_name="taskqueue", env=env).output.split()


def test_the_version_is_told() -> None:
    assert CliRunner().invoke(app, ["--version"]).output.startswith("taskqueue 0")
