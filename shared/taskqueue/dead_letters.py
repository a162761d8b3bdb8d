"""What can be done with dead letters, whatever the broker: look at them, requeue them, drop them."""

from codecs import getincrementaldecoder
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from hashlib import sha256
from typing import Literal

from taskqueue.broker import Broker, BrokerError, DeadLetter

#: Bytes of a message that are kept of it while others are looked at.
BYTES_SHOWN = 2000

Verb = Literal["requeue", "drop"]


@dataclass(frozen=True, slots=True)
class SeenLetter:
    """A dead letter that was looked at, and is back in its place."""

    #: Names it in each walk: made of what it holds, so it never comes to mean another letter.
    id: str
    reason: str
    #: Unix milliseconds; None where nobody has noted it.
    died_at: int | None
    #: The beginning of its message, and how many bytes this has in all.
    excerpt: bytes
    size: int

    @property
    def is_cut(self) -> bool:
        """Whether there is more of it."""
        return len(self.excerpt) < self.size

    @property
    def text(self) -> str:
        """The beginning as text: what is no UTF-8 is escaped, and no character is cut in two."""
        return getincrementaldecoder("utf-8")("backslashreplace").decode(self.excerpt, final=not self.is_cut)


@dataclass(frozen=True, slots=True)
class Ended:
    """How many dead letters were requeued or dropped, and how many were left."""

    count: int
    left: int
    #: What kept it from ending the others.
    problem: BrokerError | None = None


class _Names:
    """Ids for the letters of a walk. A publisher's `message_id` won't do: a foreign message may have none, or
    another's."""

    def __init__(self) -> None:
        self._copies = Counter[str]()

    def of(self, letter: DeadLetter) -> str:
        parts = ((letter.message_id or "").encode(), letter.reason.encode(), letter.body)
        digest = sha256(b"".join(sha256(part).digest() for part in parts)).hexdigest()[:12]
        self._copies[digest] += 1
        return digest if self._copies[digest] == 1 else f"{digest}-{self._copies[digest]}"


async def look(broker: Broker, limit: int) -> tuple[list[SeenLetter], int]:
    """The oldest dead letters, and how many there are in all.

    Raises:
        BrokerError: the broker can't be asked now.
    """
    names = _Names()
    async with broker.dead_letters(limit) as letters:
        seen = [
            SeenLetter(
                names.of(letter), letter.reason, letter.died_at, letter.body[:BYTES_SHOWN], len(letter.body)
            )
            async for letter in letters
        ]
        return seen, letters.count


async def unknown(broker: Broker, ids: Collection[str], limit: int) -> list[str]:
    """Which of these ids none of the oldest `limit` dead letters has.

    Raises:
        BrokerError: the broker can't be asked now.
    """
    names, left = _Names(), dict.fromkeys(ids)
    async with broker.dead_letters(limit) as letters:
        async for letter in letters:
            left.pop(names.of(letter), None)
            if not left:
                break
    return list(left)


async def end(broker: Broker, verb: Verb, ids: Collection[str] | None, limit: int) -> Ended:
    """Put dead letters back into the queue or drop them, one after the other.

    Args:
        ids: as `look` tells them; None is all among the oldest `limit`.

    Raises:
        BrokerError: the broker can't be asked now; nothing was done.
    """
    names, chosen, count = _Names(), None if ids is None else set(ids), 0
    async with broker.dead_letters(limit) as letters:
        try:
            async for letter in letters:
                id = names.of(letter)
                if chosen is None or id in chosen:
                    await (letter.requeue() if verb == "requeue" else letter.drop())
                    count += 1
                    if chosen is not None:
                        chosen.remove(id)
                if chosen is not None and not chosen:
                    break
        except BrokerError as error:
            if not count:
                raise
            return Ended(count, letters.count - count, error)
        return Ended(count, letters.count - count)
