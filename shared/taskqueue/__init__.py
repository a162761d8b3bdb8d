"""taskqueue: a background task queue with a REST API.

What a file of handlers imports; everything else has its own module.
"""

from taskqueue.actions import Reject, Retry, Snooze, TaskContext, action

__all__ = ["Reject", "Retry", "Snooze", "TaskContext", "action"]
