"""`taskqueue-migrate`: bring the schema up to date, say what was done, exit 0; on failure say why, exit 1."""

import logging

from taskqueue.process import run_command
from taskqueue.settings import Settings
from taskqueue_migrate.runner import migrate

log = logging.getLogger("taskqueue.migrate")


def _migrate(settings: Settings) -> None:
    if not migrate(settings.database):
        log.info("the schema of %s is up to date", settings.database)


def main() -> None:
    """Console entry point."""
    run_command(_migrate)


if __name__ == "__main__":
    main()
