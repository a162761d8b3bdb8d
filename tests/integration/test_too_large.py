"""What is too large, in bytes or in values, is refused before anything is made of it."""

from io import BytesIO
from pathlib import Path

import pytest
from tests.integration.system import Answer, System, quick_settings

from taskqueue.contract.limits import MAX_VALUES

LINES = {"Content-Type": "application/x-ndjson"}


async def post(system: System, path: str, body: bytes, **headers: str) -> Answer:
    return await system.post(path, data=BytesIO(body), headers=headers)


@pytest.mark.parametrize("batch", [False, True])
async def test_a_task_whose_message_would_be_too_large_is_refused(tmp_path: Path, batch: bool) -> None:
    # Each number is written with 18 characters in the message, and with 5 in the body.
    numbers = ",".join(["1e15"] * (100_000 // 18 + 1))
    task = f'{{"action": "sum", "data": {{"numbers": [{numbers}]}}}}'
    body = f'{{"tasks": [{{"action": "sum"}}, {task}]}}' if batch else task
    async with System.open(quick_settings(tmp_path, max_task_bytes=100_000)) as system:
        answer = await post(system, "/tasks/batch" if batch else "/tasks", body.encode())
        assert answer.status == 413
        assert "TASKQUEUE_MAX_TASK_BYTES is 100000" in answer.body["error"]
        assert ("tasks.1" in answer.body["error"]) == batch
        assert await system.count() == 0


@pytest.mark.parametrize("path", ["/tasks", "/tasks/batch", "/tasks/cancel"])
@pytest.mark.parametrize(
    "part", [b"0,", b'"",', b"[[[]]],", b'"%d":0,'], ids=["numbers", "strings", "lists", "names"]
)
async def test_a_body_with_too_many_values_is_refused(tmp_path: Path, path: str, part: bytes) -> None:
    parts = b"".join(part % number if b"%" in part else part for number in range(MAX_VALUES))
    inner = b"{" + parts + b'"x":0}' if b":" in part else b'{"x":[' + parts + b"0]}"
    task = b'{"action": "x", "data": ' + inner + b"}"
    body = b'{"tasks": [' + task + b"]}" if "batch" in path else task
    settings = quick_settings(tmp_path, max_body_bytes=len(body), max_batch_bytes=len(body))
    async with System.open(settings) as system:
        answer = await post(system, path, body)
        assert answer.status == 413
        assert answer.body == {"error": f"the body has more than {MAX_VALUES} JSON values and names"}
        assert await system.count() == 0


async def test_the_lines_of_a_batch_are_counted_together(system: System) -> None:
    line = b'{"action": "x", "data": {"x": [' + b"0," * (MAX_VALUES // 10) + b"0]}}\n"
    answer = await post(system, "/tasks/batch", line * 10, **LINES)
    assert (answer.status, f"more than {MAX_VALUES}" in answer.body["error"]) == (413, True)
    assert await system.count() == 0


async def test_the_depth_of_each_line_is_its_own(system: System) -> None:
    broken = b'{"action": "x", "data": {"x": ' + b"[" * 150
    good = b'{"action": "x", "data": {"x": ' + b"[" * 150 + b"]" * 150 + b"}}"
    deep = b'{"action": "x", "data": {"x": ' + b"[" * 300 + b"]" * 300 + b"}}"
    answer = await post(system, "/tasks/batch", b"\n".join([broken, good, deep]), **LINES)
    assert answer.status == 400
    assert [detail["error"].split(":")[1] for detail in answer.body["details"]] == [
        " invalid JSON",
        " JSON nested too deeply",
    ]


@pytest.mark.parametrize("limit", [8 * 2**20, 16 * 2**20])
async def test_the_batch_that_no_worker_survived_is_refused(tmp_path: Path, limit: int) -> None:
    body = b'{"tasks": [{"action": "x", "data": {"x": [' + b"[[[]]]," * 1_587_842 + b"0]}}]}"
    assert len(body) == 11_114_942
    async with System.open(quick_settings(tmp_path, max_batch_bytes=limit)) as system:
        answer = await post(system, "/tasks/batch", body)
        why = f"more than {MAX_VALUES}" if limit > len(body) else "TASKQUEUE_MAX_BODY_BYTES"
        assert (answer.status, why in answer.body["error"]) == (413, True)
        assert await system.count() == 0


async def test_what_looks_like_many_values_in_a_string_is_none(system: System) -> None:
    text = ',:[{"' * 100_000
    id = await system.submit("uppercase", {"text": text})
    assert (await system.task(id))["payload"]["data"] == {"text": text}
