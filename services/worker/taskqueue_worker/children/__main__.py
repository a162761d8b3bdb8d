"""A child: runs the claims that its worker sends, one at a time, until the worker closes the socket.

    python -P -m taskqueue_worker.children SOCKET LIFELINE

The arguments are file descriptors. Nobody ever writes to the lifeline: it ends when the worker does.
"""

import asyncio
import fcntl
import json
import logging
import os
import signal
import socket
import sys
import threading
from dataclasses import replace
from typing import Any

from taskqueue.actions import HandlersError, known_actions, load_handlers
from taskqueue.log_lines import log_happening
from taskqueue.logs import set_up_logging
from taskqueue.process import FatalError
from taskqueue.settings import Settings
from taskqueue.store.clock import now_ms
from taskqueue.task import Claim
from taskqueue.telemetry import Telemetry
from taskqueue_worker.children.messages import HEAD, Log, Message, Progress, Ready, length, pack, unpack
from taskqueue_worker.execute import Run
from taskqueue_worker.resources import Resources


class _Worker:
    """The worker, as its child sees it."""

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        self._file = channel.makefile("rb")
        self._lock = threading.Lock()
        self._forgotten = False
        os.register_at_fork(after_in_child=self._forget)

    def tell(self, message: Message) -> None:
        """From any thread; it waits where the worker is slow to read."""
        packed = pack(message)
        with self._lock:
            self._channel.sendall(packed)

    def hear(self) -> Any:
        """The next message, or None where the worker has no more."""
        head = self._file.read(HEAD)
        return unpack(self._file.read(length(head))) if len(head) == HEAD else None

    def _forget(self) -> None:
        """In a process that a handler forks: where it kept the socket open, the child's death would not show."""
        self._lock = threading.Lock()
        if not self._forgotten:
            self._forgotten = True
            os.close(self._channel.detach())
            logging.getLogger().handlers.clear()


class _ToWorker(logging.Handler):
    """Hands log records to the worker, which writes them among its own."""

    def __init__(self, worker: _Worker) -> None:
        super().__init__()
        self._worker = worker

    def emit(self, record: logging.LogRecord) -> None:
        try:
            fields = vars(record) | {"msg": record.getMessage(), "args": None, "exc_info": None}
            if record.exc_info:
                fields["exc_text"] = logging.Formatter().formatException(record.exc_info)
            self._worker.tell(Log(json.dumps(fields, default=str)))
        except Exception:
            self.handleError(record)


class _Run(Run):
    """A run whose time is the worker's matter, which kills this process."""

    def _start_the_clock(self) -> None:
        pass


async def _serve(worker: _Worker, settings: Settings) -> None:
    """Run what comes.

    Raises:
        FatalError: a resource can't be opened.
    """
    actions = [action for action in known_actions() if action.executor == "process"]
    async with Resources.opened(actions, Telemetry(log_happening)) as resources:
        worker.tell(Ready())
        while (claim := await asyncio.to_thread(worker.hear)) is not None:
            ending = await _run(claim, settings, worker, resources).ending()
            # What was raised may be of any class: not all of them can be pickled.
            worker.tell(replace(ending, raised=None))


def _run(claim: Claim, settings: Settings, worker: _Worker, resources: Resources) -> Run:
    def tell_progress(text: str) -> None:
        worker.tell(Progress(claim.id, claim.attempt, text))

    # Its time begins now, however long it has waited for this child.
    return _Run(replace(claim, started_at=now_ms()), settings, tell_progress, resources=resources)


def _end_with_the_worker(lifeline: int) -> None:
    """Let the kernel kill this child, with all that its handlers start, when the worker is no more: also where the
    handler's C code holds the interpreter's lock."""
    if hasattr(fcntl, "F_SETSIG"):  # Linux; elsewhere, a child ends when its handler has
        fcntl.fcntl(lifeline, fcntl.F_SETOWN, -os.getpgrp())
        fcntl.fcntl(lifeline, fcntl.F_SETSIG, signal.SIGKILL)
        fcntl.fcntl(lifeline, fcntl.F_SETFL, fcntl.fcntl(lifeline, fcntl.F_GETFL) | os.O_ASYNC)


def main() -> None:
    """Run until the worker wants no more."""
    channel, lifeline = map(int, sys.argv[1:])
    for descriptor in (channel, lifeline):  # not for the processes that handlers start
        os.set_inheritable(descriptor, False)
    _end_with_the_worker(lifeline)
    # Who tells all processes to stop means the worker, which tells its children. The signals are not ignored: then
    # the processes that handlers start would ignore them, too.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, frame: None)
    worker = _Worker(socket.socket(fileno=channel))
    start = worker.hear()
    if start is None:
        return
    sys.path[:] = start.path
    set_up_logging(start.settings, _ToWorker(worker))
    try:
        load_handlers(start.settings.handlers)
        asyncio.run(_serve(worker, start.settings))
    except (HandlersError, FatalError) as error:
        worker.tell(Ready(str(error)))


if __name__ == "__main__":
    main()
