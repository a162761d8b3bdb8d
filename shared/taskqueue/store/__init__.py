"""The store: one SQLite database in the data folder, shared by all processes."""

from taskqueue.store.locks import data_dir_lock
from taskqueue.store.sqlite import StoreBusyError, StoreError, StoreUnavailableError
from taskqueue.store.store import TaskStore, now_ms
from taskqueue.store.transitions import Refusal, WorkerInfo

__all__ = [
    "Refusal",
    "StoreBusyError",
    "StoreError",
    "StoreUnavailableError",
    "TaskStore",
    "WorkerInfo",
    "data_dir_lock",
    "now_ms",
]
