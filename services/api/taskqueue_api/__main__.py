"""`taskqueue api`: serve the REST API until SIGTERM."""

import asyncio
import logging

from taskqueue.log_lines import log_happening
from taskqueue.own_broker import own_broker
from taskqueue.process import run_service
from taskqueue.settings import Settings
from taskqueue.store import data_dir_lock, open_store
from taskqueue.telemetry import Telemetry
from taskqueue_api.app import build_app, serving

log = logging.getLogger("taskqueue.api")


async def _serve(settings: Settings, stop: asyncio.Event) -> None:
    telemetry = Telemetry(log_happening)
    with data_dir_lock(settings.data_dir, exclusive=False):
        async with (
            open_store(settings.database, write_timeout=settings.write_timeout, telemetry=telemetry) as store,
            await own_broker(settings, store) as broker,
            serving(build_app(settings, store, broker, telemetry)) as url,
        ):
            log.info("serving on %s", url)
            await stop.wait()
            log.info("stopping: no new requests, finishing those under way")


def main() -> None:
    """Console entry point."""
    run_service(_serve)


if __name__ == "__main__":
    main()
