"""Actions: what a file of handlers imports, and where the worker looks a task's action up."""

from taskqueue.actions.context import Cancelled, Reject, Retry, Snooze, TaskContext
from taskqueue.actions.registry import action, describe_actions, find_action, load_handlers
from taskqueue.actions.signatures import Action, HandlersError
from taskqueue.actions.submitting import injected

__all__ = [
    "Action",
    "Cancelled",
    "HandlersError",
    "Reject",
    "Retry",
    "Snooze",
    "TaskContext",
    "action",
    "describe_actions",
    "find_action",
    "injected",
    "load_handlers",
]
