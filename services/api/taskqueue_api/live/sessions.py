"""Sessions of pages, as their cookies have them: a key's id and an end, signed. Nothing is stored of one, so each
API knows them all; a session is good for as long as its key is, and no longer than its end."""

import hashlib
import hmac
import re

_TEXT = re.compile(r"([0-9A-Za-z]{12})\.([0-9]{1,15})\.([0-9a-f]{64})")


def sign(secret: bytes, key: str, until: int) -> str:
    """A session of a key, until a time in Unix milliseconds."""
    return f"{key}.{until}.{_mark(secret, key, until)}"


def verify(secret: bytes, text: str, now: int) -> tuple[str, int] | None:
    """The id of the session's key, and when it ends, in Unix milliseconds; None where it is none, or over.

    Args:
        now: Unix milliseconds.
    """
    found = _TEXT.fullmatch(text)
    if found is None:
        return None
    key, until, mark = found[1], int(found[2]), found[3]
    return (key, until) if hmac.compare_digest(mark, _mark(secret, key, until)) and now < until else None


def _mark(secret: bytes, key: str, until: int) -> str:
    return hmac.digest(secret, f"{key}.{until}".encode(), hashlib.sha256).hex()
