"""The actions of the fault tests that run in child processes: apart, since a worker with one starts children."""

import os
import time
from pathlib import Path
from typing import Any

from taskqueue import TaskContext, action


@action(executor="process")
def hold_in_process(marks: str, task: TaskContext) -> dict[str, Any]:
    """Leave a mark with the process of this attempt, then wait until somebody makes the file `go`."""
    folder = Path(marks)
    mark = folder / f"{task.id}.{task.attempt}"
    mark.with_suffix(".new").write_text(str(os.getpid()))
    mark.with_suffix(".new").rename(mark)
    while not (folder / "go").exists():
        time.sleep(0.02)
    return {"output": "held", "attempt": task.attempt}


@action(executor="process")
def echo_in_process(value: int, task: TaskContext) -> dict[str, Any]:
    return {"output": value, "attempt": task.attempt}
