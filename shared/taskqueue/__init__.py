"""taskqueue: a background task queue with a REST API.

What a file of handlers imports; everything else has its own module.
"""

from taskqueue.actions import (
    CallNext,
    Cancelled,
    Depends,
    Reject,
    Retry,
    Snooze,
    TaskContext,
    action,
    injected,
    middleware,
)
from taskqueue.retry import Backoff

__all__ = [
    "Backoff",
    "CallNext",
    "Cancelled",
    "Depends",
    "Reject",
    "Retry",
    "Snooze",
    "TaskContext",
    "action",
    "injected",
    "middleware",
]
