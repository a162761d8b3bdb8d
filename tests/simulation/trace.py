"""What happened in a run, readable: the virtual time, the process, and what it told."""

import asyncio
import dataclasses
from pathlib import Path
from typing import Any, TypeVar

from tests.simulation.loop import Process

from taskqueue.task import Claim
from taskqueue.telemetry import Committed

T = TypeVar("T")


class Trace:
    """Takes note of it; it is put into words at the end."""

    def __init__(self, loop: asyncio.AbstractEventLoop, folder: Path) -> None:
        self._loop = loop
        #: Has another name each time.
        self._folder = f"{folder}/"
        self._notes: list[tuple[float, str, object]] = []

    def note(self, process: Process, happening: object) -> None:
        """Take note of a happening of the product's telemetry, or of a text."""
        self._notes.append((self._loop.time(), process.name, happening))

    def told(self, kind: type[T]) -> list[T]:
        """The happenings of a kind."""
        return [happening for _, _, happening in self._notes if isinstance(happening, kind)]

    def lines(self) -> list[str]:
        return [
            f"{time:9.4f}  {name:<10} {_in_words(happening).replace(self._folder, '')}"
            for time, name, happening in self._notes
        ]


def _in_words(happening: Any) -> str:
    if isinstance(happening, str):
        return happening
    if isinstance(happening, Committed):  # how long that took is real time: it was no virtual one
        return f"Committed {happening.writes}"
    values = {field.name: getattr(happening, field.name) for field in dataclasses.fields(happening)}
    return f"{type(happening).__name__} " + " ".join(f"{name}={_short(value)}" for name, value in values.items())


def _short(value: object) -> str:
    if isinstance(value, Claim):
        return f"{value.id} attempt {value.attempt}"
    if isinstance(value, tuple):
        return f"({', '.join(_short(item) for item in value)})"
    return str(value)
