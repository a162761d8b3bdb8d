"""The actions of the tests of child processes. They tell by files in a folder, `marks`, and wait for some."""

import asyncio
import ctypes
import functools
import logging
import os
import re
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from taskqueue import CallNext, Depends, Reject, Retry, Snooze, TaskContext, action, middleware

in_process = functools.partial(action, executor="process")

log = logging.getLogger("tests.process_actions")
log_of_pool = logging.getLogger("tests.pool")


def wait_for(file: Path) -> None:
    while not file.exists():
        time.sleep(0.01)


def mark(folder: Path, name: str, text: object = "") -> None:
    """Write a file that is there as a whole or not at all."""
    (folder / f".{name}").write_text(str(text))
    (folder / f".{name}").rename(folder / name)


@in_process()
def tell(task: TaskContext, value: Annotated[int, Field(ge=0)] = 0) -> dict[str, Any]:
    """Where it runs, and for what."""
    return {
        "pid": os.getpid(),
        "parent": os.getppid(),
        "session": os.getsid(0),
        "task": [task.id, task.action, task.attempt],
        "left": (task.deadline or 0) - time.time(),
        "value": value,
    }


@in_process()
def spread(times: int, task: TaskContext, how: str = "") -> dict[str, Any]:
    """Submits so many tasks, and ends."""
    ids = [task.submit(here.options(priority="low")).id for _ in range(times)]
    if how:
        die(how)
    return {"ids": ids}


@in_process()
async def tell_async(task: TaskContext) -> dict[str, Any]:
    await asyncio.sleep(0)
    return {"pid": os.getpid(), "task": [task.id, task.action, task.attempt]}


@in_process()
def give(value: Any) -> dict[str, Any]:
    return {"value": value}


@in_process()
def give_a_set() -> Any:
    return {1, 2}


@in_process()
def fail(how: str) -> dict[str, Any]:
    match how:
        case "retry":
            raise Retry("not there yet", after=30)
        case "snooze":
            raise Snooze(30)
        case "reject":
            raise Reject("no such customer")
        case "exit":
            sys.exit("over")
        case _:
            raise LookupError("no such file")


@in_process()
def die(how: str) -> dict[str, Any]:
    """End the process in the middle of the task."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    match how:
        case "exit":
            os._exit(3)
        case "fork":
            # What is left behind has a copy of all that its parent had open.
            if os.fork():
                os._exit(3)
            time.sleep(600)
        case "program":
            os.system("sleep 600 &")
            os._exit(3)
        case "signal":
            os.kill(os.getpid(), 40)
        case "segfault":
            ctypes.string_at(0)
        case _:
            os.kill(os.getpid(), signal.SIGKILL)
    return {}


@in_process()
def die_first(task: TaskContext) -> dict[str, Any]:
    """End the process in the first attempt."""
    if task.attempt == 1:
        os._exit(3)
    return {}


@in_process()
def hold(marks: str, task: TaskContext) -> dict[str, Any]:
    """Mark its begin with its process, and that of a program that it starts, and wait to be let go."""
    folder = Path(marks)
    program = subprocess.Popen(["sleep", "600"])
    mark(folder, f"{task.id}.{task.attempt}", f"{os.getpid()} {program.pid}")
    wait_for(folder / "go")
    program.kill()
    program.wait()
    return {"pid": os.getpid()}


@in_process()
def hold_the_lock(marks: str, task: TaskContext) -> dict[str, Any]:
    """Like `hold`, but in C code that lets no other Python code run."""
    mark(Path(marks), f"{task.id}.{task.attempt}", f"{os.getpid()} {os.getpid()}")
    re.match(r"(a+)+$", "a" * 50 + "b")
    return {}


@in_process()
def report(task: TaskContext, fractions: list[float]) -> dict[str, Any]:
    for fraction in fractions:
        task.progress(fraction, f"at {fraction}")
    return {}


@in_process()
def report_later(marks: str, task: TaskContext) -> dict[str, Any]:
    """Leave a thread that tells progress when the attempt is over."""
    folder = Path(marks)

    def later() -> None:
        wait_for(folder / "late")
        task.progress(0.9, "too late")
        mark(folder, "told")

    threading.Thread(target=later, daemon=True).start()
    return {}


@in_process()
def write_logs() -> dict[str, Any]:
    log.info("%d", "no number")  # one that can't be formatted
    log.debug("not at this level")
    logging.getLogger("a_library").info("chat")
    log.info("about %s", "something", extra={"customer": {"id": 7}, "path": Path("a.png")})
    try:
        int("x")
    except ValueError:
        log.exception("it went wrong")
    return {}


@in_process()
def tell_at_once(marks: str, times: int, task: TaskContext) -> dict[str, Any]:
    """Tell progress so often, and wait to be let go."""
    for _ in range(times):
        task.progress(0.5)
    mark(Path(marks), "told")
    wait_for(Path(marks) / "go")
    return {}


def pool() -> Iterator[list[str]]:
    """The tasks that it was given to, in its process."""
    log_of_pool.info("opened in %d", os.getpid())
    yield []
    log_of_pool.info("closed in %d", os.getpid())


async def lent(pool: Annotated[list[str], Depends(pool)], task: TaskContext) -> AsyncIterator[list[str]]:
    pool.append(task.id)
    yield pool
    pool.append("given back")


@in_process()
def borrow(lent: Annotated[list[str], Depends(lent, scope="task")]) -> dict[str, Any]:
    return {"pid": os.getpid(), "pool": list(lent)}


@middleware
async def around_borrow(task: TaskContext, call_next: CallNext) -> Any:
    result = await call_next()
    return result | {"around": os.getpid()} if task.action == "borrow" else result


@in_process()
def flood(marks: str) -> dict[str, Any]:
    """Log and print as quickly as may be, until let go; how many lines."""
    lines = 0
    while not (Path(marks) / "go").exists():
        log.info("line %d", lines)
        print("x" * 100)
        lines += 1
    return {"lines": lines}


@in_process()
def linger() -> dict[str, Any]:
    """Leave a thread that lets the process not end."""
    threading.Thread(target=time.sleep, args=(600,), daemon=False).start()
    return {}


@in_process()
def stops_of_a_program() -> dict[str, Any]:
    """How a program that a handler starts ends when it is told to."""
    program = subprocess.Popen(["sleep", "600"])
    program.terminate()
    return {"code": program.wait()}


@action
async def here() -> dict[str, Any]:
    return {"pid": os.getpid()}
