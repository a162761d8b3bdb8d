"""`taskqueue audit`."""

import json

from tests.integration.cli.conftest import CommandLine
from tests.integration.system import System


async def test_it_lists_what_was_changed(taskqueue: CommandLine, system: System) -> None:
    id = await system.submit("x", tags=["a"], delay=1000)
    await system.post(f"/tasks/{id}/cancel")
    await system.post("/tasks/retry", json={"tag": "a"})
    table = (await taskqueue("audit")).output
    assert id in table and '{"tag": "a"}' in table
    lines = (await taskqueue("audit", "--operation", "cancel_task", "--json")).output.splitlines()
    assert [json.loads(line)["target"] for line in lines] == [id]
    assert (await taskqueue("audit", "--operation", "submit_task", code=2)).output == ""
