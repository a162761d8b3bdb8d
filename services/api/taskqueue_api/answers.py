"""Tasks as clients see them: times are in Unix seconds."""

import json
from typing import Any

from taskqueue.message import Priority
from taskqueue.task import Attempt, Task


def task_json(task: Task) -> dict[str, Any]:
    """A task."""
    return {
        "id": task.id,
        "action": task.action,
        "payload": json.loads(task.payload),
        "status": task.status,
        "result": task.result and json.loads(task.result),
        "error": task.error and json.loads(task.error),
        "progress": task.progress and json.loads(task.progress),
        "tags": task.tags,
        "created_at": task.created_at / 1000,
        "run_at": task.run_at / 1000,
        "processed_at": task.processed_at and task.processed_at / 1000,
        "priority": Priority(task.priority).name.lower(),
        "attempt": task.attempt,
        "failures": task.failures,
        "max_attempts": task.max_attempts,
        "timeout": task.timeout and task.timeout / 1000,
        "cancel_requested": task.cancel_requested,
    }


def attempt_json(attempt: Attempt) -> dict[str, Any]:
    """An attempt at a task."""
    return {
        "number": attempt.number,
        "worker": attempt.worker,
        "started_at": attempt.started_at / 1000,
        "ended_at": attempt.ended_at and attempt.ended_at / 1000,
        "outcome": attempt.outcome,
        "error": attempt.error and json.loads(attempt.error),
    }
