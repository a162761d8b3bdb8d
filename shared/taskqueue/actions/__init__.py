"""Actions: what a file of handlers imports, and where the worker looks a task's action up."""

from taskqueue.actions.context import Cancelled, Reject, Retry, Snooze, TaskContext
from taskqueue.actions.middlewares import CallNext, around, middleware
from taskqueue.actions.registry import (
    FALLBACK,
    action,
    describe_actions,
    find_action,
    known_actions,
    load_handlers,
    package_versions,
)
from taskqueue.actions.resources import Depends, Resource
from taskqueue.actions.signatures import Action, HandlersError
from taskqueue.actions.submitting import injected

__all__ = [
    "FALLBACK",
    "Action",
    "CallNext",
    "Cancelled",
    "Depends",
    "HandlersError",
    "Reject",
    "Resource",
    "Retry",
    "Snooze",
    "TaskContext",
    "action",
    "around",
    "describe_actions",
    "find_action",
    "injected",
    "known_actions",
    "load_handlers",
    "middleware",
    "package_versions",
]
