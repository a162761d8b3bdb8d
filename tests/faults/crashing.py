"""Runs a program of taskqueue that kills itself (SIGKILL) at a chosen point.

    CRASH_AT="after store.claim" python -m tests.faults.crashing taskqueue_worker

The environment variable CRASH_AT names the point, `<before|after> <owner>.<method>` (see OWNERS), CRASH_AFTER how
often it is passed before, and CRASH_BY the signal, if it is another one. The points are set by wrapping methods
here, so that the product has no failpoints.
"""

import functools
import importlib
import inspect
import os
import signal
import sys
from collections.abc import Callable
from typing import Any

from taskqueue.broker.rabbitmq import RabbitBroker
from taskqueue.broker.rabbitmq.delivery import RabbitDelivery
from taskqueue.store import TaskStore, transitions
from taskqueue_worker.execute import Run

#: What a point's name may begin with, and where that is. Transitions run inside a write transaction.
OWNERS: dict[str, Any] = {
    "store": TaskStore,
    "transitions": transitions,
    "broker": RabbitBroker,
    "delivery": RabbitDelivery,
    "run": Run,
}


def _crashing(method: Callable[..., Any], when: str, passes: int, by: int) -> Callable[..., Any]:
    left = passes

    def crash_if_due() -> None:
        nonlocal left
        if left == 0:
            os.kill(os.getpid(), by)
        left -= 1

    @functools.wraps(method)
    def wrapped_transition(*args: Any, **kwargs: Any) -> Any:
        if when == "before":
            crash_if_due()
        result = method(*args, **kwargs)
        if when == "after":
            crash_if_due()
        return result

    @functools.wraps(method)
    async def wrapped(*args: Any, **kwargs: Any) -> Any:
        if when == "before":
            crash_if_due()
        result = await method(*args, **kwargs)
        if when == "after":
            crash_if_due()
        return result

    return wrapped if inspect.iscoroutinefunction(method) else wrapped_transition


def main() -> None:
    when, point = os.environ.pop("CRASH_AT").split()
    owner_name, method_name = point.split(".")
    owner = OWNERS[owner_name]
    passes = int(os.environ.pop("CRASH_AFTER", "0"))
    by = int(os.environ.pop("CRASH_BY", signal.SIGKILL))
    setattr(owner, method_name, _crashing(getattr(owner, method_name), when, passes, by))
    module = sys.argv.pop(1)
    importlib.import_module(f"{module}.__main__").main()


if __name__ == "__main__":
    main()
