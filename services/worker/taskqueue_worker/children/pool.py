"""The children of a worker: as many as may run at a time, each of them used again and again."""

import asyncio
import os
from collections.abc import Callable
from typing import Self

from taskqueue.process import FatalError
from taskqueue.settings import Settings
from taskqueue.task import Claim, Outcome
from taskqueue_worker.children.child import Child, ProcessDiedError
from taskqueue_worker.execute import Ending, error_json


class Children:
    """Runs tasks in child processes."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        # From Python 3.13 on: only those that this process may use.
        cores = getattr(os, "process_cpu_count", os.cpu_count)() or 1
        self._size = min(settings.processes or cores, settings.consumers)
        self._turns = asyncio.Semaphore(self._size)
        self._idle: list[Child] = []
        self._lives: dict[asyncio.Task[None], Child] = {}

    async def __aenter__(self) -> Self:
        """Start all of them, so that no task waits for that.

        Raises:
            FatalError: one can't load the handlers, or open their resources.
        """
        try:
            self._idle += await asyncio.gather(*(self._started() for _ in range(self._size)))
        except BaseException as error:
            await self._end()
            if isinstance(error, ProcessDiedError):
                raise FatalError(str(error)) from error
            raise
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self._end()

    async def run(self, claim: Claim, tell_progress: Callable[[str], None], begin: Callable[[], None]) -> Ending:
        """Run a task in a child, once one is free. Where this is cancelled, the child is killed.

        Args:
            begin: called when a child takes it.
        """
        async with self._turns:
            try:
                child = self._take() or await self._started()
                begin()
                ending = await child.run(claim, tell_progress)
            except ProcessDiedError as error:
                return Ending(Outcome.ERROR, error=error_json("ProcessDied", str(error)))
            if child.tasks >= self._settings.process_tasks:
                child.leave()
            else:
                self._idle.append(child)
            return ending

    async def _end(self) -> None:
        for child in self._lives.values():
            child.leave()
        if self._lives:
            await asyncio.wait(self._lives)

    def _take(self) -> Child | None:
        """An idle one, if there is any; they may have died meanwhile."""
        while self._idle:
            if (child := self._idle.pop()).alive:
                return child
        return None

    async def _started(self) -> Child:
        child = Child.spawn()
        self._lives[child.life] = child
        child.life.add_done_callback(self._lives.pop)
        await child.get_ready(self._settings)
        return child
