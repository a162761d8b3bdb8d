"""Shows that the fault suite can fail: each mutant takes one safeguard away, and a named case must notice; and the
simulation, too, or it is told why it can't.

`make mutants` prints which; docs/guarantees.md keeps the output. It works on copies, and ends with code 1 if a
mutant survives.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.faults.safeguards import MUTANTS, Mutant

ROOT = Path(__file__).parents[2]
#: The folders that packages are imported from.
SOURCES = ("shared", "services/api", "services/worker", "services/migrate", "services/embedded")
#: Seconds that a case waits for what should happen: with a mutant in it, it may wait in vain.
PATIENCE = "20"
#: Seeds of the simulation in which a mutant must be noticed: what a seed draws changes with the code, so these are
#: some times as many as it has taken.
SEEDS = "300"
#: Mutants at a time.
AT_A_TIME = 2
#: pytest's exit code where tests have failed; others say that they could not be run.
TESTS_FAILED = 1


def run(mutant: Mutant | None, *command: str) -> subprocess.CompletedProcess[str]:
    """Run a Python module against a copy of the sources, with the mutant in it."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder)
        for name in ("shared", "services", "tests"):
            shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(ROOT / "pyproject.toml", copy)
        if mutant:
            file = copy / mutant.file
            text = file.read_text()
            if text.count(mutant.before) != 1:
                raise SystemExit(f"{mutant.file} has changed: mend the mutant {mutant.name!r}")
            file.write_text(text.replace(mutant.before, mutant.after))
        path = os.pathsep.join(str(copy / source) for source in SOURCES)
        return subprocess.run(
            [sys.executable, "-m", *command],
            cwd=copy,
            # Some cases run the version before, which is in the history.
            env=os.environ | {"PYTHONPATH": path, "FAULTS_PATIENCE": PATIENCE, "GIT_DIR": str(ROOT / ".git")},
            capture_output=True,
            text=True,
            check=False,
        )


def run_cases(mutant: Mutant | None, *cases: str) -> subprocess.CompletedProcess[str]:
    return run(mutant, "pytest", "-q", "--no-header", "-p", "no:cacheprovider", *cases)


def unnoticed_by(mutant: Mutant) -> list[str]:
    """Of what must notice the mutant, that which doesn't."""
    unnoticed = []
    if run_cases(mutant, mutant.case).returncode != TESTS_FAILED:
        unnoticed.append(mutant.case)
    if not mutant.unseen:
        ran = run(mutant, "tests.simulation", "--seeds", SEEDS)
        if ran.returncode != TESTS_FAILED or "FAILED" not in ran.stdout:
            unnoticed.append("the simulation")
    return unnoticed


def main() -> None:
    chosen = [mutant for mutant in MUTANTS if all(word in mutant.name for word in sys.argv[1:])]
    sound = run_cases(None, *dict.fromkeys(mutant.case for mutant in chosen))
    if sound.returncode != 0:
        raise SystemExit(f"cases fail without a mutant:\n{sound.stdout}")
    survivors = 0
    with ThreadPoolExecutor(AT_A_TIME) as threads:
        for mutant, unnoticed in zip(chosen, threads.map(unnoticed_by, chosen), strict=True):
            survivors += bool(unnoticed)
            print(f"{'SURVIVED' if unnoticed else 'noticed '}  {mutant.name}\n          by {mutant.case}")
            if mutant.unseen:
                print(f"          and not by the simulation: {mutant.unseen}")
            else:
                print("          and by the simulation")
            if unnoticed:
                print(f"          NOT by {' and '.join(unnoticed)}")
            sys.stdout.flush()
    print(f"{len(chosen) - survivors} of {len(chosen)} mutants noticed")
    sys.exit(survivors > 0)


if __name__ == "__main__":
    main()
