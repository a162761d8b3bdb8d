"""The fixture `taskqueue`: a taskqueue in a user's test, whose time and work the test directs."""

import asyncio
import os
import threading
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated, Any

import pytest

from taskqueue import Depends, Reject, Retry, TaskContext, action
from taskqueue.actions import HandlersError, registry
from taskqueue.client import AsyncClient, Client, InvalidRequestError
from taskqueue.process import FatalError
from taskqueue.task import Status
from taskqueue.testing import arun
from taskqueue.testing.queue import Queue

DAY = 86_400
#: Seconds that a handler waits for what should happen.
PATIENCE = 20


@action
async def greet_in_test(name: str) -> dict[str, Any]:
    return {"output": f"hello {name}"}


@action
def later_in_test(after: float, times: int, task: TaskContext) -> dict[str, Any]:
    if task.attempt <= times:
        raise Retry("not yet", after=after)
    return {"attempt": task.attempt}


@pytest.fixture(autouse=True)
def actions_of_these_tests_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    names = {"greet_in_test", "later_in_test"}
    monkeypatch.setattr(registry, "ACTIONS", {name: registry.ACTIONS[name] for name in names})


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)


@pytest.fixture
def taskqueue_settings() -> dict[str, Any]:
    return {"consumers": 1, "drain_timeout": 0.1}


# Where and when tasks run


async def test_what_is_for_a_process_runs_in_that_of_the_test_where_no_module_is_named(taskqueue: Queue) -> None:
    opened = []

    def owner() -> int:
        opened.append(os.getpid())
        return os.getpid()

    @action(executor="process")
    def whose(owner: Annotated[int, Depends(owner)]) -> list[int]:
        return [owner, os.getpid()]

    task = await taskqueue.submit("whose")
    await taskqueue.drain()
    assert await task.result() == [os.getpid()] * 2
    assert await arun(whose) == [os.getpid()] * 2
    assert opened == [os.getpid()] * 2


async def test_a_task_runs_at_the_drain_and_not_before(taskqueue: Queue) -> None:
    task = await taskqueue.submit("greet_in_test", {"name": "you"})
    assert (await task.get()).status is Status.QUEUED
    await taskqueue.drain()
    assert (await task.get()).status is Status.COMPLETED
    assert await task.result() == {"output": "hello you"}
    assert not taskqueue.failures


async def test_a_drain_of_nothing_ends(taskqueue: Queue) -> None:
    await taskqueue.drain()
    await taskqueue.drain()


async def test_time_moves_and_nothing_sleeps(taskqueue: Queue) -> None:
    task = await taskqueue.submit("greet_in_test", {"name": "you"}, delay=30 * DAY)
    await taskqueue.drain()
    taskqueue.advance(30 * DAY - 60)
    await taskqueue.drain()
    assert (await task.get()).status is Status.PENDING
    taskqueue.advance(60)
    await taskqueue.drain()
    assert (await task.get()).status is Status.COMPLETED


async def test_time_does_not_go_back(taskqueue: Queue) -> None:
    with pytest.raises(ValueError, match="does not go back"):
        taskqueue.advance(-1)


async def test_what_is_tried_again_at_once_is_final_after_one_drain(taskqueue: Queue) -> None:
    for _ in range(10):  # a drain that ended too early would not do so each time
        task = await taskqueue.submit("later_in_test", {"after": 0, "times": 2})
        await taskqueue.drain()
        assert (await task.get()).result == {"attempt": 3}


async def test_what_is_tried_again_later_waits_for_its_time(taskqueue: Queue) -> None:
    task = await taskqueue.submit("later_in_test", {"after": 3600, "times": 1})
    await taskqueue.drain()
    assert (await task.get()).status is Status.PENDING
    taskqueue.advance(3600)
    await taskqueue.drain()
    assert await task.result() == {"attempt": 2}


async def test_what_a_handler_submits_is_drained_too(taskqueue: Queue) -> None:
    @action
    async def chain(left: int) -> dict[str, Any]:
        if left:
            await taskqueue.submit("chain", {"left": left - 1})
        return {}

    await taskqueue.submit("chain", {"left": 3})
    await taskqueue.drain()
    taskqueue.assert_submitted("chain", count=4)
    assert [task.status async for task in taskqueue.client.find(action="chain")] == [Status.COMPLETED] * 4


async def test_what_a_task_submits_is_seen_once_it_has_completed(taskqueue: Queue) -> None:
    @action
    async def greet_all(names: list[str], task: TaskContext) -> None:
        for name in names:
            task.submit(greet_in_test.options(delay=60), name=name)
        if task.attempt == 1:
            raise Retry(after=30)

    parent = await taskqueue.submit("greet_all", {"names": ["you", "me"]})
    await taskqueue.drain()
    taskqueue.assert_submitted(greet_in_test, count=0)
    taskqueue.advance(30)
    await taskqueue.drain()
    taskqueue.assert_submitted(greet_in_test, {"name": "me"}, count=1)
    children = [await taskqueue.client.get(id) for id in (await parent.get()).children]
    assert [child.status for child in children] == [Status.PENDING] * 2
    taskqueue.advance(60)
    await taskqueue.drain()
    assert [(await taskqueue.client.get(child.id)).result for child in children] == [
        {"output": "hello you"},
        {"output": "hello me"},
    ]


async def test_many_are_all_final_after_one_drain(taskqueue: Queue, caplog: pytest.LogCaptureFixture) -> None:
    tasks = [
        {"action": "greet_in_test", "data": {"name": "you"}},
        {"action": "later_in_test", "data": {"after": 0, "times": 2}},
    ] * 20
    ids = {task.id async for task in taskqueue.client.submit_many(tasks)}
    await taskqueue.drain()
    assert {task.id async for task in taskqueue.client.find(status="completed")} == ids
    assert len(taskqueue.failures) == 2 * 20
    assert "published again" not in caplog.text


async def test_a_worker_works_as_long_as_a_block(taskqueue: Queue) -> None:
    async with taskqueue.working():
        task = await taskqueue.submit("greet_in_test", {"name": "you"})
        assert await task.result(timeout=PATIENCE) == {"output": "hello you"}
    later = await taskqueue.submit("greet_in_test", {"name": "you"})
    assert (await later.get()).status is Status.QUEUED


async def test_what_is_cancelled_while_it_drains_ends(taskqueue: Queue) -> None:
    begun = asyncio.Event()

    @action
    async def endless() -> dict[str, Any]:
        begun.set()
        await asyncio.sleep(DAY)
        return {}

    task = await taskqueue.submit("endless")
    draining = asyncio.create_task(taskqueue.drain())
    await begun.wait()
    await task.cancel()
    await draining
    assert (await task.get()).status is Status.CANCELLED
    assert not taskqueue.failures


async def test_handlers_have_their_resources_in_each_drain(taskqueue: Queue) -> None:
    steps: list[str] = []

    async def pool() -> AsyncIterator[str]:
        steps.append("open")
        yield "pool"
        steps.append("close")

    @action
    async def use(pool: Annotated[str, Depends(pool)]) -> None:
        steps.append(pool)

    for _ in range(2):
        await taskqueue.submit("use")
        await taskqueue.submit("use")
        await taskqueue.drain()
    assert steps == ["open", "pool", "pool", "close"] * 2


async def test_a_resource_that_can_not_be_opened_ends_the_drain(taskqueue: Queue) -> None:
    async def pool() -> str:
        raise OSError("nobody listens")

    @action
    async def use(pool: Annotated[str, Depends(pool)]) -> None: ...

    await taskqueue.submit("use")
    with pytest.raises(FatalError, match="nobody listens"):
        await taskqueue.drain()


# What is told of it


async def test_the_attempts_that_failed_are_told(taskqueue: Queue) -> None:
    @action
    async def decline(number: int, task: TaskContext) -> dict[str, Any]:
        if task.attempt == 1:
            raise Retry("once more", after=0)
        raise Reject(f"never {number}")

    await taskqueue.submit("decline", {"number": 7})
    await taskqueue.submit("decline", {"number": "seven"})
    await taskqueue.drain()
    told = [(failure.attempt, failure.type, failure.message, failure.status) for failure in taskqueue.failures]
    assert sorted(told) == [
        (1, "InvalidArguments", "number: Input should be a valid integer", Status.FAILED),
        (1, "Retry", "once more", Status.PENDING),
        (2, "Reject", "never 7", Status.FAILED),
    ]
    [rejected] = [failure for failure in taskqueue.failures if failure.type == "Reject"]
    assert repr(rejected) == "<decline, attempt 2: Reject: never 7>"
    assert "raise Reject(" in (rejected.traceback or "")


async def test_what_was_submitted_is_found_by_some_of_its_data(taskqueue: Queue) -> None:
    await taskqueue.submit("greet_in_test", {"name": "you", "more": [1, {"a": None}]}, delay=DAY)
    await taskqueue.client.submit("greet_in_test", {"name": "me"})
    taskqueue.assert_submitted("greet_in_test")
    taskqueue.assert_submitted(greet_in_test, {"more": [1, {"a": None}]})
    taskqueue.assert_submitted(greet_in_test, {"name": "me"}, count=1)
    taskqueue.assert_submitted(greet_in_test, count=2)
    taskqueue.assert_submitted(later_in_test, count=0)
    await taskqueue.drain()
    taskqueue.assert_submitted(greet_in_test, count=2)


@pytest.mark.parametrize(
    ("wanted", "count"),
    [
        (("greet_in_test", {"name": "me"}), None),
        (("greet_in_test", {"names": "you"}), None),
        (("other", {}), None),
        (("greet_in_test", {"name": "you"}), 2),
        (("greet_in_test", {}), 0),
    ],
)
async def test_what_was_not_submitted_is_told_with_what_was(
    taskqueue: Queue, wanted: tuple[str, dict[str, Any]], count: int | None
) -> None:
    await taskqueue.submit("greet_in_test", {"name": "you"})
    with pytest.raises(AssertionError, match=f"expected .* of {wanted[0]}") as raised:
        taskqueue.assert_submitted(*wanted, count=count)
    assert 'greet_in_test {"name": "you"}' in str(raised.value)


async def test_where_nothing_was_submitted_that_is_told(taskqueue: Queue) -> None:
    with pytest.raises(AssertionError, match="found 0 among no task"):
        taskqueue.assert_submitted(greet_in_test)


async def test_final_tasks_are_kept_however_far_time_moves(taskqueue: Queue) -> None:
    await taskqueue.submit("greet_in_test", {"name": "you"})
    await taskqueue.drain()
    taskqueue.advance(365 * DAY)
    await taskqueue.drain()
    taskqueue.assert_submitted(greet_in_test, count=1)


# Ways to it


async def test_programs_find_it_at_the_url_of_the_environment(taskqueue: Queue) -> None:
    assert os.environ["TASKQUEUE_URL"] == taskqueue.url

    def blocking_program() -> None:
        with Client() as client:
            client.submit("greet_in_test", {"name": "a thread"})

    async with AsyncClient() as client:
        await client.submit("greet_in_test", {"name": "a coroutine"})
    await asyncio.to_thread(blocking_program)
    taskqueue.assert_submitted(greet_in_test, {"name": "a coroutine"})
    taskqueue.assert_submitted(greet_in_test, {"name": "a thread"})


async def test_an_action_submits_itself_to_it_with_its_types(taskqueue: Queue) -> None:
    task = await greet_in_test.options(delay=60).submit(name="you")
    taskqueue.advance(60)
    await taskqueue.drain()
    assert await task.result() == {"output": "hello you"}
    with pytest.raises(InvalidRequestError, match="name"):
        await taskqueue.submit(greet_in_test, name=5)  # type: ignore[arg-type]
    taskqueue.assert_submitted(greet_in_test, count=1)


async def test_a_submit_is_checked_as_the_api_does(taskqueue: Queue) -> None:
    with pytest.raises(InvalidRequestError, match="delay"):
        await taskqueue.submit("greet_in_test", delay=-1)
    taskqueue.assert_submitted(greet_in_test, count=0)


async def test_the_environment_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TASKQUEUE_MAX_ATTEMPTS", "7")
    monkeypatch.setenv("TASKQUEUE_PORT", "no port")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    for given, attempts in ({}, 3), ({"max_attempts": 2}, 2):
        folder = tmp_path / str(attempts)
        folder.mkdir()
        async with Queue.open(folder, **given) as queue:
            await queue.submit("later_in_test", {"after": 0, "times": 9})
            await queue.drain()
            assert len(queue.failures) == attempts


# What goes wrong


async def test_an_action_that_nobody_has_imported_fails(taskqueue: Queue) -> None:
    task = await taskqueue.submit("of another package")
    await taskqueue.drain()
    assert (await task.get()).status is Status.FAILED
    assert [failure.type for failure in taskqueue.failures] == ["UnknownAction"]


async def test_handlers_that_can_not_be_loaded_are_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(HandlersError, match=r"no\.such\.module"):
        async with Queue.open(tmp_path, handlers="no.such.module"):
            pytest.fail("it opened")


async def test_a_drain_that_takes_too_long_tells_what_is_left(taskqueue: Queue) -> None:
    @action
    async def endless() -> dict[str, Any]:
        await asyncio.sleep(DAY)
        return {}

    task = await taskqueue.submit("endless")
    await taskqueue.submit("greet_in_test", delay=DAY)
    with pytest.raises(TimeoutError, match=r"not final after 0\.2 s: endless \((queued|pending)\)$"):
        await taskqueue.drain(timeout=0.2)
    assert (await task.get()).failures == 0


async def test_a_handler_that_blocks_the_loop_ends_no_test(
    taskqueue: Queue, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("taskqueue_worker.heartbeat.GRACE", 0)

    @action
    async def block() -> dict[str, Any]:
        end = time.monotonic() + PATIENCE
        while "blocked the event loop" not in caplog.text and time.monotonic() < end:
            time.sleep(0.01)  # noqa: ASYNC251  # on purpose
        return {"found": "blocked the event loop" in caplog.text}

    task = await taskqueue.submit("block", timeout=0.01)
    await taskqueue.drain()
    assert await task.result() == {"found": True}


async def test_a_worker_that_can_not_go_on_ends_the_drain(taskqueue: Queue) -> None:
    let_go = threading.Event()

    @action
    def deaf() -> dict[str, Any]:
        let_go.wait(PATIENCE)
        return {}

    await taskqueue.submit("deaf", timeout=0.01)
    await taskqueue.submit("greet_in_test", {"name": "nobody, with one consumer"})
    try:
        with pytest.raises(FatalError, match="ignores its timeout") as raised:
            await taskqueue.drain(timeout=PATIENCE)
        assert raised.value.__context__ is None, "it was told when the time was over"
    finally:
        let_go.set()
