"""`taskqueue worker`: run tasks until SIGTERM.

`taskqueue-worker [dead ...]` is that and `taskqueue dead`, as it was before there was one command for all.
"""

import argparse
import asyncio

from taskqueue.log_lines import log_happening
from taskqueue.metrics import Metrics
from taskqueue.own_broker import own_broker
from taskqueue.process import run_command, run_service
from taskqueue.settings import Settings
from taskqueue.store import data_dir_lock, open_store
from taskqueue.telemetry import Telemetry
from taskqueue_worker import dead
from taskqueue_worker.exposing import exposed
from taskqueue_worker.tracing import traced
from taskqueue_worker.worker import work


async def run_tasks(settings: Settings, stop: asyncio.Event) -> None:
    """Run tasks with these settings until `stop`."""
    metrics = Metrics()
    telemetry = Telemetry(log_happening, metrics.count)
    with (
        data_dir_lock(settings.data_dir, exclusive=False),
        exposed(settings, metrics),
        traced(settings, telemetry),
    ):
        async with (
            metrics.watching_the_loop(),
            open_store(settings.database, write_timeout=settings.write_timeout, telemetry=telemetry) as store,
            await own_broker(settings, store) as broker,
        ):
            await work(settings, store, broker, telemetry, stop)


def main() -> None:
    """Console entry point of `taskqueue-worker`."""
    parser = argparse.ArgumentParser("taskqueue-worker", description="Run tasks until SIGTERM.")
    commands = parser.add_subparsers(dest="command")
    dead.add_arguments(commands.add_parser("dead", help="list, requeue or drop the dead letters"))
    arguments = parser.parse_args()
    if arguments.command == "dead":
        run_command(lambda settings: dead.run(settings, arguments))
    else:
        run_service(run_tasks)


if __name__ == "__main__":
    main()
