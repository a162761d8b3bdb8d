"""`taskqueue`: the one command."""

import signal
import sys
from typing import Any


def _end(number: int, _: Any) -> None:
    # As an exception, so that what is under way is left in order: a live screen gives the terminal back.
    sys.exit(128 + number)


def main() -> None:
    """Console entry point."""
    # Whatever was inherited: a shell without job control starts what runs in the background with SIGINT ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, _end)
    try:
        from taskqueue_cli.app import app  # noqa: PLC0415  # it takes a moment, in which Ctrl-C is no mess, either

        app(prog_name="taskqueue")
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)


if __name__ == "__main__":
    main()
