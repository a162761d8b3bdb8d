"""`taskqueue migrate`, `backup` and `shrink`: they say what was done and exit 0, or why it was not and exit 1.

`taskqueue-migrate [backup PATH | shrink]` does the same, as it did before there was one command for all.
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


def bring_up_to_date(settings: Settings) -> None:
    """Make the database, or bring its schema up to date."""
    if not migrate(settings.database):
        log.info("the schema of %s is up to date", settings.database)


def copy_database(settings: Settings, copy: Path) -> None:
    """Write a consistent copy of the database to a new file."""
    backup(settings.database, copy)
    log.info("copied %s to %s", settings.database, copy)


def give_room_back(settings: Settings) -> None:
    """Cut what deleted tasks left off the database."""
    log.info("gave %d bytes back to the disk", shrink(settings.database))


def main() -> None:
    """Console entry point of `taskqueue-migrate`."""
    parser = argparse.ArgumentParser("taskqueue-migrate", description="Bring the database's schema up to date.")
    commands = parser.add_subparsers(dest="command")
    copying = commands.add_parser("backup", help="write a consistent copy of the database, while all runs")
    copying.add_argument("path", type=Path, help="the new file")
    commands.add_parser("shrink", help="give the room that deleted tasks left back to the disk, while all runs")
    arguments = parser.parse_args()
    if arguments.command == "backup":
        run_command(lambda settings: copy_database(settings, arguments.path))
    elif arguments.command == "shrink":
        run_command(give_room_back)
    else:
        run_command(bring_up_to_date)


if __name__ == "__main__":
    main()
