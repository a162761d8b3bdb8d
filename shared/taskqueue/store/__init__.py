"""The store: the tasks of an installation, in a database that all its processes share.

`open_store` opens it; `verbs` are what is written, `Store.reads` is what is read.
"""

from taskqueue.store import verbs
from taskqueue.store.catalogue import CatchAll, GivenUp, Repertoire, SetAside
from taskqueue.store.clock import now_ms
from taskqueue.store.engine.protocol import (
    CommitUnknownError,
    SchemaMismatchError,
    StoreBusyError,
    StoreError,
    StoreUnavailableError,
)
from taskqueue.store.engine.sqlite.locks import data_dir_lock
from taskqueue.store.idempotency import IdempotentRequest, Replay
from taskqueue.store.pages import Cursor, Filter
from taskqueue.store.store import Store, open_store
from taskqueue.store.verbs import Refusal
from taskqueue.store.workers import WorkerInfo

__all__ = [
    "CatchAll",
    "CommitUnknownError",
    "Cursor",
    "Filter",
    "GivenUp",
    "IdempotentRequest",
    "Refusal",
    "Repertoire",
    "Replay",
    "SchemaMismatchError",
    "SetAside",
    "Store",
    "StoreBusyError",
    "StoreError",
    "StoreUnavailableError",
    "WorkerInfo",
    "data_dir_lock",
    "now_ms",
    "open_store",
    "verbs",
]
