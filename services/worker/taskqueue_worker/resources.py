"""The resources that handlers take: opened once, at the worker's start, or for each task; closed in reverse."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable, Iterator
from typing import Any, Self

from taskqueue.actions import Action, Resource, TaskContext
from taskqueue.process import FatalError
from taskqueue.telemetry import ResourceNotClosed, Telemetry

#: Seconds that each has to close at the worker's end.
CLOSING = 5

_Opened = dict[object, Any]


class Resources:
    """Those that are open for all tasks, by key; and what opens those of one task."""

    def __init__(self) -> None:
        self._opened: _Opened = {}

    @classmethod
    @contextlib.asynccontextmanager
    async def opened(cls, actions: Iterable[Action], telemetry: Telemetry) -> AsyncIterator[Self]:
        """Open what these actions share, each resource after those that it takes.

        Leaving closes it. What fails then is told, and hinders no other.

        Raises:
            FatalError: one can't be opened; those before it have been closed.
        """
        async with contextlib.AsyncExitStack() as stack:
            self = cls()
            for resource in _shared(resource for action in actions for resource in action.resources.values()):
                if resource.key not in self._opened:
                    given = {name: self._opened[need.key] for name, need in resource.needs.items()}
                    self._opened[resource.key] = await stack.enter_async_context(
                        _for_all(resource, given, telemetry)
                    )
            yield self

    @contextlib.asynccontextmanager
    async def for_task(self, action: Action, context: TaskContext) -> AsyncIterator[dict[str, Any]]:
        """The values of an action's resources, by parameter, for one task. Those of the task are closed at its
        end, and are told by which exception it ended.

        Raises:
            Exception: whatever opening or closing one raised.
        """
        async with contextlib.AsyncExitStack() as stack:
            opened = dict(self._opened)
            yield {
                name: await _value(resource, opened, stack, context) for name, resource in action.resources.items()
            }


async def _value(
    resource: Resource, opened: _Opened, stack: contextlib.AsyncExitStack, context: TaskContext
) -> Any:
    if resource.key not in opened:
        given = {name: await _value(need, opened, stack, context) for name, need in resource.needs.items()}
        if resource.context_parameter:
            given[resource.context_parameter] = context
        opened[resource.key] = await stack.enter_async_context(resource.open(given))
    return opened[resource.key]


def _shared(resources: Iterable[Resource]) -> Iterator[Resource]:
    """Those of the worker among them and what they take, each after what it takes itself."""
    for resource in resources:
        yield from _shared(resource.needs.values())
        if resource.scope == "worker":
            yield resource


@contextlib.asynccontextmanager
async def _for_all(resource: Resource, given: dict[str, Any], telemetry: Telemetry) -> AsyncIterator[Any]:
    manager = resource.open(given)
    try:
        value = await manager.__aenter__()
    except (Exception, SystemExit) as error:
        raise FatalError(f"resource {resource.name!r} can't be opened: {type(error).__name__}: {error}") from error
    try:
        yield value
    finally:
        try:
            async with asyncio.timeout(CLOSING):
                await manager.__aexit__(None, None, None)
        except Exception as error:
            telemetry.tell(ResourceNotClosed(resource.name, error))
