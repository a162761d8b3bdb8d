"""Which tasks a client means, in the store's terms."""

from taskqueue.contract.requests import TaskFilter
from taskqueue.store import Filter
from taskqueue.store.clock import to_ms


def to_store(wanted: TaskFilter) -> Filter:
    """The same filter for the store."""
    return Filter(
        statuses=frozenset(wanted.status),
        action=wanted.action,
        tag=wanted.tag,
        created_after=None if wanted.created_after is None else to_ms(wanted.created_after),
        created_before=None if wanted.created_before is None else to_ms(wanted.created_before),
        parent=wanted.parent,
    )
