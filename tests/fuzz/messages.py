"""AMQP messages that a stranger may put into the queue: any bytes with any properties, as they are on the wire."""

import struct
from collections.abc import Sequence
from random import Random

from aiormq import spec
from aiormq.abc import ConfirmationFrameType
from aiormq.channel import Channel
from tests.fuzz.jsons import any_task, any_text

#: Flags of the properties in the order in which they are sent (AMQP 0-9-1, 4.2.6.1), and how each is encoded.
PROPERTIES = {
    "content_type": (0x8000, "short"),
    "content_encoding": (0x4000, "short"),
    "headers": (0x2000, "table"),
    "delivery_mode": (0x1000, "octet"),
    "priority": (0x0800, "octet"),
    "correlation_id": (0x0400, "short"),
    "reply_to": (0x0200, "short"),
    "expiration": (0x0100, "number"),
    "message_id": (0x0080, "short"),
    "timestamp": (0x0040, "time"),
    "type": (0x0020, "short"),
    "app_id": (0x0008, "short"),
}
STRINGS = [
    b"", b"x", b"application/json", b"gzip", b"x.y", b".", b"0198a000-0000-7000-8000-000000000000.1", b"a" * 255,
    b"\0", b"\n", b"\xff", b"\xed\xa0\x80", b"\xc3", "\u2028\U0001f600".encode(), b"\x1b[2J", b"%s",
]  # fmt: skip
NAMES = [b"x-reason", b"x-death", b"x-delivery-count", b"x-first-death-reason", b"x", b"", b"\xff", b"a" * 255]
TIMES = [0, 1, 1753000000, 1753000000000, 2**31, 2**40, 2**63, 2**64 - 1]
NUMBERS = [b"60000", b"3600000"]


class RawProperties(spec.Basic.Properties):
    """Properties that are sent as these bytes."""

    def __init__(self, raw: bytes) -> None:
        # aiormq would give it an id if it had none; it is not sent.
        super().__init__(message_id="sent as it is")
        self.raw = raw

    def marshal(self) -> bytes:
        return self.raw


async def put(channel: Channel, queue: str, message: bytes) -> ConfirmationFrameType | None:
    """Publish a message, and wait until RabbitMQ has confirmed it.

    Args:
        message: as `pack` has made it.
    """
    properties, body = unpack(message)
    return await channel.basic_publish(body, routing_key=queue, properties=RawProperties(properties))


def pack(properties: bytes, body: bytes) -> bytes:
    """One message as one string of bytes, for the corpus."""
    return struct.pack(">I", len(properties)) + properties + body


def unpack(message: bytes) -> tuple[bytes, bytes]:
    """The properties and the body of a message."""
    [length] = struct.unpack(">I", message[:4])
    return message[4 : 4 + length], message[4 + length :]


def any_message(chance: Random, corpus: Sequence[bytes]) -> bytes:
    """Some properties and a body, or a message of the corpus with a body of its own."""
    body = _body(chance)
    if chance.random() < 0.1:
        return pack(unpack(chance.choice(corpus))[0], body)
    flags, fields = 0, b""
    for flag, kind in PROPERTIES.values():
        if chance.random() < 0.2:
            flags |= flag
            fields += _field(chance, kind)
    return pack(struct.pack(">H", flags) + fields, body)


def _body(chance: Random) -> bytes:
    kind = chance.random()
    if kind < 0.2:
        return bytes(chance.randrange(256) for _ in range(chance.choice([0, 1, 20])))
    if kind < 0.5:
        return any_text(chance)
    if kind < 0.7:
        return any_task(chance)
    members = [b'"id":' + any_text(chance), b'"action":"x"', b'"data":{}', b'"created_at":1']
    return b"{" + b",".join(chance.sample(members, chance.choice([3, 4, 4]))) + b"}"


def _field(chance: Random, kind: str) -> bytes:
    match kind:
        case "short":
            return _short(chance.choice(STRINGS))
        case "octet":
            return bytes([chance.choice([0, 1, 2, 4, 9, 255])])
        case "number":
            return _short(chance.choice(NUMBERS))
        case "time":
            return struct.pack(">Q", chance.choice(TIMES))
        case _:
            return _table(chance, 2)


def _table(chance: Random, depth: int) -> bytes:
    fields = [_short(chance.choice(NAMES)) + _value(chance, depth) for _ in range(chance.randrange(4))]
    return _long(b"".join(fields))


def _value(chance: Random, depth: int) -> bytes:
    """A value of a table, with its type, as RabbitMQ has them."""
    values = [
        b"V", b"t\x01", b"b\xff", b"B\xff", b"s\x80\x00", b"u\xff\xff", b"I\x80\x00\x00\x00", b"i\xff\xff\xff\xff",
        b"l" + b"\xff" * 8, b"L" + b"\x7f" * 8, b"f\x7f\xc0\x00\x00", b"d\x7f\xf0" + bytes(6),
        b"D\x02\x00\x00\x00\x01",
        b"T" + struct.pack(">Q", chance.choice(TIMES)), b"S" + _long(chance.choice(STRINGS)),
        b"x" + _long(chance.choice(STRINGS)),
    ]  # fmt: skip
    if depth:
        values.append(b"F" + _table(chance, depth - 1))
        values.append(b"A" + _long(b"".join(_value(chance, depth - 1) for _ in range(chance.randrange(3)))))
    return chance.choice(values)


def _short(value: bytes) -> bytes:
    return bytes([len(value)]) + value


def _long(value: bytes) -> bytes:
    return struct.pack(">I", len(value)) + value
