"""`taskqueue embedded`: API, worker and a queue in memory in one process, to try taskqueue without Docker.

It loses no task either: what was queued or running when it ended is taken up again at the next start.
"""

import asyncio
import logging
from random import Random

from taskqueue.actions import describe_actions
from taskqueue.broker import open_broker
from taskqueue.log_lines import log_happening
from taskqueue.process import FatalError, run_service
from taskqueue.settings import Settings
from taskqueue.store import Store, data_dir_lock, open_store
from taskqueue.telemetry import Demoted, Telemetry, WorkerStarted
from taskqueue_api.app import build_app, serving
from taskqueue_embedded.greeting import greeting
from taskqueue_migrate.runner import migrate
from taskqueue_worker.sweeps import rescue_worker
from taskqueue_worker.tracing import traced
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
    with data_dir_lock(settings.data_dir, exclusive=True), traced(settings, telemetry):
        migrate(settings.database)
        async with (
            open_store(settings.database, write_timeout=settings.write_timeout, telemetry=telemetry) as store,
            open_broker("memory://", settings.queue) as broker,
        ):
            await _recover(settings, store, telemetry, random)
            started = asyncio.Event()
            telemetry.listen(lambda happening: started.set() if isinstance(happening, WorkerStarted) else None)
            working = asyncio.create_task(work(settings, store, broker, telemetry, stop, random))
            try:
                # A worker that starts demotes what it finds queued, for its queue is new: nobody is served before.
                await _either(working, started)
                if not working.done():
                    async with serving(build_app(settings, store, broker, telemetry)) as url:
                        log.info("serving on %s", url)
                        print(greeting(url, describe_actions()), flush=True)  # noqa: T201  # for who started it
                        await _either(working, stop)
            finally:
                stop.set()
                # It finishes what runs; nobody is served meanwhile.
                await working


async def _either(working: asyncio.Task[None], event: asyncio.Event) -> None:
    waiting = asyncio.create_task(event.wait())
    await asyncio.wait({working, waiting}, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()


async def _recover(settings: Settings, store: Store, telemetry: Telemetry, random: Random) -> None:
    """Nobody else uses this folder: every worker it knows is gone, and so is every message."""
    for worker, beat in (await store.reads.worker_beats()).items():
        await rescue_worker(settings, store, worker, beat, telemetry, random)
    if count := await store.bulk.demote_all():
        telemetry.tell(Demoted(count, "they were queued when it ended"))


def main() -> None:
    """Console entry point."""
    run_service(_serve)


if __name__ == "__main__":
    main()
