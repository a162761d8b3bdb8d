"""Bytes at the HTTP parser: requests from the corpus, damaged."""

from collections.abc import Callable, Sequence
from random import Random

#: What parsers differ about.
TOKENS = [
    b"\r\n", b"\n", b"\r", b"\0", b" ", b"\t", b":", b"\r\n\r\n", b"\xff", b"\x80", b"\x7f", b"\xe2\x80\xa8",
    b"0\r\n\r\n",
    b"ffffffffffffffff\r\n", b"-1\r\n", b"5;x=y\r\n", b"0x5\r\n", b"HTTP/1.1", b"HTTP/1.0", b"HTTP/0.9",
    b"HTTP/2.0",
    b"HTTP/9.9", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"GET / HTTP/1.1\r\n", b"\x16\x03\x01\x02\x00\x01\x00",
    b"Content-Length: 0\r\n", b"Content-Length: 5\r\n", b"Content-Length: 99999999999999999999\r\n",
    b"Content-Length: +5\r\n", b"Content-Length: -1\r\n", b"Content-Length: 1_0\r\n", b"Content-Length: 5, 5\r\n",
    b"Transfer-Encoding: chunked\r\n", b"Transfer-Encoding: gzip, chunked\r\n", b"Transfer-Encoding: identity\r\n",
    b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", b"Transfer-Encoding : chunked\r\n",
    b"Expect: 100-continue\r\n", b"Expect: something\r\n", b"Connection: close\r\n", b"Connection: upgrade\r\n",
    b"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n",
    b"Content-Encoding: gzip\r\n", b"Content-Encoding: deflate\r\n", b"Content-Encoding: br\r\n", b"Host: \r\n",
    b"Host: a\r\nHost: b\r\n", b" folded\r\n", b": no name\r\n", b"X\r\n", b"X: " + b"y" * 9000 + b"\r\n",
    b"x: y\r\n" * 300,
    b"/" + b"z" * 9000, b"http://[::1", b"http://a:b@c:d/e", b"//", b"*", b"?" * 100, b"#", b"%", b"..", b"\\",
]  # fmt: skip

Operation = Callable[[Random, bytes, Sequence[bytes]], bytes]


def damaged(chance: Random, corpus: Sequence[bytes]) -> bytes:
    """One to three requests of the corpus, with some damage."""
    data = b"".join(chance.choice(corpus) for _ in range(chance.choice([1, 1, 1, 2, 3])))
    for _ in range(chance.choice([0, 1, 1, 1, 2, 2, 4, 8])):
        data = chance.choice(OPERATIONS)(chance, data, corpus)
    return data


def _place(chance: Random, data: bytes) -> int:
    """Most often near the beginning, where most is decided."""
    return chance.randrange(min(len(data), chance.choice([20, 200, 200, 10_000])) + 1)


def _insert(chance: Random, data: bytes, _: Sequence[bytes]) -> bytes:
    at = _place(chance, data)
    return data[:at] + chance.choice(TOKENS) + data[at:]


def _insert_line(chance: Random, data: bytes, _: Sequence[bytes]) -> bytes:
    """After a line of the head, which keeps it whole."""
    head, end, rest = data.partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    at = chance.randrange(1, len(lines) + 1)
    lines.insert(at, chance.choice(TOKENS).removesuffix(b"\r\n"))
    return b"\r\n".join(lines) + end + rest


def _delete(chance: Random, data: bytes, _: Sequence[bytes]) -> bytes:
    at = _place(chance, data)
    return data[:at] + data[at + chance.choice([1, 1, 2, 8, 50]) :]


def _repeat(chance: Random, data: bytes, _: Sequence[bytes]) -> bytes:
    at = _place(chance, data)
    end = at + chance.choice([1, 4, 20, 100])
    return data[:end] + data[at:end] * chance.choice([1, 2, 50]) + data[end:]


def _flip(chance: Random, data: bytes, _: Sequence[bytes]) -> bytes:
    at = _place(chance, data)
    return data[:at] + bytes([chance.randrange(256)]) + data[at + 1 :]


def _cut(chance: Random, data: bytes, _: Sequence[bytes]) -> bytes:
    return data[: chance.randrange(len(data) + 1)]


def _splice(chance: Random, data: bytes, corpus: Sequence[bytes]) -> bytes:
    other = chance.choice(corpus)
    return data[: _place(chance, data)] + other[_place(chance, other) :]


def _swap_lines(chance: Random, data: bytes, _: Sequence[bytes]) -> bytes:
    return data.replace(b"\r\n", chance.choice([b"\n", b"\r", b"\r\r\n", b"\n\r"]), chance.choice([1, 2, -1]))


def _renumber(chance: Random, data: bytes, _: Sequence[bytes]) -> bytes:
    number = chance.choice(
        [b"0", b"1", b"2", b"99", b"+1", b"-0", b"0x1", b"1e1", b"\xd9\xa1", b"18446744073709551616"]
    )
    name, colon, rest = data.partition(b"Content-Length: ")
    return name + colon + number + rest[rest.find(b"\r\n") :] if colon else data


OPERATIONS: list[Operation] = [
    _insert, _insert, _insert_line, _insert_line, _delete, _repeat, _flip, _flip, _cut, _splice, _swap_lines,
    _renumber,
]  # fmt: skip
