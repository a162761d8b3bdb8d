"""Runs a program of taskqueue with a wall clock that is off by the seconds in a file, which may change.

python -m tests.faults.shifted FILE taskqueue_worker
"""

import importlib
import sys
import time
from pathlib import Path

#: Before it is replaced.
_time_ns = time.time_ns


def main() -> None:
    file, module = Path(sys.argv.pop(1)), sys.argv.pop(1)

    def time_ns() -> int:
        return _time_ns() + round(float(file.read_text()) * 1_000_000_000)

    time.time_ns = time_ns
    time.time = lambda: time_ns() / 1_000_000_000
    importlib.import_module(f"{module}.__main__").main()


if __name__ == "__main__":
    main()
