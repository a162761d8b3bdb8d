"""Keys of the API, and what signs the sessions of its pages. The verbs are on a transaction.

A key's secret is kept as its SHA-256. A slow hash, as for passwords, would add nothing: it makes guesses dear, and
256 random bits are not guessed however cheap a guess is. It would cost each request, though.
"""

import hashlib
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass

from taskqueue.store.audit import Deed, note
from taskqueue.store.engine.protocol import Transaction


@dataclass(frozen=True, slots=True)
class StoredKey:
    """A key as it is kept. Times are Unix milliseconds."""

    id: str
    label: str
    role: str
    hash: bytes
    #: JSON text.
    scope: str
    created_at: int
    expires_at: int | None
    revoked_at: int | None
    last_used_at: int | None


def hash_of(secret: str) -> bytes:
    """What is kept of a secret."""
    return hashlib.sha256(secret.encode()).digest()


def add_key(
    tx: Transaction,
    id: str,
    secret: str,
    *,
    label: str,
    role: str,
    expires_at: int | None,
    scope: str = "{}",
    deed: Deed | None = None,
) -> StoredKey:
    """Keep a new key.

    Args:
        expires_at: Unix milliseconds.
        scope: what it is bound to, as JSON text.
        deed: is noted.
    """
    tx.insert(
        "add_key",
        id=id,
        label=label,
        role=role,
        hash=hash_of(secret),
        scope=scope,
        now=tx.now,
        expires_at=expires_at,
    )
    if deed is not None:
        note(tx, deed)
    [row] = tx.run("key", id=id)
    return StoredKey(**dict(row))


def revoke_key(tx: Transaction, id: str, deed: Deed | None = None) -> StoredKey | None:
    """End a key now, unless it was revoked before, and note the deed; None where there is none."""
    if tx.change("revoke_key", id=id, now=tx.now) and deed is not None:
        note(tx, deed)
    rows = tx.run("key", id=id)
    return StoredKey(**dict(rows[0])) if rows else None


def touch_keys(tx: Transaction, uses: Mapping[str, int]) -> None:
    """Note when keys were used last, in Unix milliseconds, by id."""
    tx.change("touch_keys", uses=json.dumps(list(uses.items())))


def session_secret(tx: Transaction) -> bytes:
    """What signs sessions: made once for each store, and the same for all its APIs."""
    tx.change("note_session_secret", secret=secrets.token_hex(32))
    [row] = tx.run("session_secret")
    return bytes.fromhex(row["value"])
