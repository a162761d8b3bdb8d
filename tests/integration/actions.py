"""The actions of these tests. Those that wait do it for a gate, by its name."""

import asyncio
import contextlib
import logging
import threading
import time
from collections import defaultdict
from typing import Any

from tests.conformance.waiting import eventually

from taskqueue import Backoff, Reject, Retry, Snooze, TaskContext, action


class Gate:
    """Where a handler waits for its test. Threads and coroutines pass the same one."""

    def __init__(self) -> None:
        #: How many handlers have come to it.
        self.arrivals = 0
        self.open = threading.Event()


#: New for each test.
gates: defaultdict[str, Gate] = defaultdict(Gate)
#: What handlers noted, in order.
notes: list[str] = []


def forget() -> None:
    """Between two tests: threads that still wait are let go."""
    for gate in gates.values():
        gate.open.set()
    gates.clear()
    notes.clear()


async def started(name: str, times: int = 1) -> None:
    """Wait until handlers have come to a gate this often."""
    await eventually(lambda: gates[name].arrivals >= times)


def let_go(name: str) -> None:
    gates[name].open.set()


@action
async def hold(name: str) -> dict[str, Any]:
    gate = gates[name]
    gate.arrivals += 1
    while not gate.open.is_set():  # noqa: ASYNC110  # the gate is a thread's, too
        await asyncio.sleep(0.005)
    return {"output": name}


@action
def hold_thread(name: str) -> dict[str, Any]:
    """Holds its thread, whatever it is told."""
    gate = gates[name]
    gate.arrivals += 1
    gate.open.wait()
    return {"output": name}


@action
def watch_flag(name: str, task: TaskContext) -> dict[str, Any]:
    """Holds its thread until it is told to stop."""
    gates[name].arrivals += 1
    while not (task.cancelled or gates[name].open.is_set()):
        time.sleep(0.005)
    if task.cancelled:
        notes.append("saw the flag")
        raise RuntimeError("stopped")
    return {"output": name}


@action
async def clean_up(name: str, seconds: float = 0) -> dict[str, Any]:
    """Is held until it is cancelled, and then takes its time to clean up."""
    gates[name].arrivals += 1
    try:
        await asyncio.Event().wait()
    finally:
        notes.append("cleaning")
        await asyncio.sleep(seconds)
        notes.append("clean")
    return {}


@action
async def insist(name: str) -> dict[str, Any]:
    """Returns a result although it was cancelled."""
    gates[name].arrivals += 1
    with contextlib.suppress(asyncio.CancelledError):
        await asyncio.Event().wait()
    return {"output": "all the same"}


@action
async def fail(message: str = "on purpose", until_attempt: int = 1000, *, task: TaskContext) -> dict[str, Any]:
    """Fails in each attempt before `until_attempt`."""
    notes.append(f"attempt {task.attempt}")
    if task.attempt < until_attempt:
        raise RuntimeError(message)
    return {"output": task.attempt}


@action
async def ask_again(after: float, task: TaskContext) -> dict[str, Any]:
    """Asks once for another attempt."""
    if task.attempt == 1:
        raise Retry("not there yet", after=after)
    return {"output": task.attempt}


@action
async def refuse() -> dict[str, Any]:
    raise Reject("no such customer")


@action(max_attempts=3, retry=Backoff(first=0.1, jitter=False))
async def fail_thrice() -> None:
    raise RuntimeError("on purpose")


@action
async def put_off(times: int, task: TaskContext) -> None:
    """Not now: so many times."""
    if task.attempt <= times:
        raise Snooze(0)


@action
async def note(text: str) -> dict[str, Any]:
    notes.append(text)
    return {}


@action
def thread_name() -> dict[str, Any]:
    return {"output": threading.current_thread().name}


@action
async def give(value: Any) -> Any:
    """Returns whatever it was given."""
    return value


@action
async def log_something() -> None:
    logging.getLogger().warning("something")


@action
def log_something_in_a_thread() -> None:
    logging.getLogger().warning("something")


@action
async def give_set(members: list[int]) -> set[int]:
    return set(members)


@action
async def nest(levels: int) -> dict[str, Any]:
    """Returns objects in objects."""
    result: dict[str, Any] = {}
    for _ in range(levels - 1):
        result = {"x": result}
    return result


@action
async def tell_half_a_pair(task: TaskContext) -> dict[str, Any]:
    """Tells strings that are Unicode only in part, as operating systems have them in file names."""
    task.progress(0.5, "half \ud800")
    raise Reject("half \udfff")


@action
async def describe(task: TaskContext) -> dict[str, Any]:
    return {"id": task.id, "action": task.action, "attempt": task.attempt}


@action
async def report(name: str, fractions: list[float], task: TaskContext) -> dict[str, Any]:
    """Tells its progress, then waits for its gate, where it has a name."""
    for fraction in fractions:
        task.progress(fraction, f"at {fraction}")
    if name:
        await hold(name)
    return {}


@action
def report_in_thread(name: str, fractions: list[float], task: TaskContext) -> dict[str, Any]:
    for fraction in fractions:
        task.progress(fraction)
    if name:
        hold_thread(name)
    return {}


@action
def report_too_late(name: str, task: TaskContext) -> dict[str, Any]:
    """Tells its progress after its attempt has been abandoned."""
    gates[name].arrivals += 1
    gates[name].open.wait()
    task.progress(0.9, "too late")
    notes.append("told")
    return {}


@action
async def spread(names: list[str], task: TaskContext, gate: str = "", failing: bool = False) -> dict[str, Any]:
    """Submits a note of each name; then waits for its gate, where it has one."""
    ids = [task.submit(note, name).id for name in names]
    if gate:
        await hold(gate)
    if failing:
        raise Reject("on purpose")
    return {"output": ids}


@action
def spread_in_thread(names: list[str], task: TaskContext) -> dict[str, Any]:
    return {"output": [task.submit("note", {"text": name}, tags=["spread"]).id for name in names]}


@action
async def x(**data: Any) -> dict[str, Any]:
    """Takes whatever it is given, where a test needs any task that completes."""
    return {}


@action
async def echo(**data: Any) -> dict[str, Any]:
    return {"output": data.get("value")}
