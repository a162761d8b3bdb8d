"""`taskqueue-migrate`: bring the schema up to date; `... backup PATH`: copy the database; `... shrink`: cut it.

Says what was done and exits 0; on failure says why and exits 1.
"""

import argparse
import logging
from pathlib import Path

from taskqueue.process import run_command
from taskqueue.settings import Settings
from taskqueue_migrate.backup import backup
from taskqueue_migrate.runner import migrate
from taskqueue_migrate.shrink import shrink

log = logging.getLogger("taskqueue.migrate")


def _migrate(settings: Settings) -> None:
    if not migrate(settings.database):
        log.info("the schema of %s is up to date", settings.database)


def _backup(settings: Settings, copy: Path) -> None:
    backup(settings.database, copy)
    log.info("copied %s to %s", settings.database, copy)


def _shrink(settings: Settings) -> None:
    log.info("gave %d bytes back to the disk", shrink(settings.database))


def main() -> None:
    """Console entry point."""
    parser = argparse.ArgumentParser("taskqueue-migrate", description="Bring the database's schema up to date.")
    commands = parser.add_subparsers(dest="command")
    copying = commands.add_parser("backup", help="write a consistent copy of the database, while all runs")
    copying.add_argument("path", type=Path, help="the new file")
    commands.add_parser("shrink", help="give the room that deleted tasks left back to the disk, while all runs")
    arguments = parser.parse_args()
    if arguments.command == "backup":
        run_command(lambda settings: _backup(settings, arguments.path))
    elif arguments.command == "shrink":
        run_command(_shrink)
    else:
        run_command(_migrate)


if __name__ == "__main__":
    main()
