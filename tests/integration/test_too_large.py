"""A task that the broker could never take is refused, not accepted and tried for ever."""

from io import BytesIO
from pathlib import Path

import pytest
from tests.integration.system import System, quick_settings

from taskqueue.contract.limits import MAX_PAYLOAD_BYTES


@pytest.mark.parametrize("batch", [False, True])
async def test_a_task_whose_message_would_be_too_large_is_refused(tmp_path: Path, batch: bool) -> None:
    # Each number is written with 18 characters in the message, and with 5 in the body.
    numbers = ",".join(["1e15"] * (MAX_PAYLOAD_BYTES // 18 + 1))
    task = f'{{"action": "sum", "data": {{"numbers": [{numbers}]}}}}'
    body = f'{{"tasks": [{{"action": "sum"}}, {task}]}}' if batch else task
    async with System.open(quick_settings(tmp_path, max_body_bytes=MAX_PAYLOAD_BYTES)) as system:
        answer = await system.post("/tasks/batch" if batch else "/tasks", data=BytesIO(body.encode()))
        assert answer.status == 413
        assert f"{MAX_PAYLOAD_BYTES} is the limit" in answer.body["error"]
        assert await system.count() == 0
