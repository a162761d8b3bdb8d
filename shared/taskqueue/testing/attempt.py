"""`run`: one attempt of an action, by the worker's own code, without a store or a broker."""

import asyncio
import json
from collections.abc import Callable, Mapping
from random import SystemRandom
from typing import Any

from pydantic_core import from_json, to_jsonable_python

from taskqueue.actions import Action, registry
from taskqueue.log_lines import log_happening
from taskqueue.message import Message, encode
from taskqueue.store.clock import now_ms
from taskqueue.task import Claim, Outcome, new_id
from taskqueue.telemetry import Telemetry
from taskqueue.testing.settings import IsolatedSettings
from taskqueue_worker.execute import Run
from taskqueue_worker.resources import Resources


class AttemptFailedError(Exception):
    """The worker itself failed the attempt: wrong arguments, a result that is none, a timeout, a cancel.

    `outcome` is what the task's history would tell, `type` what its error would: `InvalidArguments`, `Cancelled`.
    """

    def __init__(self, outcome: Outcome, error: dict[str, str]) -> None:
        super().__init__(f"{error['type']}: {error['message']}")
        self.outcome = outcome
        self.type = error["type"]


async def arun(
    action: Callable[..., Any] | str,
    data: Mapping[str, Any] | None = None,
    /,
    *,
    attempt: int = 1,
    cancelled: bool = False,
    **arguments: Any,
) -> Any:
    """Run an action once, as a worker does, with its resources and all middleware.

    Args:
        action: a registered function, or the action's name.
        data: the task's `data`; `arguments` are added to it. Each goes through JSON.
        attempt: which one this is; those before count as failed.
        cancelled: a client asks to cancel while it runs: an `async def` handler is cancelled where it first waits,
            a `def` handler finds `task.cancelled` set.

    Returns:
        its result, as JSON has it.

    Raises:
        LookupError: the function is not registered.
        FatalError: a resource of the action can't be opened.
        AttemptFailedError: the worker failed the attempt, not the handler.
        Exception: what the handler raised, as it is.
    """
    name = name_of(action)
    settings, now = IsolatedSettings(), now_ms()
    known = registry.find_action(name)
    most = (known and known.options.max_attempts) or settings.max_attempts
    id = new_id(now, SystemRandom())
    payload = encode(Message(id, name, to_jsonable_python({**(data or {}), **arguments}), now / 1000))
    claim = Claim(
        seq=1,
        id=id,
        attempt=attempt,
        worker="test",
        action=name,
        payload=payload,
        failures=attempt - 1,
        max_attempts=max(attempt, most),
        timeout=None,
        started_at=now,
    )
    async with Resources.opened([known] if known else [], Telemetry(log_happening)) as resources:
        ending = await (_CancelledRun if cancelled else Run)(claim, settings, resources=resources).ending()
    if ending.raised is not None:
        raise ending.raised
    if ending.result is None:
        assert ending.error is not None
        raise AttemptFailedError(ending.outcome, json.loads(ending.error))
    return from_json(ending.result)


def run(
    action: Callable[..., Any] | str,
    data: Mapping[str, Any] | None = None,
    /,
    *,
    attempt: int = 1,
    cancelled: bool = False,
    **arguments: Any,
) -> Any:
    """`arun`, for tests that are no coroutines.

    Raises:
        RuntimeError: an event loop runs already.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        pass
    else:
        raise RuntimeError("an event loop runs already: `await arun(...)` in place of `run(...)`")
    return asyncio.run(arun(action, data, attempt=attempt, cancelled=cancelled, **arguments))


def name_of(action: Callable[..., Any] | str) -> str:
    """The name of an action, or of the one that a function is registered as.

    Raises:
        LookupError: the function is not registered.
    """
    if isinstance(action, str):
        return action
    for name, registered in registry.ACTIONS.items():
        if registered.function is action:
            return name
    raise LookupError(f"{action!r} is no registered action: @action registers it")


class _CancelledRun(Run):
    """Is cancelled as soon as its handler has begun."""

    async def _call(self, action: Action, call: Callable[[], Any]) -> Any:
        loop = asyncio.get_running_loop()

        def cancelled() -> Any:
            self._context._cancelled.set()
            loop.call_soon_threadsafe(self.interrupt, Outcome.CANCELLED)
            return call()

        return await super()._call(action, cancelled)
