"""What the rest of taskqueue knows of a message broker. Implementations: `memory.py`, `rabbitmq/`."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol, Self


class BrokerState(StrEnum):
    """What publishing can count on right now."""

    CONNECTED = "connected"
    #: The broker takes no messages for now (a memory or disk alarm).
    BLOCKED = "blocked"
    DISCONNECTED = "disconnected"


class BrokerError(Exception):
    """The broker can't be used. The text says why, without the URL's password."""


class BusyError(BrokerError):
    """Somebody else of this process does what only one can do at a time."""


class QueueTakenError(BrokerError):
    """The queue is another store's, or the store has another queue. The text says what to do."""


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose messages a queue carries: those of one store."""

    #: The store's id.
    store: str
    #: Whether the queue is taken from another store.
    takes: bool = False


class PublishError(BrokerError):
    """The message was not confirmed. Unless it is an `UnroutableError`, the broker may still hold it."""


class UnroutableError(PublishError):
    """The broker has no queue for the message and did not keep it."""


class Delivery(Protocol):
    """A message handed to one consumer. Exactly one of `ack`, `requeue`, `reject` ends it.

    Each of them returns quietly when the delivery's connection is gone: the broker has then taken the
    message back and will deliver it again.
    """

    @property
    def body(self) -> bytes: ...
    @property
    def message_id(self) -> str | None:
        """What `publish` was given; None where a stranger published without one."""
        ...

    @property
    def redelivered(self) -> bool:
        """Whether the broker may have delivered this message before."""
        ...

    async def ack(self) -> None:
        """Done with it: the broker forgets the message.

        It may return before that is sent; a clean close of the consumer or broker sends it.
        """
        ...

    async def requeue(self) -> None:
        """Give it back for another consumer."""
        ...

    async def reject(self, reason: str) -> None:
        """Move it to the dead-letter queue, with `reason` in the header `x-reason`."""
        ...


class Consumer(Protocol):
    """A subscription that yields deliveries, at most `prefetch` unended at a time.

    Iterating ends when the broker is closed. A lost connection doesn't end it: deliveries that had not
    been yielded vanish (the broker redelivers them), and the subscription is made again.
    """

    def __aiter__(self) -> AsyncIterator[Delivery]: ...
    def take(self) -> Delivery | None:
        """The next delivery if there is one right now, without waiting; None also while paused or closed."""
        ...

    async def pause(self) -> None:
        """Stop the flow and give back what was received and not yet yielded.

        `__anext__` waits until `resume`. A delivery already yielded stays the caller's.
        """
        ...

    async def resume(self) -> None:
        """Let deliveries flow again; nothing happens if they do."""
        ...

    @property
    def attached(self) -> bool:
        """Whether the broker knows this subscription right now (False while paused)."""
        ...


class DeadLetter(Protocol):
    """A message that can't be a task, held by the walk that has met it. `requeue` or `drop` ends it, once."""

    @property
    def body(self) -> bytes: ...
    @property
    def message_id(self) -> str | None:
        """As of a delivery."""
        ...

    @property
    def reason(self) -> str:
        """Why it is no task."""
        ...

    @property
    def died_at(self) -> int | None:
        """Since when it is one, in Unix milliseconds; None where nobody has noted it."""
        ...

    async def requeue(self) -> None:
        """Put it back into the queue of tasks, and end it here once that is confirmed.

        Raises:
            BrokerError: it is not confirmed; the letter stays, and the queue may have it, too.
        """
        ...

    async def drop(self) -> None:
        """End it for good.

        Raises:
            BrokerError: the broker can't be told; the letter stays.
        """
        ...


class DeadLetters(Protocol):
    """A walk through the dead letters, oldest first, one in memory at a time.

    Iterating ends early where that takes too long. Letters that come meanwhile are not met.
    """

    #: How many there were at its beginning, also beyond those that it meets.
    count: int

    def __aiter__(self) -> AsyncIterator[DeadLetter]: ...


class Broker(Protocol):
    """One queue and its dead-letter queue. An async context manager: entered, it is started; left, closed.

    Entering doesn't wait for a broker that is away: the connection is made, and made again, in the
    background. Only what can't pass by itself (refused credentials, another store's queue) raises `BrokerError`.
    Leaving gives back unended deliveries.
    """

    async def __aenter__(self) -> Self: ...
    async def __aexit__(self, *exc_info: object) -> None: ...

    @property
    def state(self) -> BrokerState: ...

    @property
    def queues_created(self) -> int:
        """How often this process had to create the queue: a rise means that its messages were lost."""
        ...

    async def publish(self, body: bytes, *, message_id: str, priority: int, timeout: float) -> None:
        """Hand over a message and return once the broker has confirmed that it is safe.

        Raises at once when the broker is known to be away or blocked.

        Args:
            message_id: new for each publish.
            priority: 0 to 31, see `taskqueue.message.Priority`.
            timeout: seconds until it raises, whatever the broker does.

        Raises:
            UnroutableError: there is no queue for it.
            PublishError: not confirmed in time, refused, or no connection.
        """
        ...

    def consume(self, prefetch: int) -> AbstractAsyncContextManager[Consumer]:
        """Subscribe. Leaving the context ends the subscription and gives back its unended deliveries."""
        ...

    async def ready_count(self) -> int:
        """How many messages wait in the queue, undelivered.

        Raises:
            BrokerError: the broker can't be asked now.
        """
        ...

    async def dead_count(self) -> int:
        """How many dead letters there are.

        Raises:
            BrokerError: the broker can't be asked now.
        """
        ...

    def dead_letters(self, limit: int) -> AbstractAsyncContextManager[DeadLetters]:
        """Walk through the oldest `limit` dead letters, in the turn of this process; nobody else sees those that
        were met meanwhile. At its end, those that were not ended go back to their places.

        A broker elsewhere is reached by a connection of the walk's own, also before it is entered.

        Raises:
            BusyError: the walk before takes too long.
            BrokerError: the broker can't be reached now; also while iterating.
        """
        ...
