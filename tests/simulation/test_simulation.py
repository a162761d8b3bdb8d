"""The simulation, in short: `make simulate SEEDS=N` is its long form, FROM=N begins at another seed.

It runs in processes of its own, as it does from the command line, so that a seed does the same here and there.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.simulation.__main__ import HASH_SEED

pytestmark = pytest.mark.timeout(1200)

#: About a minute's, on a core of its own.
SEEDS = 150


def simulate(*arguments: str) -> subprocess.CompletedProcess[str]:
    return python("-m", "tests.simulation", *arguments)


def python(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=Path(__file__).parents[2],
        env=os.environ | {"PYTHONHASHSEED": HASH_SEED},
        capture_output=True,
        text=True,
        check=False,
    )


def test_whatever_goes_wrong_no_task_is_lost_and_no_outcome_recorded_twice() -> None:
    ran = simulate("--seeds", f"{SEEDS}")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    print(ran.stdout)


def test_a_seed_repeats_exactly() -> None:
    once, again = (simulate("--from", "7", "--seeds", "1", "--trace").stdout.splitlines() for _ in range(2))
    assert "WorkerStarted" in "\n".join(once)
    assert [line for line in once if "a minute" not in line] == [line for line in again if "a minute" not in line]


def test_a_run_that_breaks_the_promise_fails_and_says_how_to_repeat_it() -> None:
    broken = """
import tests.simulation.oracle
import pytest
from tests.simulation.__main__ import main
tests.simulation.oracle.violations = lambda *_: ["on purpose"]
main()
"""
    ran = python("-c", broken, "--from", "3", "--seeds", "2")
    assert ran.returncode == 1, ran.stderr
    assert "seed 3:\n  on purpose\n" in ran.stdout
    assert "make simulate FROM=3 SEEDS=1" in ran.stdout
    assert "seed 4" not in ran.stdout


def test_a_run_that_hangs_is_ended_and_shows_where() -> None:
    hanging = """
import time
import tests.simulation.__main__ as command
command.HANGS = 0.5
command.run = lambda *_, **__: time.sleep(60)
command.main()
"""
    ran = python("-c", hanging, "--seeds", "1")
    assert ran.returncode == 1
    assert "it hung" in ran.stdout
    assert "Timeout" in ran.stderr
