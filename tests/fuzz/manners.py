"""Requests that are whole, with any query and any headers that the API reads."""

import gzip
import zlib
from collections.abc import Sequence
from random import Random

from tests.fuzz.jsons import any_batch, any_filter, any_task, any_text

WORDS = [
    b"", b"0", b"1", b"-1", b"1.5", b"1e9", b"nan", b"inf", b"1_0", b"null", b"a", b"x", b"failed",
    b"completed,failed",
    b"uppercase", b"*", b"'", b'"', b"%00", b"%ff", b"%ed%a0%80", b"%", b"%2", b"%0d%0a", b"+", b"a b",
    b"\xe9", b"\xff",
    b"\t", b"\x01", b"\x7f", b"9" * 30, b"9" * 5000, b"x" * 129, b"x" * 256, b"x" * 7000, b",", b";", b"=", b"&",
    b"\xd9\xa1", b"2026-01-01", b"0x10", b"253402300799", b"253402300800", b"[]",
]  # fmt: skip
PARAMETERS = [
    b"status", b"action", b"tag", b"created_after", b"created_before", b"parent", b"limit", b"cursor", b"minutes",
    b"dry_run", b"%6cimit", b"", b"status[]",
]  # fmt: skip
#: What the API reads of a request, with values that are near to what it takes.
HEADERS: dict[bytes, list[bytes]] = {
    b"Prefer": [
        b"wait=0", b"wait=0.01", b"wait=1", b"wait=-1", b"wait=1e3", b"wait=99999999", b"wait=nan", b'wait="1"',
        b"respond-async", b"respond-async, wait=1", b"wait", b"wait=", b"wait=1, wait=2", b"WAIT=1; x=y", b";,=",
    ],
    b"Idempotency-Key": [b"k1", b"k2", b'"k1"', b"k" * 255, b"k" * 256],
    b"Origin": [b"null", b"http://127.0.0.1", b"https://example.org", b"http://\xed\xa0\x80", b"://",
    b"http://[::1"],
    b"Sec-Fetch-Site": [b"cross-site", b"same-origin", b"none", b"same-site"],
    b"Access-Control-Request-Method": [b"POST", b"X"],
    b"Last-Event-ID": [b"0", b"1", b"999999999", b"-1", b"1 ", b"9" * 25],
    b"Accept-Encoding": [b"gzip", b"gzip;q=0", b"gzip ; q = 0.000", b"*", b"br, gzip", b"identity", b";;,q"],
    b"X-Request-ID": [b"mine", b"x" * 128, b"%s%d", b"\xff\xfe"],
    b"If-None-Match": [b"*", b'"x"', b'W/"x"', b'"', b"x"],
    b"Content-Type": [
        b"application/json", b"application/x-ndjson", b"text/plain; charset=utf-16", b"multipart/form-data",
        b"application/json; charset=nonsense", b";", b"/",
    ],
    b"Content-Encoding": [b"gzip", b"deflate", b"identity", b"br", b"zstd", b"gzip, gzip", b"foo"],
    b"Expect": [b"100-continue", b"100-Continue", b"200-ok"],
    b"Cookie": [b"a=b", b"=;=;"],
    b"Range": [b"bytes=0-1", b"bytes=x"],
    b"If-Modified-Since": [b"Thu, 01 Jan 1970 00:00:00 GMT", b"yesterday"],
    b"Host": [b"x", b"[", b"a:b:c", b"\xff"],
    b"Connection": [b"keep-alive", b"close", b"x"],
    b"Upgrade": [b"websocket", b"h2c"],
    b"Forwarded": [b'for="[::1"'],
}  # fmt: skip
READS = [
    b"/tasks",
    b"/tasks/{id}",
    b"/stats",
    b"/workers",
    b"/actions",
    b"/livez",
    b"/readyz",
    b"/docs",
    b"/docs/{id}",
]
POSTS = {
    b"/tasks": any_task,
    b"/tasks/batch": any_batch,
    b"/tasks/cancel": any_filter,
    b"/tasks/delete": any_filter,
    b"/tasks/retry": any_filter,
    b"/tasks/{id}/retry": any_text,
    b"/tasks/{id}/cancel": any_text,
}
#: These answer without end: they are asked alone.
STREAMS = [b"/events", b"/tasks/{id}/events"]
PACKED = {b"gzip": gzip.compress, b"deflate": zlib.compress}


def body_request(chance: Random, ids: Sequence[bytes]) -> bytes:
    """A POST with a body from the grammar."""
    [path] = chance.choices(list(POSTS), [6, 3, 1, 2, 1, 1, 1])
    body = any_text(chance) if chance.random() < 0.15 else POSTS[path](chance)
    kind = b"application/json"
    if path == b"/tasks/batch" and not body.startswith(b"{"):
        kind = b"application/x-ndjson"
    return whole(b"POST", _with_id(chance, path, ids), [(b"Content-Type", kind)], body)


def mannered_request(chance: Random, ids: Sequence[bytes]) -> bytes:
    """Any method and path, with a query and headers."""
    method = chance.choice(
        [b"GET", b"GET", b"GET", b"POST", b"DELETE", b"HEAD", b"OPTIONS", b"PUT", b"PATCH", b"QUERY"]
    )
    path = chance.choice(READS + list(POSTS) if method != b"POST" else list(POSTS))
    headers = any_headers(chance)
    body = POSTS[path](chance) if path in POSTS and method == b"POST" else b""
    # What can't be unpacked ends its connection: the corpus has such, to be sent broken.
    packing = dict(headers).get(b"Content-Encoding", b"")
    body = PACKED.get(packing, bytes)(body)
    return whole(method, _with_id(chance, path, ids) + any_query(chance), headers, body)


def stream_request(chance: Random, ids: Sequence[bytes]) -> bytes:
    """A GET of a stream."""
    target = _with_id(chance, chance.choice(STREAMS), ids) + any_query(chance)
    return whole(b"GET", target, any_headers(chance), b"")


def any_query(chance: Random) -> bytes:
    """Nothing at all, or parameters; a blank would end it."""
    if chance.random() < 0.4:
        return b""
    parameters = [chance.choice(PARAMETERS) + b"=" + _word(chance) for _ in range(chance.choice([1, 1, 2, 3]))]
    return (b"?" + b"&".join(parameters)).replace(b" ", b"%20")


def any_headers(chance: Random) -> list[tuple[bytes, bytes]]:
    """A few that the API reads, each once or twice."""
    headers = []
    for name in chance.sample(list(HEADERS), chance.choice([0, 1, 1, 2, 3])):
        value = _word(chance) if chance.random() < 0.2 else chance.choice(HEADERS[name])
        headers += [(name, value)] * (2 if chance.random() < 0.03 else 1)
    return headers


def whole(method: bytes, target: bytes, headers: Sequence[tuple[bytes, bytes]], body: bytes) -> bytes:
    """A request that is framed as it should be."""
    lines = [method + b" " + target + b" HTTP/1.1"]
    if all(name != b"Host" for name, _ in headers):
        lines.append(b"Host: 127.0.0.1")
    lines += [name + b": " + value for name, value in headers]
    if body or method == b"POST":
        lines.append(b"Content-Length: %d" % len(body))
    return b"\r\n".join([*lines, b"", b""]) + body


def _with_id(chance: Random, path: bytes, ids: Sequence[bytes]) -> bytes:
    if b"{id}" not in path:
        return path
    odd = chance.random() < 0.2 or not ids
    # What ends a path, or a head, is left out.
    id = _word(chance).translate(None, b" ?#&\t\x01") if odd else chance.choice(ids)
    return path.replace(b"{id}", id)


def _word(chance: Random) -> bytes:
    return chance.choice(WORDS)
