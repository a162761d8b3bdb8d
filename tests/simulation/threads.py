"""What stands for threads: jobs and steps that are taken on the loop, each after a drawn time."""

import asyncio
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any, TypeVar

from tests.simulation.loop import Process

from taskqueue_worker.beside import Steps

T = TypeVar("T")


class OneThread(Executor):
    """An executor of one thread, whose jobs are run on the loop, each after a drawn time."""

    def __init__(
        self, process: Process, seconds: Callable[[], float], stalled: Callable[[], bool] = lambda: False
    ) -> None:
        """
        Args:
            seconds: draws how long the next job takes.
            stalled: whether the thread waits for something outside.
        """
        self._process = process
        self._seconds = seconds
        self._stalled = stalled
        self._jobs: deque[tuple[Future[Any], Callable[[], Any]]] = deque()

    def submit(self, function: Callable[..., T], /, *arguments: Any, **more: Any) -> Future[T]:
        future: Future[T] = Future()
        self._jobs.append((future, lambda: function(*arguments, **more)))
        if len(self._jobs) == 1:
            self._process.call_later(self._seconds(), self._run)
        return future

    def _run(self) -> None:
        if self._stalled():
            self._process.call_later(self._seconds(), self._run)
            return
        future, job = self._jobs[0]
        if future.set_running_or_notify_cancel():
            try:
                result = job()
            except BaseException as error:
                future.set_exception(error)
            else:
                future.set_result(result)
        self._jobs.popleft()
        if self._jobs:
            self._process.call_later(self._seconds(), self._run)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        pass


def take_steps(process: Process, steps: Steps) -> None:
    """Take them on the loop, in place of a thread. What would end a wait early is found at its end."""

    async def take() -> None:
        for _, seconds in steps:
            await asyncio.sleep(seconds)

    process.start(take())
