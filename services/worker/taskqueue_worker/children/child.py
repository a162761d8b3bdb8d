"""One child, as its worker sees it."""

import asyncio
import contextlib
import json
import logging
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from typing import Any, Self

from taskqueue.settings import Settings
from taskqueue.task import Claim
from taskqueue_worker.children.messages import HEAD, Log, Message, Progress, Ready, Start, length, pack, unpack
from taskqueue_worker.execute import GRACE, Ending
from taskqueue_worker.resources import CLOSING

#: Seconds that a child has to load its handlers and to open their resources; and to close these, and end.
_START, _END = 60, CLOSING + GRACE
#: Bytes that are read at a time.
_PART = 256 * 1024


class ProcessDiedError(Exception):
    """A child has ended, or can't work. The text says why."""


class Child:
    """A process that runs one task at a time."""

    def __init__(
        self, process: "subprocess.Popen[bytes]", channel: socket.socket, lifeline: socket.socket
    ) -> None:
        #: How many tasks it has been given.
        self.tasks = 0
        #: Whether it was told to end, or has been heard to.
        self._leaving = False
        self._process = process
        self._channel = channel
        self._lifeline = lifeline
        self._loop = asyncio.get_running_loop()
        #: To what it was told last.
        self._answer: asyncio.Future[Any] = self._loop.create_future()
        self._attempt: tuple[str, int] | None = None
        self._tell_progress: Callable[[str], None] = lambda text: None
        self._waited_for = False
        #: Done when the process has ended, and is no zombie either.
        self.life = asyncio.create_task(self._live())

    @classmethod
    def spawn(cls) -> Self:
        """Start a process. It needs to `get_ready`.

        Raises:
            ProcessDiedError: there can't be one more.
        """
        with contextlib.ExitStack() as opened:
            try:
                ends = [opened.enter_context(end) for _ in range(2) for end in socket.socketpair()]
                channel, its_channel, lifeline, its_lifeline = ends
                files = (its_channel.fileno(), its_lifeline.fileno())
                process = subprocess.Popen(  # noqa: S603
                    [sys.executable, "-P", "-m", "taskqueue_worker.children", *map(str, files)],
                    stdin=subprocess.DEVNULL,
                    pass_fds=files,
                    start_new_session=True,
                )
            except OSError as error:
                raise ProcessDiedError(f"a child process can't be started: {error}") from error
            opened.pop_all()
        its_channel.close()
        its_lifeline.close()
        channel.setblocking(False)
        return cls(process, channel, lifeline)

    async def get_ready(self, settings: Settings) -> None:
        """Let it load its handlers, and open their resources.

        Raises:
            ProcessDiedError: it can't.
        """
        try:
            async with asyncio.timeout(_START):
                ready: Ready = await self._answered(Start(sys.path, settings))
        except TimeoutError:
            raise ProcessDiedError(f"a child process was not ready within {_START} s") from None
        if ready.problem is not None:
            raise ProcessDiedError(f"in a child process: {ready.problem}")

    async def run(self, claim: Claim, tell_progress: Callable[[str], None]) -> Ending:
        """Run a task. Where this is cancelled, the process is killed.

        Raises:
            ProcessDiedError: the process has ended.
        """
        self.tasks += 1
        self._attempt, self._tell_progress = (claim.id, claim.attempt), tell_progress
        ending: Ending = await self._answered(claim)
        return ending

    @property
    def alive(self) -> bool:
        """Whether it can be given a task. That it has ended may not have been heard yet."""
        return not self._leaving and not self._hung_up()

    def leave(self) -> None:
        """Let it close its resources and end by itself; where it doesn't, it is killed."""
        self._leaving = True
        with contextlib.suppress(OSError):  # where it has ended
            self._channel.shutdown(socket.SHUT_WR)
        self._loop.call_later(_END, self.kill)

    def kill(self) -> None:
        """End it at once, with all that its handlers have started."""
        self._leaving = True
        # Once it is waited for, its id may be that of somebody else.
        if not self._waited_for:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)

    def _hung_up(self) -> bool:
        try:
            return not self._channel.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return False
        except OSError:
            return True

    async def _answered(self, message: Message) -> Any:
        self._answer = self._loop.create_future()
        try:
            with contextlib.suppress(OSError):  # it has ended: that is the answer
                await self._loop.sock_sendall(self._channel, pack(message))
            return await self._answer
        except asyncio.CancelledError:
            self.kill()
            await asyncio.wait({self.life})
            raise

    async def _live(self) -> None:
        """Hear what it tells, to its end."""
        try:
            while True:
                self._take(unpack(await self._read(length(await self._read(HEAD)))))
                await asyncio.sleep(0)  # one that tells much takes turns with all others
        except (EOFError, OSError):
            pass
        finally:
            # It ends, and may have left others of its group behind.
            self.kill()
            self._waited_for = True
            code = await asyncio.to_thread(self._process.wait)
            self._channel.close()
            self._lifeline.close()
            if not self._answer.done():
                self._answer.set_exception(ProcessDiedError(f"the child process {_in_words(code)}"))

    async def _read(self, size: int) -> bytes:
        read = bytearray()
        while len(read) < size:
            part = await self._loop.sock_recv(self._channel, min(size - len(read), _PART))
            if not part:
                raise EOFError
            read += part
        return bytes(read)

    def _take(self, message: Any) -> None:
        match message:
            case Ready() | Ending():
                self._attempt = None
                if not self._answer.done():  # where it was interrupted in the same moment
                    self._answer.set_result(message)
            case Progress(id, attempt, text):
                if self._attempt == (id, attempt):
                    self._tell_progress(text)
            case Log(text):
                record = logging.makeLogRecord(json.loads(text))
                logging.getLogger(record.name).handle(record)


def _in_words(code: int) -> str:
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        return f"was killed by {signal.Signals(-code).name}"
    except ValueError:  # one of those without a name
        return f"was killed by signal {-code}"
