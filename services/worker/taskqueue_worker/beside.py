"""What runs beside the event loop, and how: threads, and the process's end. It is handed in, so that a simulation
can run the same on its own loop."""

import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass

#: Code in steps: before each it waits for an event, for so many seconds at most.
Steps = Iterator[tuple[threading.Event, float]]


def in_thread(name: str, steps: Steps) -> None:
    """Take the steps on a thread of their own: a daemon, so that one that hangs never delays the exit."""

    def run() -> None:
        for event, seconds in steps:
            event.wait(seconds)

    threading.Thread(target=run, name=name, daemon=True).start()


@dataclass(frozen=True, slots=True)
class Beside:
    """What a worker has beside its loop."""

    #: Begins to take steps, under a name.
    start: Callable[[str, Steps], None] = in_thread
    #: Ends the process at once, with a code.
    exit: Callable[[int], None] = os._exit
