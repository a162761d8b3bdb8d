"""Keys in the store, as the API and the command line make, list and revoke them."""

from dataclasses import replace

from taskqueue.contract.keys import KeyAnswer, KeyBody, NewKeyAnswer, Role, Scope, new_key
from taskqueue.store import Store
from taskqueue.store.audit import Deed
from taskqueue.store.clock import to_ms
from taskqueue.store.keys import StoredKey, add_key, revoke_key


async def make_key(store: Store, wanted: KeyBody, deed: Deed) -> NewKeyAnswer:
    """Make a key; what is returned alone has it.

    Args:
        deed: is noted, with the key's id.

    Raises:
        ValueError: it would have expired already.
        StoreUnavailableError: the store can't be written now.
    """
    now = store.clock()
    expires_at = None if wanted.expires_at is None else to_ms(wanted.expires_at)
    if wanted.expires_in is not None:
        expires_at = now + to_ms(wanted.expires_in)
    if expires_at is not None and expires_at <= now:
        raise ValueError("the key would have expired already")
    scope = "{}" if wanted.scope is None else wanted.scope.model_dump_json()
    text, id, secret = new_key()
    stored = await store.write(
        add_key,
        id,
        secret,
        label=wanted.label,
        role=wanted.role,
        expires_at=expires_at,
        scope=scope,
        deed=replace(deed, target=id),
    )
    return NewKeyAnswer.of(text, _answer(stored))


async def all_keys(store: Store) -> list[KeyAnswer]:
    """All keys, newest first; those that are revoked or expired, too.

    Raises:
        StoreUnavailableError: the store can't be read now.
    """
    return [_answer(key) for key in await store.reads.keys()]


async def end_key(store: Store, id: str, deed: Deed) -> KeyAnswer | None:
    """Revoke a key, unless it was revoked before; None where there is none.

    Args:
        deed: is noted, with the key's id, where the key is revoked by it.

    Raises:
        StoreUnavailableError: the store can't be written now.
    """
    stored = await store.write(revoke_key, id, replace(deed, target=id))
    return None if stored is None else _answer(stored)


def scope_of(key: StoredKey) -> Scope | None:
    """What a key is bound to; None: to nothing."""
    return None if key.scope == "{}" else Scope.model_validate_json(key.scope)


def _answer(key: StoredKey) -> KeyAnswer:
    return KeyAnswer(
        id=key.id,
        label=key.label,
        role=Role(key.role),
        scope=scope_of(key),
        created_at=key.created_at / 1000,
        expires_at=_seconds(key.expires_at),
        revoked_at=_seconds(key.revoked_at),
        last_used_at=_seconds(key.last_used_at),
    )


def _seconds(milliseconds: int | None) -> float | None:
    return None if milliseconds is None else milliseconds / 1000
