"""Cuts tasks, however many, into batches that the API takes."""

from collections.abc import AsyncIterable, AsyncIterator, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from taskqueue.contract.limits import MAX_BATCH
from taskqueue.contract.options import to_json
from taskqueue.contract.requests import SubmitBody

#: The body of a submit: `action`, `data`, `delay`, ... as `POST /tasks` takes it.
Task = SubmitBody | Mapping[str, Any]

#: Bytes of a batch, unless one task has more: half of what the API takes by default.
_MAX_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Batch:
    """Some of the tasks, each as a line of JSON."""

    #: The place of the first one, from 0.
    start: int
    lines: list[bytes]

    @property
    def places(self) -> range:
        """Where its tasks stand among all."""
        return range(self.start, self.start + len(self.lines))

    @property
    def content(self) -> bytes:
        """As NDJSON."""
        return b"\n".join(self.lines)

    def halves(self) -> "tuple[Batch, Batch]":
        """The same tasks in two batches."""
        middle = len(self.lines) // 2
        return Batch(self.start, self.lines[:middle]), Batch(self.start + middle, self.lines[middle:])


async def cut(tasks: Iterable[Task] | AsyncIterable[Task]) -> AsyncIterator[Batch]:
    """Batches of these tasks, in their order; no more of them are read than fit into one."""
    start, size = 0, 0
    lines: list[bytes] = []
    async for task in _each(tasks):
        line = to_json(_told(task))
        if lines and (len(lines) == MAX_BATCH or size + len(line) > _MAX_BYTES):
            yield Batch(start, lines)
            start, size, lines = start + len(lines), 0, []
        lines.append(line)
        size += len(line)
    if lines:
        yield Batch(start, lines)


async def _each(tasks: Iterable[Task] | AsyncIterable[Task]) -> AsyncIterator[Task]:
    if isinstance(tasks, AsyncIterable):
        async for task in tasks:
            yield task
    else:
        for task in tasks:
            yield task


def _told(task: Task) -> Any:
    return task.model_dump(exclude_unset=True) if isinstance(task, SubmitBody) else task
