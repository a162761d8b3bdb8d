"""The real docker-compose.yml, up under a project of the tests' own, and what tests do to it."""

import http.client
import json
import os
import subprocess
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import docker
from docker.models.containers import Container
from testcontainers.compose import DockerCompose
from tests.stack.client import PATIENCE, Answer, request
from tests.stack.images import base_images

ROOT = Path(__file__).parents[2]

SERVICES = ("rabbitmq", "migrate", "api", "worker")

#: What the whole run uses: credentials with every character that a URL or a shell could trip over, a port that
#: nobody else has, and leases short enough to wait for.
SETTINGS = {
    "RABBITMQ_USER": "stack-test",
    "RABBITMQ_PASSWORD": "p@s/w#1%:x $y",
    "API_PORT": "0",
    "TASKQUEUE_LEASE": "3",
    "TASKQUEUE_SIMULATED_WORK": "0.05",
}

#: Variables that would come before those of the stack's own file.
_FOREIGN = ("COMPOSE_", "TASKQUEUE_", "RABBITMQ_", "PYTHON_IMAGE", "API_", "WORKER_", "STOP_")


def _foreign_variables() -> list[str]:
    return [name for name in os.environ if name.startswith(_FOREIGN)]


@dataclass
class Compose(DockerCompose):
    """Untouched by the variables of whoever runs the tests."""

    @cached_property
    def compose_command_property(self) -> list[str]:
        unset = [f"--unset={name}" for name in _foreign_variables()]
        return ["env", *unset, *super().compose_command_property]


class Stack:
    """One project of docker-compose.yml. Entered, it exists but isn't up; left, nothing of it remains."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self.image = f"{name}-app"
        self._env_file = folder / f"{name}.env"
        self.configure()
        self.compose = Compose(ROOT, "docker-compose.yml", env_file=str(self._env_file))
        #: How the containers were after the first start, by service, as `docker inspect` tells it.
        self.first_start: dict[str, dict[str, Any]] = {}
        self._docker = docker.from_env()

    def __enter__(self) -> "Stack":
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.run("down", "--volumes", "--remove-orphans", "--timeout", "5")
        finally:
            if any(self.image in tag for image in self._docker.images.list() for tag in image.tags):
                self._docker.images.remove(self.image, force=True)
            self._docker.close()

    # Compose

    def configure(self, **settings: str) -> None:
        """Write the stack's `.env`: what it always has, and these. Takes effect at the next `up`."""
        values = {"COMPOSE_PROJECT_NAME": self.name} | base_images(ROOT) | SETTINGS | settings
        self._env_file.write_text("".join(f"{name}='{value}'\n" for name, value in values.items()))

    def build(self) -> None:
        self.run("build", "--quiet")

    def take_image_of(self, other: "Stack") -> None:
        """Use the image that another stack has built."""
        self._docker.images.get(other.image).tag(self.image)

    def up(self, *arguments: str) -> None:
        """Start what doesn't run, and wait until the API serves."""
        self.run("up", "--detach", *arguments)
        until(lambda: self._readiness().get("status") == "ready", "the API to be ready")

    def start(self) -> None:
        """Bring it up for the first time."""
        self.compose.start()
        self.first_start = {name: self.container(name).attrs["State"] for name in SERVICES}

    def wait_for_broker(self) -> None:
        """Return once the API is connected to the broker."""
        until(lambda: self._readiness().get("broker") == "connected", "the API to be connected to the broker")

    def wait_for_workers(self) -> None:
        """Return once the worker in each container has started to consume."""
        until(lambda: all(map(_last_start, self.containers("worker"))), "the workers to start")

    def _readiness(self) -> dict[str, Any]:
        try:
            return dict(self.request("GET", "/readyz").body)
        except (OSError, http.client.HTTPException):
            return {}

    def run(self, *arguments: str) -> str:
        """Run `docker compose ARGUMENTS`, which must succeed."""
        return self._run([*self.compose.docker_compose_command(), *arguments], ROOT)

    def shell(self, command: str, folder: Path = ROOT) -> str:
        """Run a command line word for word, as a user of this stack would; it must succeed."""
        variables = {name: value for name, value in os.environ.items() if name not in _foreign_variables()}
        variables |= {
            "COMPOSE_PROJECT_NAME": self.name,
            "COMPOSE_FILE": str(ROOT / "docker-compose.yml"),
            "COMPOSE_ENV_FILES": str(self._env_file),
        }
        return self._run(["bash", "-euo", "pipefail", "-c", command], folder, variables)

    def _run(self, command: list[str], folder: Path, variables: dict[str, str] | None = None) -> str:
        result = subprocess.run(
            command,
            cwd=folder,
            env=variables,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        assert result.returncode == 0, f"{command}: exit code {result.returncode}\n{result.stdout}{result.stderr}"
        return result.stdout

    def logs(self, *services: str, tail: str = "all") -> str:
        return self.run("--ansi=never", "logs", "--no-color", "--tail", tail, *services)

    # Containers

    def containers(self, service: str) -> list[Container]:
        """The containers of a service, running or not."""
        labels = [f"com.docker.compose.project={self.name}", f"com.docker.compose.service={service}"]
        labels.append("com.docker.compose.oneoff=False")
        containers: list[Container] = self._docker.containers.list(all=True, filters={"label": labels})
        return containers

    def container(self, service: str) -> Container:
        """The one container of a service."""
        (container,) = self.containers(service)
        return container

    def worker_container(self, worker: str) -> Container:
        """The container of the worker with this id, by its log."""
        (container,) = (c for c in self.containers("worker") if f'"worker": "{worker}"' in _last_start(c))
        return container

    # The API

    @property
    def address(self) -> str:
        """Where the API is published: another port after each start of its container.

        Raises:
            ConnectionError: its container doesn't run.
        """
        bindings = self.container("api").ports.get("8080/tcp")
        if not bindings:
            raise ConnectionError("the API's container doesn't run")
        (binding,) = bindings
        return f"{binding['HostIp']}:{binding['HostPort']}"

    def request(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        return request(self.address, method, path, body, **headers)

    def submit(self, action: str, data: dict[str, Any], **more: Any) -> str:
        """POST a task, which must be accepted; its id."""
        answer = self.request("POST", "/tasks", {"action": action, "data": data} | more)
        assert answer.status == 202, answer
        return str(answer.body["id"])

    def submit_many(self, tasks: list[dict[str, Any]]) -> list[str]:
        """POST a batch, which must be accepted; the ids."""
        answer = self.request("POST", "/tasks/batch", {"tasks": tasks})
        assert (answer.status, answer.body["count"]) == (202, len(tasks)), answer
        return [task["id"] for task in answer.body["tasks"]]

    def task(self, id: str) -> Any:
        answer = self.request("GET", f"/tasks/{id}")
        assert answer.status == 200, answer
        return answer.body

    def completed(self, ids: Iterable[str]) -> list[Any]:
        """These tasks with their attempts, once all are completed."""
        tasks = {}
        for id in ids:
            until(lambda id=id: self._is_completed(tasks, id), f"task {id} to complete")
        return list(tasks.values())

    def _is_completed(self, tasks: dict[str, Any], id: str) -> bool:
        tasks[id] = self.task(id)
        assert tasks[id]["status"] not in {"failed", "cancelled"}, tasks[id]
        return bool(tasks[id]["status"] == "completed")


def until(condition: Callable[[], Any], what: str) -> Any:
    """Wait until the condition holds, and return what it returned."""
    deadline = time.monotonic() + PATIENCE
    while not (value := condition()):
        assert time.monotonic() < deadline, f"waited {PATIENCE} s for {what}"
        time.sleep(0.05)
    return value


def log_lines(container: Container) -> list[dict[str, Any]]:
    """The log of a container, each line of which must be JSON."""
    return [json.loads(line) for line in container.logs().decode().splitlines()]


def _last_start(container: Container) -> str:
    lines = [line for line in container.logs().decode().splitlines() if '"worker started"' in line]
    return lines[-1] if lines else ""
