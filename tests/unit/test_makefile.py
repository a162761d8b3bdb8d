"""What the commands install."""

import os
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]


def commands_of(target: str) -> str:
    """What `make` would do in a new clone."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    told = subprocess.run(
        ["make", "--dry-run", "--always-make", target],
        cwd=ROOT,
        env=environment,
        check=True,
        capture_output=True,
        text=True,
    )
    return told.stdout


def test_running_it_installs_what_the_image_has_and_no_tools() -> None:
    commands = commands_of("run")
    assert "-r requirements/image.txt" in commands
    assert "dev.txt" not in commands
    assert commands.splitlines()[-1].endswith("/taskqueue-embedded")


def test_an_environment_with_tools_is_another_one() -> None:
    run, check = (
        {line.split()[-1] for line in commands_of(target).splitlines() if "venv --clear" in line}
        for target in ("run", "check")
    )
    assert len(run) == len(check) == 1
    assert run != check
