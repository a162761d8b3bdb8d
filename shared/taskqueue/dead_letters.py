"""What can be done with dead letters, whatever the broker: look at them, requeue them, drop them."""

from codecs import getincrementaldecoder
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from hashlib import sha256
from typing import Literal

from taskqueue.broker import BrokerError, DeadLetter, DeadLetters
from taskqueue.contract.dead_letters import DeadLetterAnswer

#: Bytes of a message that are kept of it while others are looked at, and characters of its reason.
BYTES_SHOWN = 2000
REASON_SHOWN = 1000

Verb = Literal["requeue", "drop"]


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


async def look(letters: DeadLetters) -> list[DeadLetterAnswer]:
    """The letters of a walk.

    Raises:
        BrokerError: the broker can't be asked any more.
    """
    names = _Names()
    return [_seen(letter, names.of(letter)) async for letter in letters]


def _seen(letter: DeadLetter, id: str) -> DeadLetterAnswer:
    size = len(letter.body)
    truncated = size > BYTES_SHOWN
    # What is no UTF-8 is escaped, and no character is cut in two.
    decoder = getincrementaldecoder("utf-8")("backslashreplace")
    return DeadLetterAnswer(
        id=id,
        reason=letter.reason[:REASON_SHOWN],
        died_at=None if letter.died_at is None else letter.died_at / 1000,
        message=decoder.decode(letter.body[:BYTES_SHOWN], final=not truncated),
        size=size,
        truncated=truncated,
    )


async def unknown(letters: DeadLetters, ids: Collection[str]) -> list[str]:
    """Which of these ids none of a walk's letters has.

    Raises:
        BrokerError: the broker can't be asked any more.
    """
    names, left = _Names(), dict.fromkeys(ids)
    async for letter in letters:
        left.pop(names.of(letter), None)
        if not left:
            break
    return list(left)


async def end(letters: DeadLetters, verb: Verb, ids: Collection[str] | None) -> Ended:
    """Put the letters of a walk back into the queue, or drop them, one after the other.

    Args:
        ids: as `look` tells them; None is all.
    """
    names, chosen, count = _Names(), None if ids is None else set(ids), 0
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
        return Ended(count, letters.count - count, error)
    return Ended(count, letters.count - count)
