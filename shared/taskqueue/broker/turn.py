"""Whose turn it is to walk through the dead letters: who holds some hides them from all others."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from .protocol import BusyError

#: Seconds that a walk waits for the one before it.
PATIENCE = 10


class Turn:
    """One walk at a time."""

    def __init__(self) -> None:
        self._lock = asyncio.Lock()

    @asynccontextmanager
    async def taken(self) -> AsyncIterator[None]:
        """
        Raises:
            BusyError: the walk before takes too long.
        """
        try:
            async with asyncio.timeout(PATIENCE):
                await self._lock.acquire()
        except TimeoutError:
            raise BusyError("the dead letters are being walked through already") from None
        try:
            yield
        finally:
            self._lock.release()
