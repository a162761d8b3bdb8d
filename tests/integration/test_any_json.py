"""Whatever is POSTed: a JSON answer, never a 5xx, and what was accepted reads back as it was sent."""

import asyncio
import json
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic_core import from_json
from tests.integration.actions import nest
from tests.integration.system import System, quick_settings
from tests.integration.test_stream_ends import whole

from taskqueue.contract.limits import MAX_DEPTH

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-(10**400), 10**400)
    | st.floats()
    | st.text(st.characters(exclude_categories=())),
    lambda children: st.lists(children) | st.dictionaries(st.text(st.characters(exclude_categories=())), children),
    max_leaves=20,
)
OBJECTS = st.dictionaries(st.text(), JSON, max_size=5)

#: Near enough to a task that many are accepted.
BODIES = JSON | st.fixed_dictionaries(
    {"action": st.text(min_size=1, max_size=210) | JSON},
    optional={
        "data": OBJECTS | JSON,
        "run_at": st.floats(-1, 1e12) | JSON,
        "delay": st.floats(-1, 1e12) | JSON,
        "timeout": st.floats(-1, 1e5) | JSON,
        "priority": st.sampled_from(["high", "normal", "low"]) | JSON,
        "max_attempts": st.integers(-1, 101) | JSON,
        "other": JSON,
    },
)


class Caller:
    """Awaits on a loop of its own, since hypothesis calls plain functions."""

    def __init__(self, runner: asyncio.Runner, system: System) -> None:
        self.run = runner.run
        self.system = system


@pytest.fixture(scope="module")
def caller(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Caller]:
    with asyncio.Runner() as runner:
        stack = AsyncExitStack()
        folder: Path = tmp_path_factory.mktemp("any-json")
        system = runner.run(stack.enter_async_context(System.open(quick_settings(folder))))
        yield Caller(runner, system)
        runner.run(stack.aclose())


async def post(system: System, body: bytes) -> tuple[int, dict[str, Any] | None]:
    """The answer's status, and the task if it was accepted."""
    answer = await system.post("/tasks", data=body)
    assert isinstance(answer.body, dict)
    if answer.status == 202:
        return 202, await system.task(answer.body["id"])
    assert answer.body["error"]
    return answer.status, None


@settings(max_examples=200, deadline=None)
@given(value=BODIES)
def test_any_json_is_accepted_and_reads_back_or_is_refused(caller: Caller, value: Any) -> None:
    # What Python calls Infinity can also be written as JSON, in digits.
    body = json.dumps(value).replace("Infinity", "1e999").encode()
    status, task = caller.run(post(caller.system, body))
    if task is None:
        assert 400 <= status < 500
    else:
        sent = json.loads(body)
        assert task["action"] == task["payload"]["action"] == sent["action"]
        assert task["payload"]["data"] == sent.get("data", {})
        assert json.dumps(task["payload"]["data"]) == json.dumps(sent.get("data", {})), "types are kept, too"


@settings(max_examples=50, deadline=None)
@given(data=OBJECTS)
def test_data_that_json_can_hold_is_accepted(caller: Caller, data: dict[str, Any]) -> None:
    body = json.dumps({"action": "x", "data": data}).replace("Infinity", "1e999").encode()
    status, task = caller.run(post(caller.system, body))
    try:
        json.dumps(data, allow_nan=False, ensure_ascii=False).encode()
    except ValueError:
        assert status == 400
    else:
        assert status == 202
        assert task


@settings(max_examples=100, deadline=None)
@given(body=st.binary(max_size=200))
def test_any_bytes_are_answered(caller: Caller, body: bytes) -> None:
    status, _ = caller.run(post(caller.system, body))
    assert status == 202 or 400 <= status < 500


@pytest.mark.parametrize("levels", [1, 190, MAX_DEPTH])
async def test_a_result_reads_back_as_deep_as_it_is_kept(system: System, levels: int) -> None:
    async with system.worker():
        task = await system.until(await system.submit("nest", {"levels": levels}))
    assert task["result"] == await nest(levels)
    async with system.client.get("/tasks") as response:
        page = from_json(await response.read())  # no deeper than a strict parser goes
    assert page["tasks"] == [{name: value for name, value in task.items() if name not in {"attempts", "children"}}]


@pytest.mark.parametrize("levels", [MAX_DEPTH + 1, 5000])
async def test_a_deeper_result_fails_its_task_for_good(system: System, levels: int) -> None:
    async with system.worker():
        task = await system.until(await system.submit("nest", {"levels": levels}))
    assert (task["status"], task["attempt"], task["error"]["type"]) == ("failed", 1, "InvalidResult")
    assert "deep" in task["error"]["message"] or "recursion" in task["error"]["message"]


async def test_data_reads_back_as_deep_as_it_is_accepted(system: System) -> None:
    def nested(levels: int) -> bytes:
        return b'{"action": "x", "data": ' + b'{"x": ' * (levels - 1) + b"{}" + b"}" * levels

    levels = 1
    while (accepted := await system.post("/tasks", data=nested(levels + 1))).status == 202:
        levels += 1
    assert levels == MAX_DEPTH - 1
    assert accepted.body == {"error": f"JSON nested too deeply: {MAX_DEPTH} levels are the limit"}
    page = (await system.get("/tasks?limit=1")).body["tasks"]
    assert page[0]["payload"]["data"] == json.loads(nested(levels))["data"]
    assert (await system.task(page[0]["id"]))["payload"] == page[0]["payload"]


async def test_strings_that_are_no_unicode_read_back(system: System) -> None:
    async with system.worker():
        task = await system.until(await system.submit("tell_half_a_pair"))
    assert task["error"]["message"] == "half \udfff"
    assert task["attempts"][0]["error"] == task["error"]
    assert task["progress"] == {"fraction": 0.5, "message": "half \ud800"}
    [standing] = await whole(system, f"/tasks/{task['id']}/events")
    assert standing.data["progress"] == task["progress"]
