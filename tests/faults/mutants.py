"""Shows that the fault suite can fail: each mutant takes one safeguard away, and a named case must notice.

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
#: Mutants at a time.
AT_A_TIME = 2
#: pytest's exit code where tests have failed; others say that they could not be run.
TESTS_FAILED = 1


def run(mutant: Mutant | None, *cases: str) -> subprocess.CompletedProcess[str]:
    """Run cases against a copy of the sources, with the mutant in it."""
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
            [sys.executable, "-m", "pytest", "-q", "--no-header", "-p", "no:cacheprovider", *cases],
            cwd=copy,
            # Some cases run the version before, which is in the history.
            env=os.environ | {"PYTHONPATH": path, "FAULTS_PATIENCE": PATIENCE, "GIT_DIR": str(ROOT / ".git")},
            capture_output=True,
            text=True,
            check=False,
        )


def notices(mutant: Mutant) -> bool:
    """Whether the mutant's case fails."""
    return run(mutant, mutant.case).returncode == TESTS_FAILED


def main() -> None:
    chosen = [mutant for mutant in MUTANTS if all(word in mutant.name for word in sys.argv[1:])]
    sound = run(None, *dict.fromkeys(mutant.case for mutant in chosen))
    if sound.returncode != 0:
        raise SystemExit(f"cases fail without a mutant:\n{sound.stdout}")
    survivors = 0
    with ThreadPoolExecutor(AT_A_TIME) as threads:
        for mutant, noticed in zip(chosen, threads.map(notices, chosen), strict=True):
            survivors += not noticed
            print(
                f"{'noticed ' if noticed else 'SURVIVED'}  {mutant.name}\n          by {mutant.case}", flush=True
            )
    print(f"{len(chosen) - survivors} of {len(chosen)} mutants noticed")
    sys.exit(survivors > 0)


if __name__ == "__main__":
    main()
