"""Clients that keep posting tasks while something happens to the stack."""

import http.client
import itertools
import threading
import time
from types import TracebackType
from typing import Any, Self

from tests.stack.stack import Stack

#: How many clients there are, and the seconds that each waits between two tasks.
CLIENTS, PAUSE = 3, 0.1


class Load:
    """Running until left. Tasks that were not accepted, or not answered, are nobody's."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self._stop = threading.Event()
        self._numbers = itertools.count()
        self._threads = [threading.Thread(target=self._post_all) for _ in range(CLIENTS)]
        #: The id of each accepted task, and the output that it must have.
        self.accepted: dict[str, Any] = {}
        #: What went wrong with an answer: anything but 202 or none at all.
        self.errors: list[str] = []

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def goes_on(self, seconds: float = 1) -> None:
        """Let it run for a while."""
        time.sleep(seconds)

    def _post_all(self) -> None:
        while not self._stop.wait(PAUSE):
            body, expected = self._next()
            try:
                answer = self._stack.request("POST", "/tasks", body)
            except (OSError, http.client.HTTPException):
                continue
            if answer.status == 202:
                self.accepted[answer.body["id"]] = expected
            else:
                self.errors.append(f"{answer.status} {answer.body}")

    def _next(self) -> tuple[dict[str, Any], Any]:
        number = next(self._numbers)
        if number % 2:
            return {"action": "sum", "data": {"numbers": [number, 1]}}, number + 1
        return {"action": "uppercase", "data": {"text": f"task {number}"}}, f"TASK {number}"
