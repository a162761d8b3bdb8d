"""`taskqueue-embedded`: API, worker and a queue in memory in one process, to try taskqueue without Docker.

It loses no task either: what was queued or running when it ended is taken up again at the next start.
"""

import asyncio
import logging
from random import Random

from taskqueue.broker import open_broker
from taskqueue.log_lines import log_happening
from taskqueue.process import FatalError, run_service
from taskqueue.settings import Settings
from taskqueue.store import Store, data_dir_lock, open_store
from taskqueue.telemetry import Demoted, Telemetry
from taskqueue_api.app import build_app, serving
from taskqueue_migrate.runner import migrate
from taskqueue_worker.sweeps import rescue_worker
from taskqueue_worker.worker import work

log = logging.getLogger("taskqueue.embedded")


async def _serve(settings: Settings, stop: asyncio.Event) -> None:
    try:
        settings.data_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FatalError(
            f"{settings.data_dir}: {error.strerror}; TASKQUEUE_DATA_DIR names the data folder"
        ) from error
    telemetry, random = Telemetry(log_happening), Random()
    with data_dir_lock(settings.data_dir, exclusive=True):
        migrate(settings.database)
        async with (
            open_store(settings.database, write_timeout=settings.write_timeout, telemetry=telemetry) as store,
            open_broker("memory://", settings.queue) as broker,
        ):
            await _recover(settings, store, telemetry, random)
            async with serving(build_app(settings, store, broker, telemetry)) as url:
                _greet(url)
                working = asyncio.create_task(work(settings, store, broker, telemetry, stop, random))
                stopping = asyncio.create_task(stop.wait())
                await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
                stopping.cancel()
            # The worker finishes what runs; nobody is served meanwhile.
            await working


async def _recover(settings: Settings, store: Store, telemetry: Telemetry, random: Random) -> None:
    """Nobody else uses this folder: every worker it knows is gone, and so is every message."""
    for worker, beat in (await store.reads.worker_beats()).items():
        await rescue_worker(settings, store, worker, beat, telemetry, random)
    if count := await store.bulk.demote_all():
        telemetry.tell(Demoted(count, "they were queued when it ended"))


def _greet(url: str) -> None:
    log.info("serving on %s", url)
    print(  # noqa: T201  # for the person who started it
        f"""
taskqueue is serving on {url} (no Docker, one process; Ctrl-C stops it). Send it a task:

  curl -X POST {url}/tasks -H 'Content-Type: application/json' \\
       -d '{{"action": "uppercase", "data": {{"text": "hello world"}}}}'
  curl {url}/tasks
""",
        flush=True,
    )


def main() -> None:
    """Console entry point."""
    run_service(_serve)


if __name__ == "__main__":
    main()
