"""What a later deployment of the fault tests' workers adds to `actions.py`."""

from typing import Any

from taskqueue import TaskContext, action


@action
async def greet(name: str, task: TaskContext) -> dict[str, Any]:
    return {"output": f"hello {name}", "attempt": task.attempt}
