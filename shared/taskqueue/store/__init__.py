"""The store: one SQLite database in the data folder, shared by all processes."""

from taskqueue.store.clock import now_ms
from taskqueue.store.find import Cursor, Filter
from taskqueue.store.locks import data_dir_lock
from taskqueue.store.sqlite import StoreBusyError, StoreError, StoreUnavailableError
from taskqueue.store.store import TaskStore
from taskqueue.store.transitions import IdempotentRequest, Refusal, Replay, WorkerInfo

__all__ = [
    "Cursor",
    "Filter",
    "IdempotentRequest",
    "Refusal",
    "Replay",
    "StoreBusyError",
    "StoreError",
    "StoreUnavailableError",
    "TaskStore",
    "WorkerInfo",
    "data_dir_lock",
    "now_ms",
]
