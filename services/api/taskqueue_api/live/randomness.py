"""The system's random numbers, read some thousand bytes at a time: ids are drawn on the event loop, and each read
of the system's gives the interpreter to another thread."""

import os
from io import BytesIO
from random import SystemRandom

#: Bytes that are read at a time: those of some four hundred ids.
_READ = 4096


class BufferedRandom(SystemRandom):
    """As good as `SystemRandom`, and for all threads as that is."""

    def __init__(self) -> None:
        super().__init__()
        self._bytes = BytesIO()

    def getrandbits(self, k: int) -> int:
        """So many random bits, up to some thousand."""
        size = (k + 7) // 8
        # One call takes them from the buffer, so no other thread gets the same ones.
        while len(taken := self._bytes.read(size)) < size:
            self._bytes = BytesIO(os.urandom(_READ))
        return int.from_bytes(taken) >> (8 * size - k)
