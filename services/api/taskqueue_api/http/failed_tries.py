"""Who shows a wrong key waits for the answer, the longer the more often.

They are counted by the address that the connection comes from, or that a proxy tells which is trusted to. Behind
another proxy that is the proxy's: its clients then wait for one another's wrong keys. Who shows a right key never
waits, whoever else is at the same address.
"""

import asyncio

from prometheus_client import CollectorRegistry, Counter

from taskqueue_api.http.refusals import Refusals

#: Tries of an address that are answered at once.
_FREE = 5
#: Seconds that the next one waits; doubled for each further one, up to the longest.
_FIRST, _LONGEST = 0.1, 3.0
#: Seconds without a try after which an address begins anew.
_FORGOTTEN = 60
#: Addresses that are kept; of more, those that tried last.
_ADDRESSES = 1000


class FailedTries:
    """The wrong keys that were shown lately, by address."""

    def __init__(self, registry: CollectorRegistry) -> None:
        #: Tries, and when the last one came, on the loop's clock; the latest address last.
        self._by_address: dict[str, tuple[int, float]] = {}
        self._refusals = Refusals()
        self._count = Counter(
            "taskqueue_wrong_keys", "Wrong, expired and revoked keys that were shown.", registry=registry
        )

    async def add(self, address: str, error: str) -> None:
        """Count one, tell the log of it, and return when it may be answered."""
        now = asyncio.get_running_loop().time()
        tries, last = self._by_address.pop(address, (0, now))
        tries = 1 if now - last > _FORGOTTEN else tries + 1
        self._by_address[address] = tries, now
        if len(self._by_address) > _ADDRESSES:
            del self._by_address[next(iter(self._by_address))]
        self._count.inc()
        self._refusals.tell(error, remote=address, tries=tries)
        if tries > _FREE:
            await asyncio.sleep(min(_FIRST * 2 ** min(tries - _FREE - 1, 10), _LONGEST))
