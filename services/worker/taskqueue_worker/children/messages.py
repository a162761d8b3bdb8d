"""What a worker and a child tell each other: pickles, each behind its length.

The worker tells `Start`, then a `Claim` at a time. The child tells `Ready`, then the `Ending` of each claim, and
`Progress` and `Log` in between.
"""

import pickle
import struct
from dataclasses import dataclass
from typing import Any

from taskqueue.settings import Settings
from taskqueue.task import Claim
from taskqueue_worker.execute import Ending

_LENGTH = struct.Struct("!I")
#: Bytes of what stands before each message.
HEAD = _LENGTH.size


@dataclass(frozen=True, slots=True)
class Start:
    """What a child needs to find the handlers that its worker has."""

    path: list[str]
    settings: Settings


@dataclass(frozen=True, slots=True)
class Ready:
    """The child has loaded its handlers and opened their resources, or tells in a line why it can't."""

    problem: str | None = None


@dataclass(frozen=True, slots=True)
class Progress:
    """What an attempt's handler told; it may come after the attempt, from a thread that the handler left."""

    id: str
    attempt: int
    text: str


@dataclass(frozen=True, slots=True)
class Log:
    """A log record, as a JSON object."""

    record: str


Message = Start | Claim | Ready | Progress | Log | Ending


def pack(message: Message) -> bytes:
    """A message with its head."""
    body = pickle.dumps(message)
    return _LENGTH.pack(len(body)) + body


def length(head: bytes) -> int:
    """How many bytes follow a head."""
    return int(_LENGTH.unpack(head)[0])


def unpack(body: bytes) -> Any:
    """The message that a body holds."""
    return pickle.loads(body)  # noqa: S301  # both ends run the same user's code
