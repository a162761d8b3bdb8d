"""Actions: what a file of handlers imports, and where the worker looks a task's action up."""

from taskqueue.actions.context import Reject, Retry, TaskContext
from taskqueue.actions.registry import (
    FALLBACK,
    action,
    describe_actions,
    find_action,
    load_handlers,
    package_versions,
    version_of,
)
from taskqueue.actions.signatures import Action, HandlersError

__all__ = [
    "FALLBACK",
    "Action",
    "HandlersError",
    "Reject",
    "Retry",
    "TaskContext",
    "action",
    "describe_actions",
    "find_action",
    "load_handlers",
    "package_versions",
    "version_of",
]
