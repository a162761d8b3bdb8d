"""Processes of a measurement: started, asked for what they cost (Linux's /proc), and stopped."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

_TICK = os.sysconf("SC_CLK_TCK")

#: Seconds that a process may take to end after SIGTERM.
_PATIENCE = 60


class FailedError(Exception):
    """A measurement can't be trusted: a process ended, or a task was lost. The text says which."""


@dataclass
class Process:
    """A process that was started here; `role` names it in the table, and several may share one."""

    role: str
    handle: asyncio.subprocess.Process
    log: Path

    def must_run(self) -> None:
        """Raise FailedError if it has ended."""
        if self.handle.returncode is not None:
            raise FailedError(f"{self.role} ended with {self.handle.returncode}:\n{self.last_lines()}")

    def last_lines(self) -> str:
        """Of its log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-20:])


@asynccontextmanager
async def running(
    role: str, command: Sequence[str | Path], *, log: Path, env: dict[str, str], cwd: Path
) -> AsyncIterator[Process]:
    """Run a command until left; its output goes to `log`, as a service's would.

    Raises:
        FailedError: it did not end with 0 after SIGTERM.
    """
    with log.open("ab") as output:
        handle = await asyncio.create_subprocess_exec(
            *command, stdout=output, stderr=output, env=os.environ | env, cwd=cwd, start_new_session=True
        )
    process = Process(role, handle, log)
    try:
        yield process
        process.must_run()
        handle.send_signal(signal.SIGTERM)
        async with asyncio.timeout(_PATIENCE):
            await handle.wait()
        if handle.returncode:
            process.must_run()
    finally:
        if handle.returncode is None:
            os.killpg(handle.pid, signal.SIGKILL)
            await handle.wait()


async def run(command: Sequence[str | Path], *, log: Path, env: dict[str, str], cwd: Path) -> None:
    """Run a command until it ends.

    Raises:
        FailedError: it did not end with 0.
    """
    with log.open("ab") as output:
        handle = await asyncio.create_subprocess_exec(
            *command, stdout=output, stderr=output, env=os.environ | env, cwd=cwd
        )
    if await handle.wait():
        Process(str(command[-1]), handle, log).must_run()


def family(pid: int) -> list[int]:
    """The process and all that descend from it."""
    pids = [pid]
    for parent in pids:
        try:
            for thread in Path(f"/proc/{parent}/task").iterdir():
                pids += [int(child) for child in (thread / "children").read_text().split()]
        except OSError:  # it has just ended
            continue
    return pids


def cpu_seconds(pid: int) -> float:
    """CPU time that the process and its descendants have had, those included that have ended."""
    ticks = 0
    for member in family(pid):
        try:
            fields = Path(f"/proc/{member}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        ticks += sum(int(field) for field in fields[11:15])
    return ticks / _TICK


def peak_memory(pid: int) -> int:
    """The most bytes that the process and its descendants have had resident, added up."""
    kilobytes = 0
    for member in family(pid):
        try:
            for line in Path(f"/proc/{member}/status").read_text().splitlines():
                if line.startswith("VmHWM:"):
                    kilobytes += int(line.split()[1])
        except OSError:
            continue
    return kilobytes * 1024


def resident(pid: int) -> int:
    """Bytes that a process has resident."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def open_files(pid: int) -> int:
    """File descriptors that a process has open, sockets among them."""
    return sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())


def threads(pid: int) -> int:
    """Threads that a process has."""
    return sum(1 for _ in Path(f"/proc/{pid}/task").iterdir())
