"""taskqueue: a background task queue with a REST API.

What a file of handlers imports; everything else has its own module.
"""

from taskqueue.actions import Cancelled, Reject, Retry, Snooze, TaskContext, action, injected
from taskqueue.retry import Backoff

__all__ = ["Backoff", "Cancelled", "Reject", "Retry", "Snooze", "TaskContext", "action", "injected"]
