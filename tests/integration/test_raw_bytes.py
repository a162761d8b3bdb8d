"""Whatever bytes come: no 5xx but 503, each error is JSON and names its request, and no traceback is logged.

The corpus has requests that once were answered wrongly, or not at all, and others that lead deep into the parser.
"""

import asyncio
import logging
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.integration.raw import QUIET, TASK, ask
from tests.integration.system import System, quick_settings

CORPUS = {path.stem: path.read_bytes() for path in sorted((Path(__file__).parent / "corpus").glob("*.http"))}

METHODS = st.sampled_from(b"GET HEAD POST PUT DELETE OPTIONS CONNECT PATCH M-SEARCH".split())
PATHS = st.sampled_from(
    b"/livez /readyz /tasks /tasks/batch /tasks/x /tasks/x/cancel /tasks/delete /tasks/x/events /stats /none "
    b"/docs /openapi.json /tasks?limit=1&status=queued /tasks?limit=1_0 * // http://x/tasks /%2e%2e /%00".split()
)
NAMES = st.sampled_from(
    b"Accept Accept-Encoding Access-Control-Request-Method Connection Content-Encoding Content-Length Cookie "
    b"Content-Type Expect Host Idempotency-Key If-None-Match Last-Event-ID Origin Prefer Sec-Fetch-Site "
    b"Transfer-Encoding Upgrade X-Request-ID".split()
)
VALUES = st.binary(max_size=20) | st.sampled_from(
    b'* 0 5 -1 x "x" gzip gzip,gzip chunked close upgrade wait=0 application/x-ndjson 100-continue cross-site '
    b"\xff \xed\xa0\x80 \xc3\xbc".split()
)
BODIES = st.binary(max_size=50) | st.sampled_from([TASK, b"{}", b"[", b"0\r\n\r\n", b"2\r\n{}\r\n0\r\n\r\n"])
PIECES = st.binary(max_size=8) | st.sampled_from([b"\r\n", b"\n", b"\r\n\r\n", b"\x00", b":", b" ", b"%", b"\xff"])


@st.composite
def heads_and_bodies(draw: st.DrawFn) -> bytes:
    """What has the form of a request."""
    headers = draw(st.lists(st.tuples(NAMES, VALUES), max_size=5))
    body = draw(BODIES)
    if draw(st.booleans()):
        headers.append((b"Content-Length", b"%d" % len(body)))
    lines = [
        b" ".join([draw(METHODS), draw(PATHS), b"HTTP/1.1"]),
        b"Host: x",
        *(b": ".join(pair) for pair in headers),
    ]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


@st.composite
def requests(draw: st.DrawFn) -> list[bytes]:
    """Bytes, in segments: a request, or two, with some places changed."""
    known = st.sampled_from(list(CORPUS.values()))
    sent = b"".join(draw(st.lists(known | heads_and_bodies(), min_size=1, max_size=2)))
    for _ in range(draw(st.integers(0, 3))):
        start = draw(st.integers(0, len(sent)))
        sent = sent[:start] + draw(PIECES) + sent[start + draw(st.integers(0, 10)) :]
    cut = draw(st.integers(0, len(sent)))
    return [segment for segment in (sent[:cut], sent[cut:]) if segment]


class Tracebacks(logging.Handler):
    """The tracebacks, and other errors, that are logged."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info or record.levelno >= logging.ERROR:
            self.found.append(logging.Formatter().format(record))


class Attacker:
    """Sends on a loop of its own, since hypothesis calls plain functions, and hears what is logged."""

    def __init__(self, runner: asyncio.Runner, system: System, tracebacks: Tracebacks) -> None:
        self._runner = runner
        self._system = system
        self._tracebacks = tracebacks

    def check(self, *segments: bytes) -> None:
        self._tracebacks.found.clear()
        for answer in self._runner.run(ask(self._system, *segments, patience=QUIET)):
            assert answer.status < 500 or answer.status == 503
            if answer.status >= 400 and (answer.body or b"HEAD" not in b"".join(segments)):
                assert answer.error
        assert not self._tracebacks.found


@pytest.fixture(scope="module")
def attacker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Attacker]:
    tracebacks = Tracebacks()
    logging.getLogger().addHandler(tracebacks)
    with asyncio.Runner() as runner:
        stack = AsyncExitStack()
        quick = quick_settings(tmp_path_factory.mktemp("raw"), request_timeout=1, drain_timeout=1)
        system = runner.run(stack.enter_async_context(System.open(quick)))
        yield Attacker(runner, system, tracebacks)
        runner.run(stack.aclose())
    logging.getLogger().removeHandler(tracebacks)


@pytest.mark.parametrize("sent", CORPUS.values(), ids=CORPUS)
def test_each_request_of_the_corpus(attacker: Attacker, sent: bytes) -> None:
    attacker.check(sent)


@settings(max_examples=150, deadline=None)
@given(segments=requests())
def test_any_bytes(attacker: Attacker, segments: list[bytes]) -> None:
    attacker.check(*segments)
