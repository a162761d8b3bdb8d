"""What an attempt submits: told with its completion, and with nothing else."""

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskqueue import Reject, Snooze, TaskContext, action
from taskqueue.actions import registry
from taskqueue.contract.limits import MAX_BATCH, MAX_DEPTH
from taskqueue.message import Message, data_of, encode, redated
from taskqueue.settings import Settings
from taskqueue.task import Claim, NewTask, Outcome
from taskqueue_worker import execute
from taskqueue_worker.execute import Ending, Run
from taskqueue_worker.submissions import Submissions, accepted_at

PATIENCE = 20
NOW = 1_700_000_000_000

CLAIM = Claim(
    seq=1,
    id="parent",
    attempt=1,
    worker="worker",
    action="act",
    payload=encode(Message("parent", "act", {}, 0)),
    failures=0,
    max_attempts=3,
    timeout=None,
    started_at=NOW,
    request_id="the request",
)


@pytest.fixture(autouse=True)
def empty_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "ACTIONS", {})


@pytest.fixture
def let_go() -> Iterator[threading.Event]:
    event = threading.Event()
    yield event
    event.set()


async def ending_of(run: Run) -> Ending:
    async with asyncio.timeout(PATIENCE):
        return await run.ending()


async def acted(handler: Callable[[TaskContext], Any], **settings: Any) -> Ending:
    """How an attempt ends whose `async def` handler does this."""

    @action("act")
    async def act(task: TaskContext) -> Any:
        return handler(task)

    chosen = Settings(**settings)
    return await ending_of(Run(CLAIM, chosen, submissions=Submissions(CLAIM, chosen, lambda: NOW)))


async def submitted(handler: Callable[[TaskContext], Any], **settings: Any) -> tuple[NewTask, ...]:
    ending = await acted(handler, **settings)
    assert ending.outcome is Outcome.OK, ending.error
    return ending.submitted


async def error_of(handler: Callable[[TaskContext], Any], **settings: Any) -> str:
    """The error of an attempt that submits nothing."""
    ending = await acted(handler, **settings)
    assert ending.submitted == ()
    assert ending.error is not None
    error = json.loads(ending.error)
    return f"{error['type']}: {error['message']}"


async def test_what_a_handler_submits_is_told_with_its_completion() -> None:
    ids = []

    def handler(task: TaskContext) -> None:
        ids.append(task.submit("resize", {"path": "a.png"}, delay=60, priority="high", tags=["x"]).id)
        ids.append(task.submit("tidy", max_attempts=2, timeout=timedelta(seconds=5), run_at=NOW / 1000 + 1).id)

    first, second = await submitted(handler)
    assert [first.id, second.id] == ids
    assert first == NewTask(
        id=ids[0],
        action="resize",
        payload=encode(Message(ids[0], "resize", {"path": "a.png"}, NOW / 1000)),
        created_at=NOW,
        run_at=NOW + 60_000,
        priority=8,
        max_attempts=None,
        timeout=None,
        tags=("x",),
        request_id="the request",
        parent="parent",
    )
    assert (second.action, second.max_attempts, second.timeout) == ("tidy", 2, 5000)
    assert (second.run_at, second.priority, data_of(second.payload)) == (NOW + 1000, 4, "{}")


async def test_a_task_is_submitted_with_types_as_a_client_does() -> None:
    @action(priority="low", max_attempts=7)
    def resize(path: str, width: int = 100) -> None: ...

    def handler(task: TaskContext) -> None:
        task.submit(resize, "a.png", width=3)
        task.submit(resize.options(priority="high", delay=1), path="b.png")

    first, second = await submitted(handler)
    assert (first.action, data_of(first.payload)) == ("resize", '{"path":"a.png","width":3}')
    assert (second.action, data_of(second.payload)) == ("resize", '{"path":"b.png"}')
    assert [first.priority, second.priority] == [0, 8], "as its action says, where nothing else is said"
    assert second.run_at == NOW + 1000
    assert first.max_attempts is None, "its claim asks the action"


async def test_a_submission_may_be_awaited() -> None:
    @action("act")
    async def act(task: TaskContext) -> str:
        return (await task.submit("other")).id

    ending = await ending_of(Run(CLAIM, Settings()))
    assert [task.id for task in ending.submitted] == [json.loads(ending.result or "")]


async def test_a_thread_submits_as_well_and_so_does_what_it_starts() -> None:
    @action("act")
    def act(task: TaskContext) -> None:
        task.submit("mine")
        threads = [threading.Thread(target=task.submit, args=("theirs",)) for _ in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    ending = await ending_of(Run(CLAIM, Settings()))
    assert sorted(task.action for task in ending.submitted) == ["mine"] + ["theirs"] * 20
    assert len({task.id for task in ending.submitted}) == 21


async def test_data_is_taken_as_it_is_at_the_call() -> None:
    def handler(task: TaskContext) -> None:
        data = {"names": ["a"]}
        task.submit("other", data)
        data["names"].append("b")

    [task] = await submitted(handler)
    assert data_of(task.payload) == '{"names":["a"]}'


# Attempts that don't complete


@pytest.mark.parametrize("error", [RuntimeError("no"), Snooze(1), Reject("no"), SystemExit(1)])
async def test_an_attempt_that_raises_submits_nothing(error: BaseException) -> None:
    def handler(task: TaskContext) -> None:
        task.submit("other")
        raise error

    assert (await acted(handler)).submitted == ()


async def test_an_attempt_whose_result_is_none_of_json_submits_nothing() -> None:
    def handler(task: TaskContext) -> object:
        task.submit("other")
        return object()

    assert "InvalidResult" in await error_of(handler)


@pytest.mark.parametrize("outcome", [Outcome.TIMEOUT, Outcome.CANCELLED, Outcome.SHUTDOWN])
async def test_an_attempt_that_is_interrupted_submits_nothing(outcome: Outcome) -> None:
    @action("act")
    async def act(task: TaskContext) -> None:
        task.submit("other")
        asyncio.get_running_loop().call_soon(run.interrupt, outcome)
        await asyncio.sleep(PATIENCE)

    run = Run(CLAIM, Settings())
    ending = await ending_of(run)
    assert (ending.outcome, ending.submitted) == (outcome, ())


async def test_a_handler_that_goes_on_after_its_attempt_submits_nothing_and_is_told(
    let_go: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(execute, "GRACE", 0.01)
    errors: list[str] = []
    over = threading.Event()

    @action("act")
    def act(task: TaskContext) -> None:
        task.submit("early")
        loop.call_soon_threadsafe(run.interrupt, Outcome.TIMEOUT)
        let_go.wait(PATIENCE)
        try:
            task.submit("late")
        except RuntimeError as error:
            errors.append(str(error))
        over.set()

    loop = asyncio.get_running_loop()
    run = Run(CLAIM, Settings())
    assert (await ending_of(run)).submitted == ()
    let_go.set()
    assert await asyncio.to_thread(over.wait, PATIENCE)
    assert errors == ["the attempt is over: no task can be submitted with it"]


# What is refused


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"priority": "urgent"}, "priority"),
        ({"max_attempts": 0}, "max_attempts"),
        ({"delay": -1}, "delay"),
        ({"delay": 1, "run_at": 1}, "exclude each other"),
        ({"tags": ["x", "x"]}, "twice"),
        ({"key": "mine"}, "key"),
        ({"data": [1]}, "data"),
        ({"data": {"n": float("nan")}}, "ValueError"),
        ({"data": {"text": "\ud800"}}, "UnicodeEncodeError"),
        ({"data": {"it": object()}}, "PydanticSerializationError"),
        ({"data": {"deep": json.loads("[" * MAX_DEPTH + "]" * MAX_DEPTH)}}, "TooDeepError"),
    ],
)
async def test_a_task_that_the_api_would_refuse_fails_the_attempt(options: dict[str, Any], told: str) -> None:
    assert told in await error_of(lambda task: task.submit("other", **options) and None)


async def test_no_action_is_submitted_without_a_name() -> None:
    assert "action" in await error_of(lambda task: task.submit("") and None)


async def test_arguments_are_checked_by_the_action_that_is_registered() -> None:
    @action
    def resize(path: str, width: int) -> None: ...

    error = await error_of(lambda task: task.submit("resize", {"path": "a.png", "width": "wide"}) and None)
    assert error.startswith("ValidationError: 1 validation error for resize\nwidth\n")


async def test_parameters_are_checked_by_the_function() -> None:
    @action
    def resize(path: str) -> None: ...

    error = await error_of(lambda task: task.submit(resize, depth=3) and None)  # type: ignore[call-arg]
    assert error.startswith("TypeError: ")


async def test_a_task_submits_as_many_others_as_a_batch_has_and_no_more() -> None:
    def handler(task: TaskContext) -> None:
        for _ in range(MAX_BATCH):
            task.submit("other")
        with pytest.raises(ValueError, match=f"{MAX_BATCH} others at most"):
            task.submit("other")

    assert len(await submitted(handler)) == MAX_BATCH, "who catches the error completes with what was taken"


async def test_a_message_may_be_as_large_as_one_that_is_posted() -> None:
    error = await error_of(lambda task: task.submit("other", {"text": "x" * 500}) and None, max_task_bytes=500)
    assert "TASKQUEUE_MAX_TASK_BYTES is 500" in error


async def test_all_together_may_be_as_large_as_a_batch_that_is_posted() -> None:
    def handler(task: TaskContext) -> None:
        for _ in range(2):
            task.submit("other", {"text": "x" * 500})

    assert "1000 bytes at most (TASKQUEUE_MAX_BATCH_BYTES)" in await error_of(handler, max_batch_bytes=1000)


# When it is accepted


async def test_it_is_accepted_with_the_completion_and_due_then_at_the_earliest() -> None:
    def handler(task: TaskContext) -> None:
        task.submit("now", {"created_at": 1, "text": '},"created_at":2'})
        task.submit("later", delay=60)

    soon, later = [accepted_at(NOW + 5_001, task) for task in await submitted(handler)]
    assert (soon.created_at, soon.run_at) == (NOW + 5_001, NOW + 5_001)
    assert json.loads(soon.payload) == {
        "id": soon.id,
        "action": "now",
        "data": {"created_at": 1, "text": '},"created_at":2'},
        "created_at": (NOW + 5_001) / 1000,
    }
    assert (later.created_at, later.run_at) == (NOW + 5_001, NOW + 60_000), "a delay counts from the call"


NAMES = st.text(st.characters(exclude_categories=["Cs"]))


@given(NAMES, st.dictionaries(NAMES, NAMES), *[st.integers(0, 4_000_000_000_000).map(lambda ms: ms / 1000)] * 2)
def test_a_payload_made_at_another_time_is_the_one_that_would_have_been_made_then(
    name: str, data: dict[str, Any], first: float, second: float
) -> None:
    assert redated(encode(Message("id", name, data, first)), second) == encode(Message("id", name, data, second))
