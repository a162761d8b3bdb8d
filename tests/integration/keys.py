"""An API that asks for keys, and keys for it."""

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from tests.integration.system import System, quick_settings

from taskqueue.contract.keys import Role, new_key
from taskqueue.store import Store
from taskqueue.store.clock import now_ms
from taskqueue.store.engine.protocol import Clock
from taskqueue.store.keys import add_key
from taskqueue_api.keys import KEYRING


async def keep_key(store: Store, role: Role, expires_at: int | None = None) -> str:
    """A new key, as the command line would put it into the store."""
    text, id, secret = new_key()
    await store.write(add_key, id, secret, label=f"a {role}", role=role, expires_at=expires_at)
    return text


async def key_of(system: System, role: Role, expires_at: int | None = None) -> str:
    """A new key that the API knows already."""
    text = await keep_key(system.store, role, expires_at)
    await system.client.server.app[KEYRING].refresh()  # type: ignore[attr-defined]
    return text


def shown(key: str) -> dict[str, str]:
    """The header that shows a key."""
    return {"Authorization": f"Bearer {key}"}


@contextlib.asynccontextmanager
async def asking_for_keys(folder: Path, clock: Clock = now_ms, **values: Any) -> AsyncIterator[System]:
    """A taskqueue whose API asks for keys."""
    async with System.open(quick_settings(folder, auth="on", **values), clock=clock) as system:
        yield system
