"""Which tasks a client means, in the store's terms: of those that are theirs."""

from taskqueue.contract.requests import BulkBody, TaskFilter
from taskqueue.store import Filter
from taskqueue.store.clock import to_ms
from taskqueue_api.live.holders import Holder


def to_store(wanted: TaskFilter, holder: Holder) -> Filter:
    """The same filter for the store, narrowed to the tasks of whose request it is."""
    actions = holder.actions
    if actions is not None and wanted.action is not None:
        # The one that is wanted, or none.
        actions = None if wanted.action in actions else frozenset()
    return Filter(
        actions=None if actions is None else tuple(sorted(actions)),
        tag_prefix=holder.tag_prefix,
        statuses=frozenset(wanted.status),
        action=wanted.action,
        tag=wanted.tag,
        created_after=None if wanted.created_after is None else to_ms(wanted.created_after),
        created_before=None if wanted.created_before is None else to_ms(wanted.created_before),
        parent=wanted.parent,
        error=wanted.error,
        text=wanted.q,
        ids=tuple(wanted.ids) if isinstance(wanted, BulkBody) and wanted.ids else None,
    )
