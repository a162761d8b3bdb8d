"""A page's `next`: where the next page begins, as clients are given it."""

import base64
import hashlib
import json
from dataclasses import astuple

from taskqueue.store import Cursor, Filter
from taskqueue_api.http.errors import bad_request
from taskqueue_api.live.holders import Holder

NOT_A_CURSOR = "cursor: not the `next` of a page with this filter"


def encode(cursor: Cursor, filter: Filter, holder: Holder) -> str:
    """Where the next page begins, and a mark of the filter, and of the holder of a key, that it belongs to."""
    place = f"{cursor.before}.{cursor.floor}"
    filtered = json.dumps([holder.key, sorted(filter.statuses), *astuple(filter)[1:]])
    mark = hashlib.blake2b(f"{place} {filtered}".encode(), digest_size=6).hexdigest()
    return base64.urlsafe_b64encode(f"{place}.{mark}".encode()).decode().rstrip("=")


def decode(text: str, filter: Filter, holder: Holder) -> Cursor:
    """The cursor that was encoded.

    Raises:
        HTTPBadRequest: it wasn't, or belongs to another filter or holder.
    """
    try:
        before, floor, _ = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)).split(b".")
        cursor = Cursor(int(before), int(floor))
    except ValueError as error:
        raise bad_request(NOT_A_CURSOR) from error
    if encode(cursor, filter, holder) != text or not all(
        0 <= place <= Cursor().before for place in (cursor.before, cursor.floor)
    ):
        raise bad_request(NOT_A_CURSOR)
    return cursor
