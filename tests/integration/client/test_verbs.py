"""Each verb of the client, against a real API."""

import asyncio
import json
import threading
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import UUID

import pytest
from tests.conformance.waiting import eventually
from tests.integration import actions
from tests.integration.system import System

from taskqueue.client import (
    AsyncClient,
    BatchError,
    Client,
    ConflictError,
    InvalidRequestError,
    NotFoundError,
    TaskCancelledError,
    TaskFailedError,
    TooLargeError,
    WaitTimeoutError,
)
from taskqueue.client.batches import cut
from taskqueue.contract.requests import SubmitBody
from taskqueue.task import Status

MISSING = "01a2043a-b7c0-71dd-b05f-f2d70b6d4bd4"


async def test_a_task_is_submitted_and_its_result_read(system: System, client: AsyncClient) -> None:
    async with system.worker():
        handle = await client.submit("uppercase", {"text": "hello"})
        assert handle.status is Status.QUEUED
        assert await handle.result(timeout=20) == {"output": "HELLO"}
        assert handle.status is Status.COMPLETED
        assert (await handle.get()).attempts[0].number == 1


async def test_all_that_can_be_said_of_a_task_is_sent(client: AsyncClient) -> None:
    day = datetime(2100, 1, 2, tzinfo=UTC)
    handle = await client.submit(
        "mail", {"to": "x"}, run_at=day, priority="low", max_attempts=7, timeout=timedelta(minutes=2), tags={"a"}
    )
    task = await handle.get()
    assert (task.action, task.payload.data) == ("mail", {"to": "x"})
    assert (task.run_at, task.priority, task.max_attempts) == (day.timestamp(), "low", 7)
    assert (task.timeout, task.tags) == (120, ["a"])


async def test_a_delay_is_a_span_or_seconds(client: AsyncClient) -> None:
    for delay in (3600, timedelta(hours=1)):
        task = await (await client.submit("mail", delay=delay)).get()
        assert round(task.run_at - task.created_at) == 3600


async def test_a_time_without_a_zone_is_refused(client: AsyncClient) -> None:
    with pytest.raises(ValueError, match="no zone"):
        await client.submit("mail", run_at=datetime(2100, 1, 2))  # noqa: DTZ001


async def test_data_is_what_pydantic_makes_json_of(client: AsyncClient) -> None:
    given = {"id": UUID(MISSING), "price": Decimal("1.50"), "at": datetime(2100, 1, 2, tzinfo=UTC), "more": {1}}
    task = await (await client.submit("mail", given)).get()
    assert task.payload.data == {"id": MISSING, "price": "1.50", "at": "2100-01-02T00:00:00Z", "more": [1]}


async def test_what_json_cannot_hold_is_refused_before_it_is_sent(system: System, client: AsyncClient) -> None:
    for value in (float("nan"), "\ud800"):
        with pytest.raises(ValueError, match=r".") as caught:
            await client.submit("mail", {"x": value})
        assert not isinstance(caught.value, InvalidRequestError)
    assert await system.count() == 0


async def test_a_key_of_ones_own_is_accepted_once(client: AsyncClient) -> None:
    first = await client.submit("mail", key="order-7")
    assert (await client.submit("mail", key="order-7")).id == first.id
    with pytest.raises(ConflictError, match="used for another request"):
        await client.submit("other", key="order-7")


async def test_each_submit_has_a_key_of_its_own(client: AsyncClient) -> None:
    assert (await client.submit("mail")).id != (await client.submit("mail")).id


async def test_a_submit_can_wait_for_the_result(system: System, client: AsyncClient) -> None:
    async with system.worker():
        handle = await client.submit("sum", {"numbers": [1, 2]}, wait=20)
        assert handle.status is Status.COMPLETED
    # It is known already: nobody has to be asked.
    assert await handle.result(timeout=0) == {"output": 3}


async def test_a_submit_whose_wait_is_over_gives_a_handle_all_the_same(client: AsyncClient) -> None:
    assert (await client.submit("sum", wait=0.1)).status is Status.QUEUED


async def test_waiting_ends_when_its_time_is_over(client: AsyncClient) -> None:
    handle = await client.submit("sum", delay=1000)
    with pytest.raises(WaitTimeoutError, match="still pending") as caught:
        await handle.wait(timeout=0.05)
    assert caught.value.task.id == handle.id
    assert isinstance(caught.value, TimeoutError)


async def test_a_failed_tasks_result_is_its_error(system: System, client: AsyncClient) -> None:
    async with system.worker():
        handle = await client.submit("refuse")
        with pytest.raises(TaskFailedError, match="Reject: no such customer") as caught:
            await handle.result(timeout=20)
    assert caught.value.error is not None
    assert caught.value.error.type == "Reject"
    assert caught.value.task.status is Status.FAILED


async def test_a_cancelled_task_has_no_result(client: AsyncClient) -> None:
    handle = await client.submit("mail", delay=1000)
    assert (await handle.cancel()).status is Status.CANCELLED
    with pytest.raises(TaskCancelledError):
        await handle.result(timeout=20)


async def test_what_is_wrong_is_told_by_path(client: AsyncClient) -> None:
    with pytest.raises(InvalidRequestError, match="action required") as caught:
        await client.submit("", tags=[""])
    assert [detail.path for detail in caught.value.details] == ["action", "tags.0"]
    assert caught.value.status == 400
    assert caught.value.request_id


async def test_data_that_does_not_fit_an_action_that_is_known_is_told_by_path(
    system: System, client: AsyncClient
) -> None:
    refused: list[InvalidRequestError] = []

    async def refuses() -> bool:  # once the API knows what the worker has told
        try:
            await client.submit("sum", {"numbers": "many"})
        except InvalidRequestError as error:
            refused.append(error)
        return bool(refused)

    async with system.worker():
        await eventually(refuses)
    [error] = refused
    assert error.status == 422
    assert [detail.path for detail in error.details] == ["data.numbers"]
    assert "data.numbers" in str(error)


async def test_a_task_that_there_is_not_is_told(client: AsyncClient) -> None:
    for asked in (client.get(MISSING), client.wait(MISSING), client.cancel(MISSING), client.delete("../x?/y")):
        with pytest.raises(NotFoundError, match="no task has the id"):
            await asked
    with pytest.raises(NotFoundError):
        await anext(client.watch(MISSING))


async def test_a_status_that_does_not_allow_it_is_told(client: AsyncClient) -> None:
    handle = await client.submit("mail", delay=1000)
    with pytest.raises(ConflictError) as caught:
        await client.retry(handle.id)
    assert caught.value.task_status is Status.PENDING


async def test_a_task_is_retried_and_deleted(client: AsyncClient) -> None:
    id = (await client.submit("mail", delay=1000)).id
    await client.cancel(id)
    assert (await client.retry(id)).status is Status.PENDING
    await client.cancel(id)
    await client.delete(id)
    with pytest.raises(NotFoundError):
        await client.get(id)


async def test_finding_turns_the_pages(client: AsyncClient) -> None:
    ids = [(await client.submit("mail", tags=["a"])).id for _ in range(5)]
    await client.submit("other", tags=["a"])
    found = [task.id async for task in client.find(page=2, action="mail", tag="a", status=["queued", "running"])]
    assert found == ids[::-1]
    assert [task.id async for task in client.find(status="failed")] == []
    hour_ago = datetime.now(UTC) - timedelta(hours=1)
    assert [task.action async for task in client.find(created_after=hour_ago)] == ["other", *["mail"] * 5]
    assert [task async for task in client.find(created_before=hour_ago)] == []


async def test_the_tasks_that_a_task_submitted_are_told_and_found(system: System, client: AsyncClient) -> None:
    async with system.worker():
        parent = await (await client.submit("spread", {"names": ["a", "b"]})).wait(20)
    assert parent.parent is None
    found = [task async for task in client.find(parent=parent.id)]
    assert [task.id for task in found] == parent.children[::-1]
    assert {task.parent for task in found} == {parent.id}


async def test_many_are_acted_on_at_once(client: AsyncClient) -> None:
    for _ in range(3):
        await client.submit("mail", delay=1000, tags=["a"])
    assert await counts(client, "cancel_all", tag="a", dry_run=True) == (3, True)
    assert await counts(client, "cancel_all", tag="a") == (3, False)
    assert await counts(client, "retry_all", status="cancelled") == (3, False)
    assert await counts(client, "cancel_all", action="mail") == (3, False)
    assert await counts(client, "delete_all", status=["cancelled", "failed"]) == (3, False)
    with pytest.raises(InvalidRequestError, match="name at least one"):
        await client.delete_all()


async def counts(client: AsyncClient, verb: str, **wanted: object) -> tuple[int, bool]:
    answer = await getattr(client, verb)(**wanted)
    return answer.count, answer.dry_run


async def test_what_goes_on_is_told(system: System, client: AsyncClient) -> None:
    async with system.worker():
        await client.submit("uppercase", {"text": "x"}, wait=20)
        assert await client.tags("x", limit=5) == []
        assert await client.errors(action="uppercase", created_after=5) == []
        assert (await client.overview("24h")).tasks[Status.COMPLETED] == 1
        assert (await client.stats(minutes=1)).tasks[Status.COMPLETED] == 1
        [worker] = await client.workers()
        assert worker.running == []
        assert "uppercase" in {action.name for action in await client.actions()}


async def test_many_are_submitted_in_batches(client: AsyncClient) -> None:
    given = [{"action": "mail", "data": {"n": n}, "delay": 1000} for n in range(2001)]
    handles = [handle async for handle in client.submit_many(given)]
    assert len({handle.id for handle in handles}) == 2001
    for n in (0, 999, 1000, 2000):
        assert (await handles[n].get()).payload.data == {"n": n}


async def test_what_is_submitted_may_come_as_it_is_made(client: AsyncClient) -> None:
    async def made() -> AsyncIterator[SubmitBody]:
        for n in range(3):
            yield SubmitBody(action="mail", data={"n": n}, delay=1000)

    handles = [handle async for handle in client.submit_many(made())]
    assert [(await handle.get()).payload.data["n"] for handle in handles] == [0, 1, 2]
    assert [handle async for handle in client.submit_many([])] == []


async def test_the_task_that_is_wrong_among_many_is_named(system: System, client: AsyncClient) -> None:
    given = [{"action": "mail"} for _ in range(1500)]
    given[1200] = {"acton": "mail"}
    accepted = 0
    with pytest.raises(
        BatchError, match=r"the 1000 tasks before are accepted, those from 1000 to 1499 were not"
    ) as e:
        async for _ in client.submit_many(given):
            accepted += 1
    assert (e.value.accepted, e.value.batch, e.value.index) == (accepted, range(1000, 1500), 1200)
    assert not e.value.unknown
    assert isinstance(e.value.__cause__, InvalidRequestError)
    assert (await client.stats()).tasks[Status.QUEUED] == 1000


async def test_many_tasks_are_checked_without_submitting_any(client: AsyncClient) -> None:
    given = [{"action": "mail"} for _ in range(1500)]
    assert await client.check_many(given) == 1500
    given[1200] = {"acton": "mail"}
    with pytest.raises(BatchError, match=r"200\.acton' .*; nothing was submitted") as caught:
        await client.check_many(given)
    error = caught.value
    assert (error.dry_run, error.accepted, error.index, error.unknown) == (True, 0, 1200, False)
    with pytest.raises(BatchError) as caught:
        await client.check_many([{"action": "mail"}, {"action": "mail", "data": {"x": "x" * 5_000_000}}])
    assert (caught.value.dry_run, caught.value.index) == (True, 1)
    assert (await client.stats()).tasks[Status.QUEUED] == 0


async def test_a_batch_has_so_many_bytes_at_most() -> None:
    given = [{"action": "mail", "data": {"text": "x" * 1_500_000}} for _ in range(5)]
    batches = [batch async for batch in cut(given)]
    assert [list(batch.places) for batch in batches] == [[0, 1], [2, 3], [4]]
    assert [json.loads(line) for batch in batches for line in batch.lines] == given


async def test_a_batch_that_is_too_large_is_sent_in_parts(client: AsyncClient) -> None:
    # More values than one request may have, in few bytes.
    given = [{"action": "mail", "data": {"n": n, "x": [0] * 1000}, "delay": 1000} for n in range(400)]
    handles = [handle async for handle in client.submit_many(given)]
    assert [(await handles[n].get()).payload.data["n"] for n in (0, 199, 200, 399)] == [0, 199, 200, 399]


async def test_a_task_that_is_too_large_is_named(client: AsyncClient) -> None:
    given = [{"action": "mail"}, {"action": "mail", "data": {"x": "x" * 5_000_000}}]
    handles = []
    with pytest.raises(BatchError) as caught:
        async for handle in client.submit_many(given):
            handles.append(handle)  # noqa: PERF401  # it ends with an error
    assert isinstance(caught.value.__cause__, TooLargeError)
    assert (len(handles), caught.value.accepted, caught.value.index) == (1, 1, 1)


async def test_a_task_is_watched_to_its_end(system: System, client: AsyncClient) -> None:
    async with system.worker():
        handle = await client.submit("hold", {"name": "gate"})
        seen = []
        async for event in handle.watch():
            assert event.data is not None
            seen.append(event.data.status)
            if event.data.status is Status.RUNNING:
                actions.let_go("gate")
    assert seen[-2:] == [Status.RUNNING, Status.COMPLETED]
    # All of it has been seen: there is nothing more to come.
    assert [event async for event in client.watch(handle.id, after=event.id)] == []


async def test_all_tasks_are_watched_by_a_filter(client: AsyncClient) -> None:
    first = await client.submit("mail", tags=["a"], delay=1000)
    events = client.watch_all(tag="a", status="cancelled", after="0")
    await first.cancel()
    async with asyncio.timeout(20):
        event = await anext(events)
    assert event.data is not None
    assert (event.data.id, event.data.status) == (first.id, Status.CANCELLED)
    await events.aclose()


async def test_a_program_without_a_loop_does_the_same(system: System, url: str) -> None:
    seen = []

    def program() -> None:
        with Client(url) as client:
            handle = client.submit("uppercase", {"text": "hello"})
            seen.append(handle.result(timeout=20))
            seen.append([event.data.status for event in handle.watch() if event.data])
            seen.append(len(list(client.submit_many({"action": "mail", "delay": 1000} for _ in range(3)))))
            seen.append(client.check_many([{"action": "mail"}]))
            seen.append([task.action for task in client.find(page=2)])
            seen.append(client.cancel_all(action="mail").count)
            seen.append(client.get(handle.id).status)
            with pytest.raises(NotFoundError):
                client.wait(MISSING)
            later = client.submit("mail", delay=1000)
            later.cancel()
            with pytest.raises(TaskCancelledError):
                later.result()
            seen.append((later.get().status, later.status))
            events = client.watch_all(after="0")
            seen.append(next(events).kind)

    async with system.worker():
        await asyncio.to_thread(program)
    assert seen == [
        {"output": "HELLO"},
        [Status.COMPLETED],
        3,
        1,
        ["mail", "mail", "mail", "uppercase"],
        3,
        Status.COMPLETED,
        (Status.CANCELLED, Status.CANCELLED),
        "status",
    ]


async def test_a_program_without_a_loop_can_be_one_with_a_loop(system: System, url: str) -> None:
    """A notebook's cells run on a loop: the blocking client needs none, and minds none."""
    done = threading.Event()
    thread = threading.Thread(target=lambda: (asyncio.run(_blocks(url)), done.set()))
    thread.start()
    await asyncio.to_thread(done.wait, 20)
    thread.join()
    assert await system.count() == 1


async def _blocks(url: str) -> None:
    with Client(url) as client:
        id = client.submit("mail").id
        assert [task.id for task in client.find()] == [id]
