"""The keys of the store, in memory: no request asks the store for one. What any API, or the command line, changes
about them holds here within a second or two."""

import asyncio
import hmac
import logging
from dataclasses import dataclass, replace

from taskqueue.contract.keys import Role, read_key
from taskqueue.keys import scope_of
from taskqueue.store import Store, StoreError
from taskqueue.store.keys import StoredKey, hash_of, session_secret, touch_keys
from taskqueue_api.http.credentials import Credentials
from taskqueue_api.live.holders import Holder
from taskqueue_api.live.sessions import sign, verify

log = logging.getLogger("taskqueue.api")

#: Seconds between two looks.
_INTERVAL = 1
#: Milliseconds by which a key's last use may be older than what is stored of it.
_COARSE = 10 * 60_000
#: Is compared with where there is no such key: that takes as long.
_NO_HASH = bytes(32)

WRONG, EXPIRED, REVOKED = "there is no such key", "the key has expired", "the key has been revoked"
NO_SESSION = "the session has ended"


@dataclass(frozen=True, slots=True)
class _Key:
    stored: StoredKey
    holder: Holder


class Keyring:
    """Finds who holds a key, or a session that one began."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._keys: dict[str, _Key] = {}
        self._session_secret = b""
        #: By key: its last use that is not stored yet, in Unix milliseconds.
        self._uses: dict[str, int] = {}
        self._noting: asyncio.Future[None] | None = None
        self._version: int | None = None

    async def open(self) -> None:
        """Read it for the first time.

        Raises:
            StoreError: it can't be read, or written.
        """
        self._session_secret = await self._store.write(session_secret)
        await self.refresh()
        if not any(self._end_of(key.stored) is None for key in self._keys.values()):
            log.warning("there is no key yet that opens anything: `taskqueue keys create` makes one")

    async def run(self) -> None:
        """Follow what changes, for ever."""
        told = False
        while True:
            await asyncio.sleep(_INTERVAL)
            try:
                await self._look()
                told = False
            except StoreError as error:
                if not told:
                    log.warning("keys can't be read, and are as they were: %s", error)
                told = True
            except Exception:  # without it a revoked key would be good for ever
                log.exception("keys can't be read, and are as they were")

    async def refresh(self) -> None:
        """Read it now.

        Raises:
            StoreUnavailableError: the store can't be read.
        """
        self._keys = {key.id: _Key(key, _holder_of(key)) for key in await self._store.reads.keys()}

    def identify(self, shown: Credentials) -> Holder | str:
        """Who shows this; or what is wrong with it."""
        return self._of_session(shown.text) if shown.session else self._of_key(shown.text)

    def is_good(self, holder: Holder) -> bool:
        """Whether the holder's key has neither expired nor been revoked since, nor their session ended."""
        if holder.key is None:
            return True
        if holder.session_ends is not None and holder.session_ends <= self._store.clock():
            return False
        key = self._keys.get(holder.key)
        return key is not None and self._end_of(key.stored) is None

    def session_for(self, holder: Holder, until: int) -> str:
        """A session of the holder of a key, until a time in Unix milliseconds; it ends with its key, if that is
        sooner."""
        assert holder.key is not None, "there are no sessions without keys"
        return sign(self._session_secret, holder.key, until)

    def _of_key(self, text: str) -> Holder | str:
        parts = read_key(text)
        if parts is None:
            return WRONG
        id, secret = parts
        key = self._keys.get(id)
        right = hmac.compare_digest(key.stored.hash if key else _NO_HASH, hash_of(secret))
        if key is None or not right:
            return WRONG
        return self._used(key)

    def _of_session(self, text: str) -> Holder | str:
        session = verify(self._session_secret, text, self._store.clock())
        if session is None or (key := self._keys.get(session[0])) is None:
            return NO_SESSION
        found = self._used(key)
        return found if isinstance(found, str) else replace(found, session_ends=session[1])

    def _used(self, key: _Key) -> Holder | str:
        end = self._end_of(key.stored)
        if end is not None:
            return end
        now = self._store.clock()
        if now - (key.stored.last_used_at or 0) >= _COARSE:
            self._uses[key.stored.id] = now
        return key.holder

    def _end_of(self, key: StoredKey) -> str | None:
        if key.revoked_at is not None:
            return REVOKED
        if key.expires_at is not None and key.expires_at <= self._store.clock():
            return EXPIRED
        return None

    async def _look(self) -> None:
        version = await self._store.reads.data_version()
        if version != self._version:
            await self.refresh()
            self._version = version
        if self._uses and (self._noting is None or self._noting.done()):
            # Nobody waits for it: while it can't be written, what is revoked elsewhere must hold all the same.
            uses, self._uses = self._uses, {}
            self._noting = self._store.write(touch_keys, uses)
            self._noting.add_done_callback(_tell_what_went_wrong)


def _tell_what_went_wrong(noting: "asyncio.Future[None]") -> None:
    if not noting.cancelled() and (error := noting.exception()) is not None:
        log.warning("the last use of keys can't be noted: %s", error)


def _holder_of(key: StoredKey) -> Holder:
    scope = scope_of(key)
    if scope is None:
        return Holder(key.id, key.label, Role(key.role))
    actions = None if scope.actions is None else frozenset(scope.actions)
    return Holder(key.id, key.label, Role(key.role), actions, scope.tag_prefix)
