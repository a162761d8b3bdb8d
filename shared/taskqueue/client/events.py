"""Streams of events, which go on by themselves where a connection ends."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Any, Literal

from httpx_sse import ServerSentEvent
from pydantic import ValidationError

from taskqueue.client.asking import Tries
from taskqueue.client.calls import Call, no_taskqueue
from taskqueue.client.errors import ConnectionFailedError, NotTaskqueueError, TaskqueueError
from taskqueue.client.wires import Wire
from taskqueue.contract.events import EventData
from taskqueue.task import FINAL


@dataclass(frozen=True, slots=True)
class Event:
    """A change of a task."""

    #: `status`: it has a new one; `progress`: the handler told its progress; `reset`: events were missed, because
    #: they are not kept for so long. What is watched has to be read again.
    kind: Literal["status", "progress", "reset"]
    #: Watching may begin again after it.
    id: str
    #: The task, where it stood then; None of a reset.
    data: EventData | None

    @property
    def is_last(self) -> bool:
        """Whether the task is final."""
        return self.data is not None and self.kind == "status" and self.data.status in FINAL


async def follow(wire: Wire, call: Call[None], seconds: float, after: str | None) -> AsyncGenerator[Event, None]:
    """The events after one, or from now on, until the API says that there will be no more.

    Args:
        seconds: how long it is tried to get a stream back that broke.

    Raises:
        TaskqueueError: the stream can't be had.
    """
    tries = Tries(wire, seconds)
    while True:
        try:
            async with wire.stream(_resumed(call, after)) as (response, events):
                if not response.is_success:
                    raise call.refusal(response)
                if response.status_code == 204:
                    return
                if not response.headers.get("Content-Type", "").startswith("text/event-stream"):
                    raise no_taskqueue(response)
                tries.succeed()
                after = after or response.headers.get("Last-Event-ID")
                async for event in events:
                    after = event.id or after
                    if event.data:
                        yield _read(event)
            failure: TaskqueueError = ConnectionFailedError("the stream ended")
        except TaskqueueError as error:
            failure = error
        if not call.may_follow(failure) or not await tries.one_more(failure):
            raise failure


async def until_last(events: AsyncGenerator[Event, None]) -> AsyncGenerator[Event, None]:
    """The events of one task, to its end. A reset is followed by where the task stands, so nothing is missed."""
    async with aclosing(events):
        async for event in events:
            if event.kind != "reset":
                yield event
            if event.is_last:
                return


def _resumed(call: Call[Any], after: str | None) -> Call[Any]:
    return call if after is None else replace(call, headers={**call.headers, "Last-Event-ID": after})


def _read(event: ServerSentEvent) -> Event:
    kind: Any = event.event
    try:
        data = None if kind == "reset" else EventData.model_validate_json(event.data)
    except ValidationError as error:
        raise NotTaskqueueError(f"an event that this version of the client does not know: {error}") from error
    return Event(kind, event.id, data)
