"""Staying connected: what runs again whenever its connection or channel is lost.

This is our own loop, because a caller has to know at once that there is no connection.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from random import Random

from ..protocol import BrokerError
from .connection import CHANNEL_CLOSE_TIMEOUT, CLOSE_TIMEOUT, AwayError, bounded, describe, log

#: Seconds before a lost session is tried again: at first, and at most.
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 2.0

#: Sets something up, yields an awaitable that ends when it is lost (or raises, to have it logged), cleans up.
Session = Callable[[], AbstractAsyncContextManager[Awaitable[object]]]


class Supervisor:
    """Runs a session again whenever it ends, with growing pauses while it keeps failing.

    It logs a change of state, not each attempt.
    """

    def __init__(self, name: str, session: Session, random: Random) -> None:
        #: Why the session isn't up; None while it is.
        self.problem: BrokerError | None = None
        #: Set once the first attempt has come to an end.
        self.tried = asyncio.Event()
        self._name = name
        self._session = session
        self._random = random
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin; nothing happens if it has."""
        self._task = self._task or asyncio.create_task(self._run(), name=f"taskqueue {self._name}")

    async def stop(self) -> None:
        """End the session. It takes `CHANNEL_CLOSE_TIMEOUT` and `CLOSE_TIMEOUT` at most, and a moment."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task], timeout=CHANNEL_CLOSE_TIMEOUT + CLOSE_TIMEOUT + 1)

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        pause = FIRST_PAUSE
        task = asyncio.current_task()
        assert task is not None
        # An error while cleaning up may have taken the place of the CancelledError.
        while not task.cancelling():
            started = loop.time()
            try:
                async with self._session() as lost:
                    if self.problem is not None:
                        log.info("%s: works again", self._name)
                    self.problem = None
                    self.tried.set()
                    async with bounded(None):
                        await lost
            except BrokerError as error:
                self._note(error)
            except Exception as error:
                log.exception("%s: unexpected error", self._name)
                self._note(BrokerError(describe(error)))
            if loop.time() - started > LONGEST_PAUSE:
                pause = FIRST_PAUSE
            await asyncio.sleep(pause * self._random.uniform(0.5, 1))
            pause = min(2 * pause, LONGEST_PAUSE)

    def _note(self, problem: BrokerError) -> None:
        # While a broker starts or stops, the reason why it is away changes from one attempt to the next.
        if type(problem) is not type(self.problem) or (
            str(problem) != str(self.problem) and not isinstance(problem, AwayError)
        ):
            log.warning("%s: %s; trying again", self._name, problem)
        self.problem = problem
        self.tried.set()
