"""What is sent to the API, by the names that the long form gives the kinds."""

import re
from collections.abc import Callable, Sequence
from random import Random

from tests.fuzz.corpus import entries
from tests.fuzz.manners import body_request, mannered_request, stream_request
from tests.fuzz.raw import damaged
from tests.fuzz.target import Volley

CORPUS = list(entries("requests").values())

#: Requests that share a connection, where they are whole.
TOGETHER = 16

#: Matches the head of a request that an HTTP parser takes, apart from names given twice.
HEAD = re.compile(rb"[A-Z]+ [!-~]{1,8000} HTTP/1.1\r\n(([!-9;-~]+): [\t -~\x80-\xff]{0,8000}\r\n)*\r\n")

#: Headers that end a connection: by themselves, or where a body can't be unpacked.
ENDING = {b"Connection", b"Content-Encoding"}

#: Makes a volley of so many requests at most; it may name tasks by these ids.
Make = Callable[[Random, Sequence[bytes], int], Volley]


def broken(chance: Random, _ids: Sequence[bytes], _most: int) -> Volley:
    """Bytes at the HTTP parser."""
    return Volley([damaged(chance, CORPUS)], whole=False)


def bodies(chance: Random, ids: Sequence[bytes], most: int) -> Volley:
    """JSON bodies for each POST."""
    requests = (body_request(chance, ids) for _ in range(most))
    return Volley([request for request in requests if _sound(request)], whole=True)


def manners(chance: Random, ids: Sequence[bytes], most: int) -> Volley:
    """Queries and headers. What the parser refuses ends its connection, and has one for itself."""
    requests = [mannered_request(chance, ids) for _ in range(most)]
    if unsound := [request for request in requests[:2] if not _sound(request)]:
        # Where the parser refuses a HEAD, the answer has a body all the same: nobody has read the method.
        return Volley([re.sub(rb"^HEAD ", b"GET ", unsound[0])], whole=False)
    return Volley([request for request in requests if _sound(request)], whole=True)


def _sound(request: bytes) -> bool:
    """Whether an HTTP parser takes it, and what follows it. It may refuse any header that is given twice."""
    head = HEAD.match(request)
    names = [line.partition(b":")[0] for line in head[0].split(b"\r\n")[1:-2]] if head else []
    return head is not None and len(set(names)) == len(names) and ENDING.isdisjoint(names)


def streams(chance: Random, ids: Sequence[bytes], _most: int) -> Volley:
    """Streams of events, with queries and headers; they have no end, and each has a connection for itself."""
    return Volley([stream_request(chance, ids)], whole=False)


KINDS: dict[str, Make] = {"broken": broken, "bodies": bodies, "manners": manners, "streams": streams}
