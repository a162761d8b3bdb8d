"""From the POST to the recorded outcome: API, store, memory broker and worker."""

import asyncio
import json
import re
import time
from pathlib import Path
from typing import Any

import pytest
from tests.conformance.server import RabbitServer
from tests.conformance.waiting import eventually
from tests.integration import actions
from tests.integration.system import HANDLERS, System, WatchedBroker, quick_settings

from taskqueue.actions import load_handlers, registry
from taskqueue.broker import open_broker
from taskqueue.broker.memory import DeadLetter, MemoryBroker
from taskqueue.contract.limits import MAX_DEPTH
from taskqueue.task import Status


async def run(system: System, action: str, data: dict[str, Any] | None = None, **members: Any) -> dict[str, Any]:
    """The task, once it is final."""
    async with system.worker():
        return await system.until(await system.submit(action, data, **members))


def outcomes(task: dict[str, Any]) -> list[str]:
    return [attempt["outcome"] for attempt in task["attempts"]]


# The actions that ship


@pytest.fixture
def shipped(monkeypatch: pytest.MonkeyPatch) -> None:
    """There are no others: as long as there are none, one of them takes what has no handler of its own."""
    load_handlers(HANDLERS)
    monkeypatch.setattr(registry, "ACTIONS", {name: it for name, it in registry.ACTIONS.items() if it.ships})


@pytest.mark.parametrize(
    ("action", "data", "output"),
    [
        ("uppercase", {"text": "hello world"}, "HELLO WORLD"),
        ("uppercase", {"text": "straße\0"}, "STRASSE\0"),
        ("uppercase", {"text": ""}, ""),
        ("uppercase", {"text": None}, ""),
        ("uppercase", {}, ""),
        ("sum", {"numbers": [1, 2, 3.5]}, 6.5),
        ("sum", {"numbers": []}, 0),
        ("sum", {"numbers": None}, 0),
        ("sum", {}, 0),
        ("sum", {"numbers": [10**400, 1]}, 10**400 + 1),
        ("whatever", {}, "processed"),
        ("whatever else", {"any": ["data", None]}, "processed"),
        ("*", {}, "processed"),
    ],
)
@pytest.mark.usefixtures("shipped")
async def test_a_shipped_action_gives_its_output(
    system: System, action: str, data: dict[str, Any], output: Any
) -> None:
    task = await run(system, action, data)
    assert (task["status"], task["result"], task["error"]) == ("completed", {"output": output}, None)
    assert outcomes(task) == ["ok"]


@pytest.mark.parametrize(
    ("action", "data", "message"),
    [
        ("uppercase", {"text": 5}, "text: .*string"),
        ("uppercase", {"text": ["x"]}, "text: .*string"),
        ("uppercase", {"text": "x", "txt": "y"}, "txt: .*not permitted"),
        ("sum", {"numbers": [1, "2"]}, r"numbers\.1"),
        ("sum", {"numbers": [True]}, r"numbers\.0"),
        ("sum", {"numbers": "123"}, "numbers: .*array"),
        ("sum", {"numbers": {"0": 1}}, "numbers: .*array"),
    ],
)
async def test_wrong_arguments_fail_the_task_at_once_and_say_which(
    system: System, action: str, data: dict[str, Any], message: str
) -> None:
    id = await system.submit(action, data, max_attempts=3)  # before a worker has told what it takes
    async with system.worker():
        task = await system.until(id)
    assert (task["status"], task["result"], task["attempt"]) == ("failed", None, 1)
    assert task["error"]["type"] == "InvalidArguments"
    assert re.search(message, task["error"]["message"])
    assert task["processed_at"] is not None
    assert outcomes(task) == ["error"]


# Results


@pytest.mark.parametrize(
    "value", [None, "text\0", 5, [1], {"é": 1}], ids=["null", "a string", "a number", "a list", "an object"]
)
async def test_a_result_is_any_json(system: System, value: Any) -> None:
    task = await run(system, "give", {"value": value})
    assert (task["status"], task["result"], task["attempt"]) == ("completed", value, 1)
    assert [listed["result"] for listed in (await system.get("/tasks")).body["tasks"]] == [value]


async def test_a_result_that_no_json_can_be_fails_the_task(system: System) -> None:
    task = await run(system, "give_set", {"members": [1]})
    assert (task["status"], task["result"], task["attempt"]) == ("failed", None, 1)
    assert task["error"]["type"] == "InvalidResult"


async def test_a_sum_beyond_a_double_fails_the_task(system: System) -> None:
    task = await run(system, "sum", {"numbers": [1e308, 1e308]})
    assert (task["status"], task["error"]["type"]) == ("failed", "InvalidResult")


async def test_a_result_may_be_as_large_as_the_limit_and_no_larger(system: System) -> None:
    async with system.worker(max_result_bytes=100):
        fits = await system.until(await system.submit("give", {"value": {"x": "y" * (100 - len('{"x":""}'))}}))
        too_large = await system.until(await system.submit("give", {"value": {"x": "ü" * 50}}))
    assert fits["status"] == "completed"
    assert (too_large["status"], too_large["error"]["type"]) == ("failed", "ResultTooLarge")
    assert "100" in too_large["error"]["message"]


async def test_an_empty_object_is_a_result(system: System) -> None:
    task = await run(system, "give", {"value": {}})
    assert (task["status"], task["result"]) == ("completed", {})


# Handlers


async def test_a_handler_gets_its_task(system: System) -> None:
    task = await run(system, "describe")
    assert task["result"] == {"id": task["id"], "action": "describe", "attempt": 1}


async def test_a_plain_function_runs_in_a_thread_of_its_own(system: System) -> None:
    task = await run(system, "thread_name")
    assert task["result"] == {"output": f"task-{task['id']}"}


async def test_a_worker_runs_as_many_tasks_at_a_time_as_it_has_consumers(system: System) -> None:
    async with system.worker(consumers=2):
        for _ in range(2):
            await system.submit("hold", {"name": "first"})
        await actions.started("first", 2)
        third = await system.submit("note", {"text": "third"})
        await system.beats(2)
        assert not actions.notes
        actions.let_go("first")
        await system.until(third)


@pytest.mark.parametrize(("action", "data"), [("uppercase", {"text": "x"}), ("thread_name", {})])
async def test_simulated_work_takes_its_time_and_does_not_block_others(
    system: System, action: str, data: dict[str, Any]
) -> None:
    ids = [await system.submit(action, data) for _ in range(2)]
    async with system.worker(simulated_work=0.5, consumers=2):
        tasks = [await system.until(id) for id in ids]
    starts = [task["attempts"][0]["started_at"] for task in tasks]
    ends = [task["processed_at"] for task in tasks]
    for start, end in zip(starts, ends, strict=True):
        assert end - start >= 0.49
    assert max(starts) < min(ends), "they did not wait for one another"


# Retries


async def test_a_task_that_fails_is_tried_again_until_its_attempts_are_used_up(system: System) -> None:
    task = await run(system, "fail", {"message": "no luck"}, max_attempts=3)
    assert (task["status"], task["attempt"], task["failures"]) == ("failed", 3, 3)
    assert (task["error"]["type"], task["error"]["message"]) == ("RuntimeError", "no luck")
    assert "no luck" in task["error"]["traceback"]
    assert outcomes(task) == ["error"] * 3
    assert [attempt["number"] for attempt in task["attempts"]] == [1, 2, 3]
    for attempt in task["attempts"]:
        assert attempt["error"]["message"] == "no luck"
        assert attempt["started_at"] <= attempt["ended_at"] <= task["processed_at"]


async def test_a_task_completes_in_a_later_attempt(system: System) -> None:
    task = await run(system, "fail", {"until_attempt": 3}, max_attempts=3)
    assert (task["status"], task["result"], task["error"]) == ("completed", {"output": 3}, None)
    assert (task["attempt"], task["failures"]) == (3, 2)
    assert outcomes(task) == ["error", "error", "ok"]


async def test_a_single_attempt_is_not_repeated(system: System) -> None:
    task = await run(system, "fail", max_attempts=1)
    assert (task["status"], task["attempt"]) == ("failed", 1)


async def test_a_handler_says_when_it_wants_to_be_tried_again(system: System) -> None:
    task = await run(system, "ask_again", {"after": 0.3})
    assert (task["status"], task["result"]) == ("completed", {"output": 2})
    first, second = task["attempts"]
    assert first["outcome"] == "error"
    assert first["error"]["message"] == "not there yet"
    assert 0.3 <= second["started_at"] - first["ended_at"] < 0.3 + 5


async def test_an_actions_own_defaults_hold_where_the_post_says_nothing(system: System) -> None:
    async with system.worker(retry_base=1000, retry_cap=1000, max_attempts=4):
        unsaid = await system.until(await system.submit("fail_thrice"))
        said = await system.until(await system.submit("fail_thrice", max_attempts=1))
    assert (unsaid["max_attempts"], unsaid["failures"]) == (3, 3)
    first, second, third = unsaid["attempts"]
    assert second["started_at"] - first["ended_at"] >= 0.1, "it waits as its own backoff says"
    assert third["started_at"] - second["ended_at"] >= 0.2
    assert (said["max_attempts"], said["failures"]) == (1, 1)


async def test_while_it_waits_for_the_next_attempt_a_task_is_pending(system: System) -> None:
    async with system.worker():
        id = await system.submit("ask_again", {"after": 1000})
        await eventually(lambda: system.attempts_ended(id, 1))
        task = await system.task(id)
        assert (task["status"], task["processed_at"]) == ("pending", None)
        assert task["run_at"] - time.time() == pytest.approx(1000, abs=5)


async def test_a_handler_may_put_its_task_off_at_no_cost(system: System) -> None:
    task = await run(system, "put_off", {"times": 2}, max_attempts=1)
    assert (task["status"], task["result"], task["failures"], task["attempt"]) == ("completed", None, 0, 3)
    assert outcomes(task) == ["snoozed", "snoozed", "ok"]


async def test_a_rejected_task_fails_at_once(system: System) -> None:
    task = await run(system, "refuse", max_attempts=5)
    assert (task["status"], task["attempt"]) == ("failed", 1)
    assert (task["error"]["type"], task["error"]["message"]) == ("Reject", "no such customer")


# Timeouts


async def test_a_coroutine_past_its_timeout_is_cancelled_and_tried_again(system: System) -> None:
    async with system.worker():
        id = await system.submit("clean_up", {"name": "x"}, timeout=0.1, max_attempts=2)
        task = await system.until(id)
    assert (task["status"], task["failures"]) == ("failed", 2)
    assert outcomes(task) == ["timeout", "timeout"]
    assert task["error"] == {"type": "Timeout", "message": "ran longer than 0.1 s", "traceback": None}
    assert actions.notes == ["cleaning", "clean"] * 2
    for attempt in task["attempts"]:
        assert 0.09 <= attempt["ended_at"] - attempt["started_at"] < 5


async def test_a_function_past_its_timeout_is_told_and_not_waited_for(system: System) -> None:
    async with system.worker():
        id = await system.submit("watch_flag", {"name": "x"}, timeout=0.1, max_attempts=1)
        task = await system.until(id)
        assert (task["status"], outcomes(task)) == ("failed", ["timeout"])
        await eventually(lambda: actions.notes == ["saw the flag"])


async def test_a_task_without_a_timeout_has_the_default(system: System) -> None:
    async with system.worker(task_timeout=0.1):
        task = await system.until(await system.submit("clean_up", {"name": "x"}, max_attempts=1))
    assert outcomes(task) == ["timeout"]


async def test_simulated_work_counts_against_the_timeout(system: System) -> None:
    async with system.worker(simulated_work=60):
        task = await system.until(await system.submit("uppercase", {"text": "x"}, timeout=0.1, max_attempts=1))
    assert outcomes(task) == ["timeout"]


# Times and priorities


async def test_a_task_runs_at_its_time_not_earlier_and_not_much_later(system: System) -> None:
    async with system.worker(relay_interval=1):
        delayed = await system.submit("note", {"text": "delayed"}, delay=1)
        timed = await system.submit("note", {"text": "timed"}, run_at=time.time() + 0.5)
        assert [(await system.task(id))["status"] for id in (delayed, timed)] == ["pending"] * 2
        for id in (timed, delayed):
            task = await system.until(id)
            late = task["attempts"][0]["started_at"] - task["run_at"]
            assert 0 <= late < 2, "an interval of the relay's at most, and some slack"
    assert sorted(actions.notes) == ["delayed", "timed"]


async def test_a_time_that_has_passed_is_now(system: System) -> None:
    answer = await system.post("/tasks", json={"action": "note", "data": {"text": "x"}, "run_at": 0})
    assert answer.body["status"] == "queued"


async def test_a_message_that_comes_before_its_tasks_time_is_dropped(system: System) -> None:
    async with system.worker():
        id = await system.submit("note", {"text": "early"}, delay=1000)
        body = json.dumps((await system.task(id))["payload"]).encode()
        await system.broker.publish(body, message_id="x", priority=4, timeout=1)
        other = await system.submit("note", {"text": "other"}, priority="low")
        await system.until(other)
        assert (await system.task(id))["status"] == "pending"
    assert actions.notes == ["other"]


async def test_a_higher_priority_goes_first(system: System) -> None:
    for priority in ("low", "normal", "high", "low", "normal", "high"):
        await system.submit("note", {"text": priority}, priority=priority)
    async with system.worker(consumers=1):
        await eventually(lambda: len(actions.notes) == 6)
    assert actions.notes == ["high"] * 2 + ["normal"] * 2 + ["low"] * 2


async def test_priorities_hold_for_tasks_that_the_relay_publishes(system: System) -> None:
    due = time.time() + 0.3
    for priority in ("low", "normal", "high"):
        await system.submit("note", {"text": priority}, priority=priority, run_at=due)
    await asyncio.sleep(0.4)
    async with system.worker(consumers=1):
        await eventually(lambda: len(actions.notes) == 3)
    assert actions.notes == ["high", "normal", "low"]


# Cancelling


async def cancel(system: System, id: str) -> tuple[int, Any]:
    answer = await system.post(f"/tasks/{id}/cancel")
    return answer.status, answer.body


@pytest.mark.parametrize(("delay", "before"), [(1000, Status.PENDING), (0, Status.QUEUED)])
async def test_a_waiting_task_is_cancelled_at_once_and_never_runs(
    system: System, delay: int, before: Status
) -> None:
    id = await system.submit("note", {"text": "ran"}, delay=delay)
    await system.until(id, before)  # the mark comes after the answer
    assert await cancel(system, id) == (202, {"id": id, "status": "cancelled", "cancel_requested": True})
    task = await system.task(id)
    assert (task["status"], task["result"], task["attempts"]) == ("cancelled", None, [])
    assert task["processed_at"] is not None
    async with system.worker():
        await system.until(await system.submit("uppercase", {"text": "x"}, priority="low"))
    assert not actions.notes
    assert (await system.task(id))["status"] == "cancelled"


async def test_a_running_coroutine_is_cancelled_and_cleans_up_undisturbed(system: System) -> None:
    """Several heartbeats pass meanwhile, each of which reads that it was asked to cancel."""
    async with system.worker(lease=0.25):
        id = await system.submit("clean_up", {"name": "x", "seconds": 0.3}, max_attempts=5)
        await actions.started("x")
        assert await cancel(system, id) == (202, {"id": id, "status": "running", "cancel_requested": True})
        task = await system.until(id)
    assert (task["status"], outcomes(task), task["attempt"]) == ("cancelled", ["cancelled"], 1)
    assert actions.notes == ["cleaning", "clean"]


async def test_a_running_function_sees_the_flag(system: System) -> None:
    async with system.worker(lease=0.25):
        id = await system.submit("watch_flag", {"name": "x"})
        await actions.started("x")
        await cancel(system, id)
        task = await system.until(id)
    assert (task["status"], outcomes(task)) == ("cancelled", ["cancelled"])
    assert actions.notes == ["saw the flag"]


async def test_a_handler_that_returns_all_the_same_has_completed(system: System) -> None:
    async with system.worker(lease=0.25):
        id = await system.submit("insist", {"name": "x"})
        await actions.started("x")
        await cancel(system, id)
        task = await system.until(id)
    assert (task["status"], task["result"]) == ("completed", {"output": "all the same"})
    assert task["cancel_requested"]


async def test_a_task_that_waits_for_its_next_attempt_is_cancelled_at_once(system: System) -> None:
    async with system.worker():
        id = await system.submit("ask_again", {"after": 1000})
        await eventually(lambda: system.attempts_ended(id, 1))
        assert (await cancel(system, id))[0] == 202
        task = await system.task(id)
    assert (task["status"], outcomes(task)) == ("cancelled", ["error"])


@pytest.mark.parametrize(
    ("action", "status"), [("uppercase", "completed"), ("refuse", "failed"), ("", "cancelled")]
)
async def test_a_final_task_cannot_be_cancelled(system: System, action: str, status: str) -> None:
    if action:
        id = (await run(system, action, {"text": "x"} if action == "uppercase" else {}))["id"]
    else:
        id = await system.submit("x")
        await cancel(system, id)
    before = await system.task(id)
    assert before["status"] == status
    assert await cancel(system, id) == (409, {"error": f"the task is already {status}", "status": status})
    assert await system.task(id) == before


# Several workers


@pytest.mark.docker
async def test_messages_behind_a_long_task_are_given_to_an_idle_worker(
    tmp_path: Path, rabbit: RabbitServer, queue: str
) -> None:
    """With RabbitMQ: the memory broker hands nothing out ahead of time."""
    settings = quick_settings(tmp_path, consumers=1, give_back_after=0.5)
    async with System.open(settings, open_broker(rabbit.url, queue)) as system, system.worker():
        await system.submit("hold", {"name": "long"})
        await actions.started("long")
        waiting = [await system.submit("note", {"text": "x"}) for _ in range(4)]

        async def all_are_handed_out() -> bool:
            return await system.broker.ready_count() == 0

        await eventually(all_are_handed_out)
        async with system.worker():
            for id in waiting:
                await system.until(id)
        assert (await system.get("/tasks?status=running")).body["count"] == 1


async def test_a_consumer_takes_messages_again_after_a_long_task(tmp_path: Path) -> None:
    broker = WatchedBroker()
    async with (
        System.open(quick_settings(tmp_path), broker) as system,
        system.worker(consumers=1, give_back_after=0.05),
    ):
        await system.submit("hold", {"name": "long"})
        await actions.started("long")
        await eventually(lambda: not broker.consumers[0].attached)
        actions.let_go("long")
        await system.until(await system.submit("uppercase", {"text": "x"}))


async def test_two_workers_run_each_task_once(system: System) -> None:
    ids = [await system.submit("note", {"text": str(number)}) for number in range(50)]
    async with system.worker(), system.worker():
        for id in ids:
            task = await system.until(id)
            assert (task["status"], task["attempt"]) == ("completed", 1)
    assert sorted(actions.notes, key=int) == [str(number) for number in range(50)]


async def test_a_second_message_of_a_task_is_dropped(system: System) -> None:
    id = await system.submit("note", {"text": "x"})
    body = json.dumps((await system.task(id))["payload"]).encode()
    for number in range(3):
        await system.broker.publish(body, message_id=str(number), priority=4, timeout=1)
    async with system.worker():
        await system.until(id)
        await system.until(await system.submit("uppercase", {"text": "x"}, priority="low"))
        assert await system.broker.ready_count() == 0
    assert actions.notes == ["x"]


# Messages that are no tasks


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "malformed message: not JSON"),
        (b"\xff\xfe", "malformed message: not JSON"),
        (b"[" * 100_000, f"malformed message: JSON nested too deeply: {MAX_DEPTH} levels.*"),
        (b"[]", "malformed message: not a JSON object"),
        (b"{}", "malformed message: member 'id' missing or of the wrong type"),
        (b'{"id": "x", "action": "y", "data": [], "created_at": 1}', "malformed message: member 'data' .*"),
        (b'{"id": 5, "action": "y", "data": {}, "created_at": 1}', "malformed message: member 'id' .*"),
        (rb'{"id": "\ud800", "action": "y", "data": {}, "created_at": 1}', "malformed message: not JSON.*"),
        (b'{"id": "no-such-task", "action": "y", "data": {}, "created_at": 1}', "unknown task"),
    ],
)
async def test_a_message_that_is_no_task_is_dead_lettered_with_a_reason_and_the_worker_lives(
    system: System, body: bytes, reason: str
) -> None:
    assert isinstance(system.broker, MemoryBroker)
    async with system.worker():
        await system.broker.publish(body, message_id="x", priority=8, timeout=1)
        task = await system.until(await system.submit("uppercase", {"text": "x"}))
        assert task["status"] == "completed"
        [letter] = system.broker.dead
    assert isinstance(letter, DeadLetter)
    assert letter.body == body
    assert re.fullmatch(reason, letter.reason)
