"""A user's terminal: in a folder of its own, with taskqueue's clone at home, and what PyPI would bring at hand."""

import contextlib
import os
import re
import shlex
import signal
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.conformance.server import free_port
from tests.stack.client import PATIENCE, Answer, request
from tests.stack.documents import Example, File

ROOT = Path(__file__).parents[2]

#: Variables of whoever runs the tests.
_FOREIGN = re.compile(
    r"TASKQUEUE_|PYTEST|PYTHON|COMPOSE_|RABBITMQ_|API_|BASE_IMAGE|MYPY|VIRTUAL_ENV|.*_proxy", re.IGNORECASE
)

#: Plugins of this environment that take long to load, and that the project doesn't use.
_UNNEEDED = ("hypothesispytest", "schemathesis", "xdist", "anyio", "timeout")

#: How long a command may take that builds an image or starts it all, in seconds.
_LIMIT = 600


@dataclass
class Terminal:
    """Types commands, as a user does. What runs in the foreground until Ctrl-C runs on meanwhile."""

    home: Path
    #: A word of which Docker makes the names of images and containers.
    name: str
    port: int = field(default_factory=free_port)
    _servers: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.folder = self.home / "empty"
        self.folder.mkdir()
        (self.home / "taskqueue").symlink_to(ROOT)
        self.environment = {name: value for name, value in os.environ.items() if not _FOREIGN.match(name)}
        self.environment |= {
            "HOME": str(self.home),
            "DOCKER_CONFIG": os.environ.get("DOCKER_CONFIG", str(Path.home() / ".docker")),
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            # Nothing is fetched: what would be is at hand, in the versions that are pinned here.
            "PIP_NO_INDEX": "1",
            "PIP_NO_BUILD_ISOLATION": "0",
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            "PYTEST_ADDOPTS": " ".join(f"-pno:{name}" for name in _UNNEEDED),
            # Others may use the documented port, and the documented names.
            "TASKQUEUE_PORT": str(self.port),
            "TASKQUEUE_URL": f"http://127.0.0.1:{self.port}",
            "API_PORT": str(self.port),
            "COMPOSE_PROJECT_NAME": self.name,
            "IMAGE": f"{self.name}-base",
            "BASE_IMAGE": f"{self.name}-base",
        }

    def follow(self, steps: list[Example | File]) -> None:
        """Do what a tutorial says, and see that it answers as it says."""
        for step in steps:
            if isinstance(step, File):
                self.write(step)
            else:
                written = self.type(step.command)
                assert not step.output or step.matches(written), f"{step.command}\n{written}"

    def type(self, command: str) -> str:
        """Run a command line, which must succeed; what it writes."""
        match shlex.split(command):
            case ["cd", folder]:
                self.folder /= folder
            case [".", activate]:
                self._activate((self.folder / activate).parents[1])
            case ["taskqueue", "dev", *_]:
                self._serve(command)
            case ["grep", "RABBITMQ_IMAGE", *_] if not _has_stand_ins():
                pass  # the public image is used
            case _:
                return self._run(command)
        return ""

    def write(self, file: File) -> None:
        """Write a file; the development server, where it runs, has taken it up then."""
        begun = self._begun()
        path = self.folder / file.path
        path.write_text(file.text)
        if self._servers:
            self._until(lambda: self._begun() > begun, f"{path.name} to be noticed")

    def stop_serving(self) -> None:
        """Ctrl-C, where something serves in the foreground."""
        for server in self._servers:
            server.send_signal(signal.SIGINT)
            assert server.wait(PATIENCE) == 0, self._log()
        self._servers.clear()

    def end(self) -> None:
        """Leave nothing behind, whatever has happened."""
        for server in self._servers:
            os.killpg(server.pid, signal.SIGKILL)
            server.wait()

    def ask(self, method: str, path: str, body: Any = None) -> Answer:
        """A request to the API that this terminal has started."""
        return request(f"127.0.0.1:{self.port}", method, path, body)

    def _run(self, command: str) -> str:
        ended = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", command],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=_LIMIT,
            check=False,
        )
        assert ended.returncode == 0, f"{command}: exit code {ended.returncode}\n{ended.stdout}"
        return ended.stdout

    def _activate(self, venv: Path) -> None:
        """As `activate` does; what PyPI would bring is linked beside, apart from taskqueue itself."""
        self.environment |= {"PATH": f"{venv / 'bin'}:{self.environment['PATH']}", "VIRTUAL_ENV": str(venv)}
        shelf = self.home / "packages"
        shelf.mkdir()
        for installed in Path(sysconfig.get_path("purelib")).iterdir():
            if not installed.name.startswith(("taskqueue", "_taskqueue", "pip", "setuptools")):
                (shelf / installed.name).symlink_to(installed)
        [packages] = venv.glob("lib/python*/site-packages")
        (packages / "shelf.pth").write_text(f"{shelf}\n")

    def _serve(self, command: str) -> None:
        with (self.home / "served").open("ab") as log:
            self._servers.append(
                subprocess.Popen(
                    ["bash", "-c", f"exec {command}"],
                    cwd=self.folder,
                    env=self.environment,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
            )
        self._until(lambda: self._begun() == 1, "the development server")

    def _log(self) -> str:
        with contextlib.suppress(FileNotFoundError):
            return (self.home / "served").read_text()
        return ""

    def _begun(self) -> int:
        return self._log().count("taskqueue is serving on")

    def _until(self, condition: Callable[[], object], what: str) -> None:
        deadline = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < deadline, f"waited {PATIENCE} s for {what}\n{self._log()}"
            time.sleep(0.05)


def _has_stand_ins() -> bool:
    env = ROOT / ".env"
    return env.exists() and "RABBITMQ_IMAGE=" in env.read_text()
