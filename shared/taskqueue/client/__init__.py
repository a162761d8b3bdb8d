"""The client: submits tasks to the API, finds, watches and waits for them.

    from taskqueue.client import Client

    with Client("http://127.0.0.1:8080") as client:
        handle = client.submit("uppercase", {"text": "hello world"})
        print(handle.result(timeout=10))

It needs `httpx` and `httpx-sse` (the extra `client`), and nothing of what the API and the workers need.
"""

from taskqueue.client.bodies import Filter, SubmitOptions
from taskqueue.client.clients import AsyncClient, Client
from taskqueue.client.errors import (
    AnswerLostError,
    BatchError,
    ConflictError,
    ConnectionFailedError,
    ForbiddenError,
    InvalidRequestError,
    InvalidResultError,
    NotFoundError,
    NotTaskqueueError,
    RefusedError,
    TaskCancelledError,
    TaskFailedError,
    TaskqueueError,
    TooLargeError,
    UnauthorizedError,
    UnavailableError,
    WaitTimeoutError,
)
from taskqueue.client.events import Event
from taskqueue.client.handles import AsyncHandle, Handle

__all__ = [
    "AnswerLostError",
    "AsyncClient",
    "AsyncHandle",
    "BatchError",
    "Client",
    "ConflictError",
    "ConnectionFailedError",
    "Event",
    "Filter",
    "ForbiddenError",
    "Handle",
    "InvalidRequestError",
    "InvalidResultError",
    "NotFoundError",
    "NotTaskqueueError",
    "RefusedError",
    "SubmitOptions",
    "TaskCancelledError",
    "TaskFailedError",
    "TaskqueueError",
    "TooLargeError",
    "UnauthorizedError",
    "UnavailableError",
    "WaitTimeoutError",
]
