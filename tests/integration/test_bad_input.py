"""What clients get wrong is answered by a JSON error that says what; nothing is stored, and the API lives."""

import gzip
import json
import re
import time
import zlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.integration.system import Answer, System, quick_settings
from yarl import URL

from taskqueue.contract.limits import MAX_DEPTH

MAX_BODY = 10_000


@pytest.fixture
async def system(tmp_path: Path) -> AsyncIterator[System]:
    async with System.open(quick_settings(tmp_path, max_body_bytes=MAX_BODY)) as system:
        yield system


async def assert_harmless(system: System) -> None:
    """Nothing was stored or published, and a good request is still accepted."""
    assert (await system.get("/tasks")).body == {"tasks": [], "count": 0}
    assert await system.broker.ready_count() == 0
    await system.submit("uppercase")


async def post(system: System, body: Any, **headers: str) -> Answer:
    return await system.post("/tasks", data=body, headers={k.replace("_", "-"): v for k, v in headers.items()})


def with_member(name: str, value: str) -> bytes:
    """A body with one more member, given as JSON text."""
    return f'{{"action": "x", "{name}": {value}}}'.encode()


NOT_JSON = {
    "empty": b"",
    "blank": b" ",
    "a word": b"hello",
    "cut off": b'{"action": "x"',
    "two values": b'{"action": "x"} {}',
    "single quotes": b"{'action': 'x'}",
    "a form": b"action=x",
    "NaN": with_member("data", '{"x": NaN}'),
    "Infinity": with_member("data", '{"x": -Infinity}'),
    "broken UTF-8": b'{"action": "\xff"}',
    "half a surrogate pair in UTF-8": b'{"action": "\xed\xa0\x80"}',
    "half a surrogate pair, escaped": with_member("data", r'{"x": "\ud800"}'),
    "half a surrogate pair as a name": with_member("data", r'{"\udfff": 1}'),
    "UTF-16": '{"action": "x"}'.encode("utf-16"),
    "Latin-1": '{"action": "ü"}'.encode("latin-1"),
    "a number of 5,000 digits": with_member("data", f'{{"x": {"9" * 5000}}}'),
    "a control character in a string": b'{"action": "a\nb"}',
}


@pytest.mark.parametrize("body", NOT_JSON.values(), ids=NOT_JSON)
async def test_what_is_not_json_is_refused(system: System, body: bytes) -> None:
    answer = await post(system, body)
    assert (answer.status, answer.body.keys()) == (400, {"error", "detail"})
    assert answer.body["error"] == "invalid JSON"
    assert re.fullmatch(r"line \d+, column \d+: .+", answer.body["detail"])
    await assert_harmless(system)


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        (b"", "line 1, column 0: EOF while parsing a value"),
        (b'{"action": "x",}', "line 1, column 16: trailing comma"),
        (b'{\n  "action": "x",\n  "data": {"n": NaN}\n}', "line 3, column 17: expected value"),
        ('{"ü": x}'.encode(), "line 1, column 8: expected value"),
    ],
)
async def test_where_json_is_invalid_is_told(system: System, body: bytes, detail: str) -> None:
    assert (await post(system, body)).body == {"error": "invalid JSON", "detail": detail}


@pytest.mark.parametrize("body", [b"[]", b"null", b'"action"', b"1", b"true", b'[{"action": "x"}]'])
async def test_a_body_that_is_not_an_object_is_refused(system: System, body: bytes) -> None:
    answer = await post(system, body)
    assert (answer.status, answer.body) == (400, {"error": "the body must be a JSON object"})
    await assert_harmless(system)


@pytest.mark.parametrize("depth", [200, 4000])
@pytest.mark.parametrize("brackets", ["[]", '{"x":}'])
async def test_deep_nesting_is_refused(system: System, depth: int, brackets: str) -> None:
    opening, closing = brackets[:-1], brackets[-1]
    depth = min(depth, (MAX_BODY - 100) // len(brackets))
    answer = await post(system, with_member("data", '{"x":' + opening * depth + "1" + closing * depth + "}"))
    assert (answer.status, answer.body) == (
        400,
        {"error": f"JSON nested too deeply: {MAX_DEPTH} levels are the limit"},
    )
    await assert_harmless(system)


async def test_nesting_that_is_not_refused_can_be_run_and_read(system: System) -> None:
    value = json.loads("[" * 190 + "]" * 190)
    id = await system.submit("uppercase", {"text": value})
    async with system.worker():
        task = await system.until(id)
    assert task["error"]["type"] == "InvalidArguments"
    assert task["payload"]["data"] == {"text": value}


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/tasks", {"action": "x"}),
        ("/tasks/{id}/retry", None),
        ("/tasks/retry", {"action": "kept"}),
        ("/tasks/delete", {"action": "kept"}),
    ],
)
async def test_a_query_that_is_not_taken_is_refused_and_nothing_is_done(
    system: System, path: str, body: dict[str, Any] | None
) -> None:
    id = await system.submit("kept", delay=1000)
    await system.post(f"/tasks/{id}/cancel")
    before = (await system.get("/tasks")).body
    answer = await system.post(path.format(id=id) + "?dry_run=true", json=body)
    assert (answer.status, answer.body) == (400, {"error": "unknown query parameter 'dry_run'"})
    assert (await system.get("/tasks")).body == before
    assert (await system.get("/readyz?probe=1")).status == 200, "a probe may add what it likes"


@pytest.mark.parametrize(
    ("body", "error"),
    [(b'{"delay": 60}', "unknown member 'delay'"), (b"{", "invalid JSON"), (b"[]", "the body must be .*")],
)
async def test_a_body_that_is_not_taken_is_refused_and_nothing_is_done(
    system: System, body: bytes, error: str
) -> None:
    id = await system.submit("kept", delay=1000)
    await system.post(f"/tasks/{id}/cancel")
    answer = await system.post(f"/tasks/{id}/retry", data=body)
    assert answer.status == 400
    assert re.fullmatch(error, answer.body["error"])
    assert (await system.task(id))["status"] == "cancelled"
    assert (await system.post(f"/tasks/{id}/retry", data=b" {} ")).status == 202, "an empty object says nothing"


async def test_a_contradiction_is_told_with_all_else_that_is_wrong(system: System) -> None:
    body = {"action": "", "run_at": 5, "delay": 1, "priority": "x", "tags": [""], "other": 1}
    answer = await system.post("/tasks", json=body)
    assert answer.status == 400
    paths = ["action", "delay", "priority", "tags.0", "other"]
    assert [detail["path"] for detail in answer.body["details"]] == paths
    await assert_harmless(system)


#: For each body, what its error says.
NO_TASKS = {
    "no action": (b"{}", "action required"),
    "empty action": (b'{"action": ""}', "action required"),
    "action null": (b'{"action": null}', "action: .*string"),
    "action a number": (b'{"action": 1}', "action: .*string"),
    "action a list": (b'{"action": ["x"]}', "action: .*string"),
    "action of 201 characters": (b'{"action": "%s"}' % (b"x" * 201), "action: .*200 characters"),
    "NUL in the action": (rb'{"action": "a\u0000"}', "action: .*control characters"),
    "a line feed in the action": (rb'{"action": "a\n"}', "action: .*control characters"),
    "an escape in the action": (rb'{"action": "\u001b[2J"}', "action: .*control characters"),
    "data null": (with_member("data", "null"), "data: must be a JSON object"),
    "data a list": (with_member("data", "[]"), "data: must be a JSON object"),
    "data a string": (with_member("data", '"{}"'), "data: must be a JSON object"),
    "a number beyond a double": (with_member("data", '{"x": 1e999}'), "data: .*[Oo]ut of range"),
    "a number below a double": (with_member("data", '{"x": [-1e999]}'), "data: .*[Oo]ut of range"),
    "an unknown member": (with_member("dta", "{}"), "unknown member 'dta'"),
    "an unknown member with dots": (with_member("data.x", "{}"), "unknown member 'data.x'"),
    "run_at and delay": (
        b'{"action": "x", "run_at": 1, "delay": 1}',
        "delay: run_at and delay exclude each other",
    ),
    "run_at negative": (with_member("run_at", "-1"), "run_at: .*0"),
    "run_at after 9999": (with_member("run_at", "253402300800"), "run_at: .*253402300799"),
    "run_at infinite": (with_member("run_at", "1e999"), "run_at: .*253402300799"),
    "run_at beyond a double": (with_member("run_at", "1" + "0" * 400), "run_at: .*number"),
    "run_at a string": (with_member("run_at", '"2030-01-01"'), "run_at: .*number"),
    "run_at true": (with_member("run_at", "true"), "run_at: .*number"),
    "delay negative": (with_member("delay", "-0.001"), "delay: .*0"),
    "delay too long": (with_member("delay", "1e300"), "delay: .*253402300799"),
    "delay a string": (with_member("delay", '"1"'), "delay: .*number"),
    "timeout zero": (with_member("timeout", "0"), "timeout: .*0.001"),
    "timeout negative": (with_member("timeout", "-1"), "timeout: .*0.001"),
    "timeout below a millisecond": (with_member("timeout", "0.0004"), "timeout: .*0.001"),
    "timeout above the broker's": (with_member("timeout", "82801"), "timeout: .*82800"),
    "timeout a string": (with_member("timeout", '"1"'), "timeout: .*number"),
    "priority unknown": (with_member("priority", '"urgent"'), "priority: .*high.*normal.*low"),
    "priority a number": (with_member("priority", "4"), "priority: .*high.*normal.*low"),
    "priority null": (with_member("priority", "null"), "priority: .*high.*normal.*low"),
    "max_attempts zero": (with_member("max_attempts", "0"), "max_attempts: .*1"),
    "max_attempts 101": (with_member("max_attempts", "101"), "max_attempts: .*100"),
    "max_attempts huge": (with_member("max_attempts", "1" + "0" * 4000), "max_attempts: .*100"),
    "max_attempts a fraction": (with_member("max_attempts", "1.5"), "max_attempts: .*integer"),
    "max_attempts a string": (with_member("max_attempts", '"3"'), "max_attempts: .*integer"),
    "max_attempts true": (with_member("max_attempts", "true"), "max_attempts: .*integer"),
    "tags a string": (with_member("tags", '"a"'), "tags: .*list"),
    "an empty tag": (with_member("tags", '[""]'), "tags.0: must not be empty"),
    "a tag twice": (with_member("tags", '["a", "a"]'), "tags: must not name a tag twice"),
    "a tag of 65 characters": (with_member("tags", f'["{"x" * 65}"]'), "tags.0: .*64 characters"),
    "11 tags": (with_member("tags", str(list("abcdefghijk")).replace("'", '"')), "tags: .*10 items"),
    "a line separator in a tag": (with_member("tags", r'["\u2028"]'), "tags.0: .*control characters"),
}


@pytest.mark.parametrize(("body", "error"), NO_TASKS.values(), ids=NO_TASKS)
async def test_json_that_is_no_task_is_refused_with_what_is_wrong(system: System, body: bytes, error: str) -> None:
    answer = await post(system, body)
    assert answer.status == 400
    assert set(answer.body) == {"error"}
    assert re.fullmatch(f"{error}.*", answer.body["error"])
    await assert_harmless(system)


async def test_several_errors_are_told_at_once(system: System) -> None:
    answer = await system.post("/tasks", json={"data": [], "delay": -1, "prority": "high", "timeout": "1"})
    assert answer.status == 400
    details = {detail["path"]: detail["error"] for detail in answer.body["details"]}
    assert set(details) == {"action", "data", "delay", "prority", "timeout"}
    assert details["action"] == "action required"
    assert details["prority"] == "unknown member 'prority'"
    assert answer.body["error"] == "; ".join(detail["error"] for detail in answer.body["details"])
    await assert_harmless(system)


@pytest.mark.parametrize(
    "members", [{f"m{number}": 0 for number in range(900)}, {"m" * 9000: 0}], ids=["many", "long"]
)
async def test_the_answer_to_unknown_members_stays_short(system: System, members: dict[str, int]) -> None:
    answer = await system.post("/tasks", json={"action": "x"} | members)
    assert answer.status == 400
    assert answer.body["error"].startswith("unknown member 'm")
    assert len(json.dumps(answer.body)) < 5000
    await assert_harmless(system)


ODD_BUT_GOOD: dict[str, tuple[bytes, Any]] = {
    "NUL characters": (rb'{"a\u0000b": "\u0000"}', {"a\0b": "\0"}),
    "any characters": ('{"ü\\n😀": "\\ud83d\\ude00\u2028\u007f"}'.encode(), {"ü\n😀": "😀\u2028\x7f"}),
    "long numbers": (b'{"x": [%s, -1e308, 5e-324]}' % (b"9" * 4300), {"x": [10**4300 - 1, -1e308, 5e-324]}),
    "a name given twice": (b'{"x": 1, "x": 2}', {"x": 2}),
    "an empty name": (b'{"": {"": []}}', {"": {"": []}}),
    "names of Python's": (b'{"__class__": 1, "self": 2, "data": 3}', {"__class__": 1, "self": 2, "data": 3}),
}


@pytest.mark.parametrize(("data", "meant"), ODD_BUT_GOOD.values(), ids=ODD_BUT_GOOD)
async def test_odd_but_good_data_is_accepted_run_and_read_back(system: System, data: bytes, meant: Any) -> None:
    answer = await post(system, b'{"action": "x", "data": %s}' % data)
    assert answer.status == 202
    async with system.worker():
        task = await system.until(answer.body["id"])
    assert task["status"] == "completed", task["error"]
    assert task["payload"]["data"] == meant


# The size of a body


def of_size(size: int) -> bytes:
    return b'{"action": "x"}'.ljust(size)


async def in_chunks(body: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(body), 1000):
        yield body[start : start + 1000]


async def test_a_body_at_the_limit_is_accepted(system: System) -> None:
    assert (await post(system, of_size(MAX_BODY))).status == 202
    assert (await post(system, in_chunks(of_size(MAX_BODY)))).status == 202


@pytest.mark.parametrize("size", [MAX_BODY + 1, 1_000_000])
@pytest.mark.parametrize("chunked", [False, True])
async def test_a_body_over_the_limit_is_refused(system: System, size: int, chunked: bool) -> None:
    body = of_size(size)
    answer = await post(system, in_chunks(body) if chunked else body)
    assert answer.status == 413
    assert "too large" in answer.body["error"]
    assert "TASKQUEUE_MAX_BODY_BYTES" in answer.body["error"]
    await assert_harmless(system)


async def test_a_compressed_body_is_read(system: System) -> None:
    for encoding, compress in (("gzip", gzip.compress), ("deflate", zlib.compress)):
        answer = await post(system, compress(of_size(MAX_BODY)), Content_Encoding=encoding)
        assert answer.status == 202


@pytest.mark.parametrize(("encoding", "compress"), [("gzip", gzip.compress), ("deflate", zlib.compress)])
async def test_a_compressed_body_is_measured_unpacked(system: System, encoding: str, compress: Any) -> None:
    bomb = compress(of_size(100_000_000))
    started = time.monotonic()
    answer = await post(system, bomb, Content_Encoding=encoding)
    assert answer.status == 413
    assert time.monotonic() - started < 5
    await assert_harmless(system)


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        ("gzip", b"not gzip"),
        ("gzip", gzip.compress(of_size(100))[:-20]),
        ("gzip", gzip.compress(of_size(100))[:20] + b"\0" * 20),
        ("deflate", b"\xff\xff"),
    ],
    ids=["not gzip", "cut off", "damaged", "not deflate"],
)
async def test_a_broken_compressed_body_is_refused(
    system: System, encoding: str, body: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    answer = await post(system, body, Content_Encoding=encoding)
    assert answer.status == 400
    assert answer.body["error"]
    await assert_harmless(system)
    assert not [record for record in caplog.records if record.exc_info], "a client's fault is no traceback"


# The query string

BAD_QUERIES = {
    "status=done": "unknown status 'done'; known: pending, queued, running, completed, failed or cancelled",
    "status=": "unknown status ''; known: .*",
    "status=Completed": "unknown status 'Completed'; known: .*",
    "status=%00": r"unknown status '\\x00'; known: .*",
    "status=completed,done": "unknown status 'done'; known: .*",
    "status=completed,": "unknown status ''; known: .*",
    "tag=": "tag: must not be empty",
    "created_after=nan": "created_after: .*valid number.*",
    "created_before=-1": "created_before: .*0",
    "created_after=1_0": "created_after: .*valid number.*",
    "created_after=%20%201": "created_after: .*valid number.*",
    "created_before=infinity": "created_before: .*valid number.*",
    "limit=1_0": "limit: .*integer.*",
    f"status={'x' * 7000}": "unknown status 'x{100}'; known: .*",
    "limit=0": "limit: .*1",
    "limit=-1": "limit: .*1",
    "limit=1001": "limit: .*1000",
    "limit=x": "limit: .*integer.*",
    "limit=": "limit: .*integer.*",
    "limit=1.5": "limit: .*integer.*",
    f"limit=1{'0' * 30}": "limit: .*1000",
    f"limit={'9' * 7000}": "limit: .*integer.*",
    "stauts=failed": "unknown query parameter 'stauts'",
    "%ff=1": "unknown query parameter .*",
    "limit=1&limit=2": "limit is given more than once",
    "tag=a&tag=b": "tag is given more than once",
    "status=x&limit=0": "unknown status 'x'.*; limit: .*1",
}


@pytest.mark.parametrize(("query", "error"), BAD_QUERIES.items(), ids=[query[:30] for query in BAD_QUERIES])
async def test_a_bad_query_is_refused_with_what_is_wrong(system: System, query: str, error: str) -> None:
    answer = await system.request("GET", URL(f"/tasks?{query}", encoded=True))
    assert answer.status == 400
    assert re.fullmatch(error, answer.body["error"])
    await assert_harmless(system)


async def test_a_flood_of_errors_in_a_batch_or_a_filter_is_answered_shortly(system: System) -> None:
    flood = {f"m{number}": 0 for number in range(100)}
    many: list[tuple[str, dict[str, Any]]] = [
        ("/tasks/batch", {"tasks": [flood] * 9}),
        ("/tasks/batch", {"tasks": [{"action": "x", "tags": [0] * 50}] * 9}),
        ("/tasks/delete", {"status": [""] * 2000}),
    ]
    for path, body in many:
        answer = await system.post(path, json=body)
        assert answer.status == 400
        assert len(json.dumps(answer.body)) < 30_000
        assert len(answer.body.get("details", [])) <= 100
    await assert_harmless(system)


async def test_a_batch_of_lines_without_end_is_read_no_further_than_its_limit(tmp_path: Path) -> None:
    async with System.open(quick_settings(tmp_path)) as system:
        lines = b'{"action": "x"}\n' * 1001 + b"{" * 100_000
        answer = await system.post("/tasks/batch", data=lines, headers={"Content-Type": "application/x-ndjson"})
        assert answer.status == 400
        assert "1000 items" in answer.body["error"]
        await assert_harmless(system)
