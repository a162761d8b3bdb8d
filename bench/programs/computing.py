"""Actions that compute, in pure Python: the same in a thread and in a process."""

from typing import Any

from taskqueue import action


def compute(steps: int) -> dict[str, Any]:
    """About half a second for 10,000,000 steps."""
    total = 0
    for number in range(steps):
        total += number
    return {"output": total}


action("compute_in_thread")(compute)
action("compute_in_process", executor="process")(compute)
