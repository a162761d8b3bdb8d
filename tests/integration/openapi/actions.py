"""An action that tells its progress."""

from typing import Any

from taskqueue import TaskContext, action


@action
async def resize(image: str, width: int, task: TaskContext) -> dict[str, Any]:
    task.progress(0.4, "resizing")
    return {"output": f"{image}?width={width}"}
