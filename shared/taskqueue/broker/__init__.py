"""The message broker: `open_broker` and the protocol that every broker keeps."""

from random import Random
from urllib.parse import urlsplit

from .memory import MemoryBroker
from .protocol import (
    Broker,
    BrokerError,
    BrokerState,
    BusyError,
    Consumer,
    DeadLetter,
    DeadLetters,
    Delivery,
    Owner,
    PublishError,
    QueueTakenError,
    UnroutableError,
)

__all__ = [
    "Broker",
    "BrokerError",
    "BrokerState",
    "BusyError",
    "Consumer",
    "DeadLetter",
    "DeadLetters",
    "Delivery",
    "Owner",
    "PublishError",
    "QueueTakenError",
    "UnroutableError",
    "open_broker",
]


def open_broker(url: str, queue: str, *, owner: Owner | None = None, random: Random | None = None) -> Broker:
    """A broker that is not started yet: enter it with `async with`.

    Args:
        url: `memory://`, `amqp://user:password@host:port/vhost` or `amqps://...`.
        queue: name of the queue; its dead-letter queue is `<queue>.dead`.
        owner: whose the queue must be, or become; None doesn't look. A queue in memory is its process's own.
        random: what the pauses before it connects again are drawn from; by default its own.

    Raises:
        BrokerError: the URL can't be used. The text doesn't repeat it, because of its password.
    """
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise BrokerError("broker URL: its host or port can't be read") from None
    if parts.scheme == "memory":
        return MemoryBroker()
    if parts.scheme not in {"amqp", "amqps"}:
        raise BrokerError("broker URL: its scheme must be amqp, amqps or memory")
    if "@" in parts.path + parts.query or parts.fragment:
        raise BrokerError("broker URL: percent-encode the characters / ? # @ of a user name or password")
    if not host:
        raise BrokerError("broker URL: it names no host")

    # Imported here so that the embedded mode starts without the AMQP client.
    from .rabbitmq import RabbitBroker  # noqa: PLC0415

    return RabbitBroker(url, queue, owner, random or Random())
