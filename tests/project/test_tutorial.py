"""docs/tutorial.md from its first line to its last, and what else its project is to stand."""

import contextlib
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import docker
import pytest
from docker.errors import ImageNotFound
from tests.conftest import missing_docker
from tests.project.terminal import ROOT, Terminal
from tests.stack.documents import Example, tutorial
from tests.stack.stack import until

# A slow machine takes its time to build an image.
pytestmark = pytest.mark.timeout(900)

SECTIONS = tutorial(ROOT / "docs" / "tutorial.md")
DEPLOY, DOWN = "Deploy it", "Take it down"

#: Submits that don't fit their action, each of which a type checker is to refuse.
WRONG = """
from shop.labels import draw_label

async def main() -> None:
    await draw_label.submit(width=200)
    await draw_label.submit(text="Tea", width="200")
    label = await (await draw_label.submit(text="Tea")).result()
    label.length
"""

#: What the project's docker-compose.yml says as taskqueue's own does.
CONFINED = (
    *("cap_drop", "depends_on", "healthcheck", "hostname", "init", "logging", "mem_limit", "pids_limit", "ports"),
    *("read_only", "restart", "security_opt", "stop_grace_period", "tmpfs"),
)

#: Kills the child processes of a worker, beside which it runs.
KILL_CHILDREN = """
import os, pathlib, signal
for folder in pathlib.Path("/proc").glob("[0-9]*"):
    if b"taskqueue_worker.children" in (folder / "cmdline").read_bytes():
        os.kill(int(folder.name), signal.SIGKILL)
        print(folder.name)
"""


@pytest.fixture(scope="module")
def terminal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Terminal]:
    """A terminal in which everything is typed that comes before the project is deployed."""
    terminal = Terminal(tmp_path_factory.mktemp("home"), f"taskqueue-project-{uuid4().hex[:8]}")
    try:
        for heading, steps in SECTIONS.items():
            if heading == DEPLOY:
                break
            terminal.follow(steps)
        terminal.stop_serving()
        yield terminal
    finally:
        terminal.end()


@pytest.fixture(scope="module")
def deployed(terminal: Terminal) -> Iterator[Terminal]:
    """The same, where the project is deployed; nothing of it remains."""
    if reason := missing_docker():
        pytest.skip(reason)
    try:
        terminal.follow(SECTIONS[DEPLOY])
        yield terminal
    finally:
        terminal.type("docker compose down --volumes --timeout 5")
        client = docker.from_env()
        for image in (f"{terminal.name}-app", f"{terminal.name}-base"):
            with contextlib.suppress(ImageNotFound):
                client.images.remove(image, force=True)
        client.close()


def test_it_leads_to_a_project_that_is_tested_and_runs(terminal: Terminal) -> None:
    assert list(SECTIONS)[-2:] == [DEPLOY, DOWN]
    assert (terminal.folder / "order.py").exists()


def test_mypy_and_pyright_know_the_types_of_a_submit(terminal: Terminal) -> None:
    (terminal.folder / "wrong.py").write_text(WRONG)
    python = terminal.home / "empty/.venv/bin/python"
    mypy = refusals(terminal, python, "-m", "mypy", "--strict", "order.py", "wrong.py")
    pyright = refusals(terminal, Path(sys.executable).with_name("pyright"), "--pythonpath", str(python), ".")
    assert mypy == pyright == {("wrong.py", line) for line in (5, 6, 8)}


def refusals(terminal: Terminal, *command: str | Path) -> set[tuple[str, int]]:
    """Where a type checker finds errors."""
    ended = subprocess.run(
        command, cwd=terminal.folder, env=terminal.environment, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 1, ended.stdout + ended.stderr
    return {
        (Path(name).name, int(line))
        for name, line in re.findall(r"^\s*(\S+\.py):(\d+)(?::\d+)? ?[-:] error", ended.stdout, re.MULTILINE)
    }


def test_the_projects_readme_has_no_command_that_the_tutorial_has_not(terminal: Terminal) -> None:
    typed = [step.command for steps in SECTIONS.values() for step in steps if isinstance(step, Example)]
    told = re.findall(r"^ {4}(.+)$", (terminal.folder / "README.md").read_text(), re.MULTILINE)
    assert len(told) > 5
    assert [command for command in told if command not in typed] == []


@pytest.mark.docker
def test_it_leads_to_production(deployed: Terminal) -> None:
    [first, second] = deployed.ask("GET", "/workers").body["workers"]
    for worker in (first, second):
        assert worker["actions"] == ["count_primes", "draw_label", "greet"]
        assert worker["versions"]["shop"] == "0.1.0"
    tasks = deployed.ask("GET", "/tasks?tag=order-7").body["tasks"]
    assert [task["status"] for task in tasks] == ["completed"] * 2


@pytest.mark.docker
def test_a_process_that_is_killed_there_costs_an_attempt_and_no_neighbour(deployed: Terminal) -> None:
    body = {"action": "count_primes", "data": {"below": 100_000_000}, "max_attempts": 1}
    [lost, stopped] = [deployed.ask("POST", "/tasks", body).body["id"] for _ in range(2)]
    for id in (lost, stopped):
        until(lambda id=id: deployed.ask("GET", f"/tasks/{id}").body["progress"], "progress")
    deployed.type(f"taskqueue cancel {stopped}")
    until(
        lambda: deployed.ask("GET", f"/tasks/{stopped}").body["status"] == "cancelled", "the cancelled one to end"
    )

    (deployed.folder / "kill.py").write_text(KILL_CHILDREN)
    for index in (1, 2):
        deployed.type(f"docker compose exec -T --index {index} worker python - <kill.py")
    task = until(
        lambda: (task := deployed.ask("GET", f"/tasks/{lost}").body)["status"] == "failed" and task, "its end"
    )
    assert task["error"]["type"] == "ProcessDied"
    assert "SIGKILL" in task["error"]["message"]
    assert "25" in deployed.type("taskqueue submit count_primes below=100 --wait")


@pytest.mark.docker
def test_its_containers_are_confined_as_taskqueues_own(terminal: Terminal) -> None:
    own, ours = (
        json.loads(terminal.type(f"docker compose --file {file} config --format json"))["services"]
        for file in ("docker-compose.yml", "~/taskqueue/docker-compose.yml")
    )
    assert [(name, {key: own[name].get(key) for key in CONFINED}) for name in sorted(own)] == [
        (name, {key: ours[name].get(key) for key in CONFINED}) for name in sorted(ours)
    ]


@pytest.mark.docker
def test_an_image_can_not_have_what_taskqueue_can_not_do_with(deployed: Terminal) -> None:
    install = f"docker run --rm --user root {deployed.name}-base taskqueue-install"
    written = deployed.type(f"{install} 'yarl<1' || echo \"exit code $?\"")
    assert "The user requested (constraint) yarl==" in written
    assert written.endswith("exit code 1\n")


@pytest.mark.docker
def test_it_is_taken_down_and_its_tasks_stay(deployed: Terminal) -> None:
    deployed.follow(SECTIONS[DOWN])
    assert f"{deployed.name}_data" in deployed.type("docker volume ls --quiet")
