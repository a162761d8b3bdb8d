"""`python -m tests.simulation --seeds 100 --from 1`: run seeds, and print those that fail, with the command that
repeats them and their trace.

Each seed runs in a process of its own, forked from this one: whatever it leaves behind is gone with it.
"""

import argparse
import faulthandler
import gc
import json
import logging
import os
import sys
import tempfile
import time
from collections import Counter
from dataclasses import asdict
from pathlib import Path

from tests.simulation.database import make_template
from tests.simulation.run import Result, run

#: Strings hash alike in every process, so that sets of them are walked through in the same order.
HASH_SEED = "0"
#: Real seconds after which a run shows where it hangs, and ends.
HANGS = 60.0
#: Lines of a trace that are printed by themselves.
SHOWN = 60


def run_apart(seed: int, template: Path, *, traced: bool) -> Result:
    """Run a seed in a process of its own."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        faulthandler.dump_traceback_later(HANGS, exit=True)
        gc.disable()
        os.close(reading)
        with open(writing, "w") as answer:  # noqa: PTH123  # a descriptor
            json.dump(asdict(run(seed, template, traced=traced)), answer)
        # Not the usual end: what was killed must not be collected.
        os._exit(0)
    os.close(writing)
    with open(reading) as answer:  # noqa: PTH123
        text = answer.read()
    os.waitpid(child, 0)
    return Result(**json.loads(text)) if text else Result(seed, [f"it hung for {HANGS} s, or crashed"])


def main() -> None:
    if os.environ.get("PYTHONHASHSEED") != HASH_SEED:
        os.environ["PYTHONHASHSEED"] = HASH_SEED
        os.execv(sys.executable, [sys.executable, "-m", "tests.simulation", *sys.argv[1:]])
    parser = argparse.ArgumentParser("tests.simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=200, help="how many (200)")
    parser.add_argument("--from", type=int, default=1, dest="first", help="the first one (1)")
    parser.add_argument("--trace", action="store_true", help="print what happened in each")
    parser.add_argument("--keep-going", action="store_true", help="don't stop at the first that fails")
    arguments = parser.parse_args()
    logging.disable()
    failed: list[int] = []
    counts: Counter[str] = Counter()
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        template = make_template(Path(folder))
        for seed in range(arguments.first, arguments.first + arguments.seeds):
            result = run_apart(seed, template, traced=arguments.trace)
            counts.update(result.counts)
            if arguments.trace:
                print("\n".join(result.trace))
            if result.violations:
                failed.append(seed)
                _show(result, whole=arguments.trace)
                if not arguments.keep_going:
                    break
    seconds = time.monotonic() - began
    number = seed - arguments.first + 1
    print(f"{number} seeds from {arguments.first} in {seconds:.1f} s ({number / seconds * 60:.0f} a minute)")
    print(", ".join(f"{what} {count}" for what, count in sorted(counts.items())))
    if failed:
        print(f"FAILED: {failed}")
    sys.exit(bool(failed))


def _show(result: Result, *, whole: bool) -> None:
    if not whole:
        print("...", *result.trace[-SHOWN:], sep="\n")
    print(f"seed {result.seed}:", *result.violations, sep="\n  ")
    print(f"  repeat it with its whole trace: make simulate FROM={result.seed} SEEDS=1 ARGS=--trace")


if __name__ == "__main__":
    main()
