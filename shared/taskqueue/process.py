"""What every entry point does the same: read settings, set up logs, run until told to stop, exit with a code."""

import asyncio
import logging
import os
import re
import signal
import sys
from collections.abc import Awaitable, Callable
from typing import Any, NoReturn

from pydantic import ValidationError

from taskqueue.broker import BrokerError, QueueTakenError
from taskqueue.logs import set_up_logging
from taskqueue.settings import PREFIX, Settings
from taskqueue.store import StoreError

log = logging.getLogger("taskqueue")

#: What Kubernetes tells each container of a service called `taskqueue` (or `taskqueue-...`), as `name=value`: its
#: names begin as ours do, and TASKQUEUE_PORT is `tcp://10.0.0.1:8080` there.
_OF_A_SERVICE = re.compile(
    PREFIX + r"(\w+_)?(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)=.*"
    rf"|{PREFIX}(\w+_)?PORT=(tcp|udp|sctp)://.*"
)

#: Read by the client and the command line, wherever they run; it is no setting.
_OF_THE_CLIENT = {PREFIX + "URL", PREFIX + "KEY"}

#: Exit codes, beside 0: an error that starting again won't mend by itself, and bad settings (as in sysexits.h).
EXIT_FAILURE = 1
EXIT_CONFIG = 78


class FatalError(Exception):
    """The process can't start or go on. The text is the one line that its user reads."""


class BadSettingsError(FatalError):
    """The settings can't stand together as they are. It ends with the exit code of bad settings."""


def run_command(command: Callable[[Settings], None]) -> None:
    """Run a command with the environment's settings; expected errors become one line and an exit code."""
    foreign = {name for name, value in os.environ.items() if _OF_A_SERVICE.fullmatch(f"{name}={value}")}
    settings = _read_settings(foreign)
    set_up_logging(settings)
    if foreign:
        log.info("not read, since it tells of a service of Kubernetes: %s", ", ".join(sorted(foreign)))
    try:
        command(settings)
    except (FatalError, StoreError, BrokerError) as error:
        log.error("%s", error)
        sys.exit(_exit_code(error))


def run_service(service: Callable[[Settings, asyncio.Event], Awaitable[None]]) -> None:
    """Run a service until SIGTERM or SIGINT.

    Args:
        service: its second argument is set at the signal; it then drains and returns.
    """
    run_command(lambda settings: _run_loop(_until_signal(service, settings)))


async def _until_signal(service: Callable[[Settings, asyncio.Event], Awaitable[None]], settings: Settings) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    try:
        await service(settings, stop)
    except (FatalError, StoreError, BrokerError) as error:
        log.error("%s", error)
        _end(_exit_code(error))
    except Exception:
        log.exception("unexpected error")
        _end(EXIT_FAILURE)
    _end(0)


def _exit_code(error: Exception) -> int:
    return EXIT_CONFIG if isinstance(error, QueueTakenError | BadSettingsError) else EXIT_FAILURE


def _end(code: int) -> NoReturn:
    """End the process now. The loop's own end would wait for what a handler has left running, be it a task that
    ignores its cancellation or a thread."""
    logging.shutdown()
    sys.stdout.flush()
    os._exit(code)


def _run_loop(main: Any) -> None:
    try:
        import uvloop  # noqa: PLC0415  # there is none for some platforms
    except ImportError:
        asyncio.run(main)
    else:
        uvloop.run(main)


def _read_settings(foreign: set[str]) -> Settings:
    known = {PREFIX + name.upper(): name for name in Settings.model_fields}
    if unknown := sorted(
        name for name in os.environ if name.startswith(PREFIX) and name not in {*known, *foreign, *_OF_THE_CLIENT}
    ):
        _exit_config(f"unknown setting {', '.join(unknown)} (docs/configuration.md lists the known ones)")
    defaults = {known[name]: Settings.model_fields[known[name]].default for name in foreign & known.keys()}
    try:
        return Settings(**defaults)
    except ValidationError as error:
        _exit_config(
            "; ".join(
                f"{PREFIX}{str(e['loc'][0]).upper()}: {e['msg'].removeprefix('Value error, ')}"
                for e in error.errors()
            )
        )


def _exit_config(text: str) -> NoReturn:
    print(f"taskqueue: {text}", file=sys.stderr)  # noqa: T201  # there is no logging without settings
    sys.exit(EXIT_CONFIG)
