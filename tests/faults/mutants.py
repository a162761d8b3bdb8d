"""Shows that the fault suite can fail: each mutant takes one safeguard away, and a named case must notice.

`make mutants` prints which; docs/guarantees.md keeps the output. It works on copies, and ends with code 1 if a
mutant survives.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
#: The folders that packages are imported from.
SOURCES = ("shared", "services/api", "services/worker", "services/migrate")


@dataclass(frozen=True)
class Mutant:
    """A safeguard taken away: in `file`, `before` is replaced by `after`."""

    name: str
    file: str
    before: str
    after: str
    case: str


QUERIES = "shared/taskqueue/store/queries.sql"
CONSUME = "services/worker/taskqueue_worker/consume.py"

MUTANTS = (
    Mutant(
        "the fence is removed: a completion doesn't look whose the task is",
        QUERIES,
        " AND attempt = :attempt AND worker_id = :worker;\n\n-- name: cancel_running",
        ";\n\n-- name: cancel_running",
        "tests/faults/test_races.py::test_a_result_that_comes_after_the_rescue_and_the_next_claim_is_refused",
    ),
    Mutant(
        "the ack is moved before the claim's commit",
        CONSUME,
        "        claim = await until_stored(lambda: self._store.claim",
        "        await delivery.ack()\n        claim = await until_stored(lambda: self._store.claim",
        "tests/faults/test_crash_points.py::test_a_worker_killed_at_any_point_of_a_task_has_it_completed_once"
        "[before store.claim-attempts0]",
    ),
    Mutant(
        "the mark's guard is removed: it doesn't look which publish it is for",
        QUERIES,
        "WHERE id = :id AND status = 'pending' AND dispatch_id = :dispatch_id;",
        "WHERE id = :id AND status = 'pending';",
        "tests/faults/test_worker_faults.py::"
        "test_a_mark_that_arrives_after_the_task_has_failed_into_its_backoff_does_not_strand_it",
    ),
    Mutant(
        "the relay is switched off",
        "services/worker/taskqueue_worker/sweeps.py",
        "        while self._broker.state is BrokerState.CONNECTED:\n            due",
        "        while False:\n            due",
        "tests/faults/test_crash_points.py::test_an_api_killed_on_the_way_into_the_queue_loses_nothing"
        "[after store.submit_all]",
    ),
)


def run(mutant: Mutant | None, case: str) -> subprocess.CompletedProcess[str]:
    """Run a case against a copy of the sources, with the mutant in it."""
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
            [sys.executable, "-m", "pytest", "-q", "--no-header", "-p", "no:cacheprovider", case],
            cwd=copy,
            env=os.environ | {"PYTHONPATH": path},
            capture_output=True,
            text=True,
            check=False,
        )


def main() -> None:
    survivors = 0
    for mutant in MUTANTS:
        sound = run(None, mutant.case)
        if sound.returncode != 0:
            raise SystemExit(f"{mutant.case} fails without a mutant:\n{sound.stdout}")
        noticed = run(mutant, mutant.case).returncode == 1
        survivors += not noticed
        print(f"{'noticed ' if noticed else 'SURVIVED'}  {mutant.name}\n          by {mutant.case}", flush=True)
    print(f"{len(MUTANTS) - survivors} of {len(MUTANTS)} mutants noticed")
    sys.exit(survivors > 0)


if __name__ == "__main__":
    main()
