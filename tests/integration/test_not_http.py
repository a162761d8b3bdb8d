"""What is no HTTP, or asks of it what there isn't, is answered in JSON, and costs the log a line at most."""

import asyncio
import gzip
import logging
import zlib

import pytest
from aiohttp import web
from tests.conformance.waiting import eventually
from tests.integration.raw import TASK, ask, get, post
from tests.integration.system import System

from taskqueue_api.http import refusals

CHUNKED = b"POST %s HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
CODINGS = "Content-Encoding: a body may be encoded once, as one of gzip, deflate"


def lines(log: pytest.LogCaptureFixture) -> list[str]:
    """What was logged, from warnings on; no tracebacks."""
    assert not [record for record in log.records if record.exc_info]
    return [record.getMessage() for record in log.records if record.levelno >= logging.WARNING]


NOT_HTTP = {
    "no request line": (b"hello\r\n\r\n", 400, "not HTTP: Invalid method encountered"),
    "an unknown method": (b"FOO /tasks HTTP/1.1\r\nHost: x\r\n\r\n", 400, "not HTTP: Invalid method encountered"),
    "TLS": (b"\x16\x03\x01\x00\xa5", 400, "not HTTP: Received HTTPS traffic on an HTTP port"),
    "HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400, "not HTTP: Pause on PRI/Upgrade"),
    "another version": (
        b"GET /livez HTTP/3.7\r\nHost: x\r\n\r\n",
        400,
        "not HTTP: Bad status line: Invalid HTTP version",
    ),
    "no host": (b"GET /livez HTTP/1.1\r\n\r\n", 400, "not HTTP: Missing 'Host' header in request"),
    "two hosts": (get(b"/livez", b"Host: y"), 400, "not HTTP: Duplicate 'Host' header found"),
    "a space in a header's name": (get(b"/livez", b"B ad: x"), 400, "not HTTP: Invalid header token"),
    "a URL of other bytes": (get(b"/tasks?tag=\xff"), 400, "not HTTP: the request's target is not valid"),
    "a URL of no host": (get(b"http://["), 400, "not HTTP: the request's target is not valid"),
    "a long URL": (get(b"/tasks?tag=" + b"x" * 8192), 414, "the request's target is longer than 8192 bytes"),
    "a long header": (get(b"/tasks", b"X: " + b"x" * 9000), 431, "a header is longer than 8190 bytes"),
    "many headers": (get(b"/tasks", *[b"X: x"] * 200), 431, "there are too many headers"),
    "a negative length": (
        b"POST /tasks HTTP/1.1\r\nHost: x\r\nContent-Length: -3\r\n\r\n",
        400,
        "not HTTP: Invalid character in Content-Length",
    ),
    "two lengths": (
        CHUNKED[:-2] % b"/tasks" + b"Content-Length: 3\r\n\r\n0\r\n\r\n",
        400,
        "not HTTP: Content-Length can't be present with Transfer-Encoding",
    ),
    "a bad chunk": (
        CHUNKED % b"/tasks" + b"zz\r\nabc\r\n0\r\n\r\n",
        400,
        "not HTTP: Invalid character in chunk size",
    ),
    "a coding that aiohttp knows": (post(b"x", b"Content-Encoding: br"), 415, CODINGS),
}


@pytest.mark.parametrize(("sent", "status", "error"), NOT_HTTP.values(), ids=NOT_HTTP)
async def test_what_is_not_http_is_answered_in_json_and_logged_in_a_line(
    system: System, caplog: pytest.LogCaptureFixture, sent: bytes, status: int, error: str
) -> None:
    [answer] = await ask(system, sent)
    assert (answer.status, answer.error) == (status, error)
    [record] = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert (record.getMessage(), record.exc_info) == (f"refused a request: {error}", None)
    assert (record.request_id, record.remote) == (answer.headers["x-request-id"], "127.0.0.1")
    assert (await system.get("/livez")).status == 200


async def test_of_many_refusals_a_few_are_logged_and_the_others_counted(
    system: System, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(refusals, "PERIOD", 3)
    for _ in range(50):
        await ask(system, b"hello\r\n\r\n")
    assert len(lines(caplog)) == refusals.LINES
    await eventually(lambda: len(lines(caplog)) > refusals.LINES)
    assert lines(caplog)[refusals.LINES :] == [f"refused {50 - refusals.LINES} requests more in 3 s"]
    await ask(system, b"hello\r\n\r\n")
    assert len(lines(caplog)) == refusals.LINES + 2, "a new period has begun"


@pytest.mark.parametrize(
    "sent",
    [
        get(b"/livez", b"Expect: foo"),
        get(b"/none", b"Expect: foo"),
        get(b"/events", b"Expect: foo"),
        post(TASK, b"Expect: 100-continue, foo"),
        post(TASK, b"Expect: \xff"),
    ],
)
async def test_an_expectation_that_is_not_known_can_not_be_met(
    system: System, caplog: pytest.LogCaptureFixture, sent: bytes
) -> None:
    [answer] = await ask(system, sent.replace(b"Host: x", b"Host: x\r\nX-Request-ID: mine"))
    assert (answer.status, answer.error) == (417, "Expect: nothing but 100-continue is met")
    assert answer.headers["x-request-id"] == "mine"
    assert not lines(caplog)
    assert await system.count() == 0


async def test_a_client_that_waits_for_the_go_ahead_gets_it(system: System) -> None:
    going, accepted = await ask(system, post(TASK, b"Expect: 100-continue"))
    assert (going.status, accepted.status) == (100, 202)


async def test_a_connect_that_names_nothing_is_refused(system: System, caplog: pytest.LogCaptureFixture) -> None:
    [answer] = await ask(system, b"CONNECT \r\n\r\n")
    assert (answer.status, answer.error) == (405, "method CONNECT not allowed; allowed: GET, HEAD")
    assert lines(caplog) == []


async def test_a_client_that_does_not_wait_for_the_go_ahead_costs_no_traceback(
    system: System, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(20):
        _, writer = await asyncio.open_connection(system.client.host, system.client.port)
        writer.write(post(TASK, b"Expect: 100-continue"))
        writer.transport.abort()
    await eventually(lambda: not system.client.server.runner.server.connections)
    assert lines(caplog) == []


@pytest.mark.parametrize("path", [b"/tasks", b"/tasks/batch", b"/tasks/x/retry", b"/tasks/delete"])
@pytest.mark.parametrize("coding", [b"foo", b"gzip, gzip", b"gzip, foo", b"x-gzip", b"\xff"])
async def test_a_body_that_can_not_be_decoded_is_not_taken_for_text(
    system: System, caplog: pytest.LogCaptureFixture, path: bytes, coding: bytes
) -> None:
    [answer] = await ask(system, post(TASK, b"Content-Encoding: " + coding, path=path))
    assert (answer.status, answer.error) == (415, CODINGS)
    assert answer.headers["accept-encoding"] == "gzip, deflate"
    assert not lines(caplog)
    assert await system.count() == 0


@pytest.mark.parametrize("coding", ["br", "zstd"])
async def test_it_does_not_depend_on_the_libraries_that_are_there(system: System, coding: str) -> None:
    """aiohttp decodes what it finds a library for."""
    [answer] = await ask(system, post(b"x", f"Content-Encoding: {coding}".encode()))
    assert (answer.status, answer.error, answer.headers["accept-encoding"]) == (415, CODINGS, "gzip, deflate")


@pytest.mark.parametrize("coding", ["gzip", "GZIP", "deflate", "raw deflate", "identity", ""])
async def test_a_body_that_can_be_decoded_is_taken(system: System, coding: str) -> None:
    raw = zlib.compressobj(wbits=-15)
    encoded = {
        "gzip": gzip.compress(TASK),
        "deflate": zlib.compress(TASK),
        "raw deflate": raw.compress(TASK) + raw.flush(),
    }
    body = encoded.get(coding.lower(), TASK)
    [answer] = await ask(system, post(body, b"Content-Encoding: " + b"".join(coding.encode().split()[-1:])))
    assert answer.status == 202


@pytest.mark.parametrize("coding", [b"gzip", b"deflate"])
@pytest.mark.parametrize(("path", "status"), [(b"/tasks", 400), (b"/none", 404)])
async def test_a_body_in_a_broken_coding_is_refused(
    system: System, caplog: pytest.LogCaptureFixture, coding: bytes, path: bytes, status: int
) -> None:
    [answer] = await ask(system, post(b"\xff broken", b"Content-Encoding: " + coding, path=path))
    assert (answer.status, bool(answer.error)) == (status, True)
    assert not lines(caplog)


@pytest.mark.parametrize("path", [b"/tasks", b"/tasks/batch"])
async def test_a_body_that_breaks_on_its_way_is_refused_at_once(
    system: System, caplog: pytest.LogCaptureFixture, path: bytes
) -> None:
    [answer] = await ask(system, CHUNKED % path + b"3\r\nabc\r\n", b"zz\r\n")
    assert (answer.status, answer.error) == (400, "the body can't be read: its encoding is broken")
    assert not lines(caplog)


async def test_what_follows_a_request_does_not_break_it(system: System) -> None:
    """The body of the first has come as a whole."""
    id = await system.submit("x", delay=1000)
    waiting = get(b"/tasks/" + id.encode(), b"Prefer: wait=1")
    first, second = await ask(system, waiting, b"hello\r\n\r\n")
    assert (first.status, second.status) == (200, 400)
    assert second.error == "not HTTP: Invalid method encountered"


async def test_what_no_middleware_has_answered_is_answered_500_in_json_and_logged(
    system: System, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object) -> None:
        raise ValueError("on purpose")

    monkeypatch.setattr(web.UrlDispatcher, "resolve", fail)
    [answer] = await ask(system, get(b"/livez"))
    assert (answer.status, answer.error) == (500, "internal error; the API's log has the cause")
    [record] = [record for record in caplog.records if record.exc_info]
    assert "on purpose" in str(record.exc_info)


@pytest.mark.parametrize("origin", [b"http://\xff", b"\xed\xa0\x80", "http://\u00fc".encode()])
async def test_an_origin_that_is_no_text_is_told_as_such(system: System, origin: bytes) -> None:
    [answer] = await ask(system, post(TASK, b"Origin: " + origin))
    assert answer.status == 403
    assert "may not use this API" in answer.error
