"""What the client does where connections break, and answers don't come, or are none of ours."""

import asyncio
import json
import socket
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest
from tests.conformance.waiting import PATIENCE
from tests.integration.client.hostile import Behaviour, Hostile, Request, drops, is_silent, passes_on, says
from tests.integration.system import System

from taskqueue.client import (
    AnswerLostError,
    AsyncClient,
    BatchError,
    Client,
    ConflictError,
    ConnectionFailedError,
    NotFoundError,
    NotTaskqueueError,
    RefusedError,
    TaskqueueError,
    UnavailableError,
)
from taskqueue.task import Status
from taskqueue_api.openapi.examples import WHOLE_TASK

ID = "01a2043a-b7c0-71dd-b05f-f2d70b6d4bd4"
ACCEPTED = {"id": ID, "status": "queued"}
BUSY = says(503, {"error": "database unavailable"}, Retry_After="0")
HTML = b"<html><body>It works!</body></html>"


def event(id: int, status: str) -> bytes:
    data = {"id": ID, "action": "x", "tags": [], "status": status, "attempt": 1, "at": 1.5, "progress": None}
    return f"event: status\nid: {id}\ndata: {json.dumps(data)}\n\n".encode()


def stream(*events: bytes) -> Behaviour:
    return says(200, b"".join(events), "text/event-stream")


def impatient(server: Hostile) -> AsyncClient:
    """A client that tries only once."""
    return AsyncClient(server.url, retry_for=0)


async def test_a_lost_answer_is_asked_for_again_and_the_task_accepted_once(system: System, url: str) -> None:
    async with (
        Hostile.listening(passes_on(url, but_drops=True), passes_on(url)) as server,
        AsyncClient(server.url) as client,
    ):
        handle = await client.submit("mail")
    assert len(server.requests) == 2
    assert await system.count() == 1
    assert (await system.task(handle.id))["status"] == "queued"


async def test_a_program_without_a_loop_gets_its_answer_too(system: System, url: str) -> None:
    def submit(server: Hostile) -> str:
        with Client(server.url) as client:
            return client.submit("mail").id

    async with Hostile.listening(passes_on(url, but_drops=True), BUSY, passes_on(url)) as server:
        id = await asyncio.to_thread(submit, server)
    assert await system.count() == 1
    assert (await system.task(id))["status"] == "queued"


async def test_it_waits_for_an_api_that_is_not_there_yet(system: System, url: str) -> None:
    bound = socket.socket()
    bound.bind(("127.0.0.1", 0))
    server = Hostile([passes_on(url)], bound)
    async with AsyncClient(server.url) as client:
        with pytest.raises(ConnectionFailedError, match=f"{server.url}/tasks doesn't answer"):
            async with impatient(server) as once:
                await once.submit("mail")
        submitting = asyncio.create_task(client.submit("mail"))
        async with server.listen():
            await submitting
    assert await system.count() == 1


async def test_what_could_not_be_sent_is_not_in_doubt() -> None:
    bound = socket.socket()
    bound.bind(("127.0.0.1", 0))
    async with impatient(Hostile([], bound)) as client:
        for asked in (client.submit("mail"), client.retry(ID), client.stats()):
            with pytest.raises(ConnectionFailedError) as caught:
                await asked
            assert not isinstance(caught.value, AnswerLostError)
    bound.close()


@pytest.mark.parametrize(
    "trouble",
    [
        BUSY,
        says(503, b"<html>", "text/html"),
        says(429, {"error": "slowly"}, Retry_After="0"),
        says(502, b"<html>", "text/html"),
        says(504, b""),
        drops,
        says(200, ACCEPTED, cut=3),
    ],
    ids=["503", "503 of a proxy", "429", "502", "504", "dropped", "cut"],
)
async def test_what_may_pass_is_tried_again(trouble: Behaviour) -> None:
    async with (
        Hostile.listening(trouble, trouble, says(202, ACCEPTED)) as server,
        AsyncClient(server.url) as client,
    ):
        assert (await client.submit("mail", {"text": "x"})).id == ID
    assert len(server.requests) == 3
    assert len({(request.headers["idempotency-key"], request.body) for request in server.requests}) == 1


async def test_an_api_that_stays_busy_is_told() -> None:
    async with Hostile.listening(BUSY) as server, impatient(server) as client:
        for asked in (client.submit("mail"), client.get(ID)):
            with pytest.raises(UnavailableError, match="database unavailable") as caught:
                await asked
            assert (caught.value.status, caught.value.retry_after) == (503, 0)


async def test_it_waits_as_long_as_the_api_asks_for() -> None:
    later = says(503, {"error": "too many tasks waiting"}, Retry_After="100")
    async with Hostile.listening(later) as server, AsyncClient(server.url, retry_for=90) as client:
        with pytest.raises(UnavailableError):  # at once: by then its time would be over
            await client.submit("mail")
    assert len(server.requests) == 1


async def test_what_may_have_been_accepted_is_told_with_the_key_to_ask_again(system: System, url: str) -> None:
    async with Hostile.listening(passes_on(url, but_drops=True)) as server, impatient(server) as client:
        with pytest.raises(AnswerLostError, match="not known") as caught:
            await client.submit("mail")
    async with AsyncClient(url) as client:
        await client.submit("mail", key=caught.value.key)
    assert await system.count() == 1


async def test_a_refusal_after_a_lost_answer_does_not_say_that_nothing_was_accepted() -> None:
    # The key is remembered, but the API can't look it up now.
    again = says(503, {"error": "failed to queue task"}, Retry_After="1000")
    async with Hostile.listening(drops, again) as server, AsyncClient(server.url, retry_for=30) as client:
        with pytest.raises(AnswerLostError):
            await client.submit("mail")
    assert len(server.requests) == 2


async def test_a_read_without_an_answer_leaves_nothing_in_doubt() -> None:
    async with Hostile.listening(drops) as server, impatient(server) as client:
        with pytest.raises(ConnectionFailedError) as caught:
            await client.get(ID)
    assert not isinstance(caught.value, AnswerLostError)


async def test_an_answer_that_does_not_come_is_not_waited_for_without_end() -> None:
    async with (
        Hostile.listening(is_silent) as server,
        AsyncClient(server.url, timeout=0.05, retry_for=0) as client,
    ):
        with pytest.raises(ConnectionFailedError, match="ReadTimeout"):
            await client.stats()
        with pytest.raises(AnswerLostError):
            await client.submit("mail")


def retries(client: AsyncClient) -> Awaitable[Any]:
    return client.retry(ID)


def acts_on_all(client: AsyncClient) -> Awaitable[Any]:
    return client.retry_all(status="failed")


@pytest.mark.parametrize("act", [retries, acts_on_all])
@pytest.mark.parametrize("loss", [drops, says(502, b""), says(200, b"{", cut=1)], ids=["dropped", "502", "cut"])
async def test_what_is_not_safe_to_be_sent_twice_is_sent_once(
    act: Callable[[AsyncClient], Awaitable[Any]], loss: Behaviour
) -> None:
    async with Hostile.listening(loss) as server, AsyncClient(server.url) as client:
        with pytest.raises(AnswerLostError, match="not known"):
            await act(client)
    assert len(server.requests) == 1


async def test_a_retry_that_was_refused_for_now_is_asked_for_again() -> None:
    async with Hostile.listening(BUSY, says(202, ACCEPTED)) as server, AsyncClient(server.url) as client:
        assert (await client.retry(ID)).id == ID


async def test_of_many_some_of_which_may_be_done_no_count_is_told_that_is_not_true() -> None:
    async with (
        Hostile.listening(BUSY, BUSY, says(200, {"count": 3, "dry_run": True})) as server,
        AsyncClient(server.url) as client,
    ):
        with pytest.raises(UnavailableError):
            await client.delete_all(tag="a")
        assert len(server.requests) == 1
        assert (await client.delete_all(tag="a", dry_run=True)).count == 3


async def test_what_an_earlier_try_did_is_no_error() -> None:
    gone = says(404, {"error": "no task has the id"})
    cancelled = says(409, {"error": "the task is already cancelled", "status": "cancelled"})
    async with Hostile.listening(drops, gone, drops, cancelled) as server, AsyncClient(server.url) as client:
        await client.delete(ID)
        assert (await client.cancel(ID)).status is Status.CANCELLED
    async with Hostile.listening(gone, cancelled) as server, AsyncClient(server.url) as client:
        with pytest.raises(NotFoundError):
            await client.delete(ID)
        with pytest.raises(ConflictError):
            await client.cancel(ID)


async def test_a_batch_in_doubt_is_told_as_such_and_those_before_it_as_accepted(system: System, url: str) -> None:
    given = [{"action": "mail", "delay": 1000}] * 1500
    handles = []
    async with (
        Hostile.listening(passes_on(url), passes_on(url, but_drops=True), drops) as server,
        AsyncClient(server.url, retry_for=0) as client,
    ):
        with pytest.raises(BatchError, match="1000 to 1499 may have been accepted or not") as caught:
            async for handle in client.submit_many(given):
                handles.append(handle)  # noqa: PERF401  # it ends with an error
    error = caught.value
    assert error.unknown
    assert len(handles) == error.accepted == 1000
    assert error.batch == range(1000, 1500)
    assert (await system.get("/stats")).body["tasks"]["pending"] == 1500


async def test_a_batch_whose_answer_was_lost_is_accepted_once(system: System, url: str) -> None:
    async with (
        Hostile.listening(passes_on(url, but_drops=True), passes_on(url)) as server,
        AsyncClient(server.url) as client,
    ):
        handles = [handle async for handle in client.submit_many([{"action": "mail"}] * 3)]
    assert {handle.id for handle in handles} == {task["id"] for task in (await system.get("/tasks")).body["tasks"]}


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (says(200, HTML, "text/html"), "answered 200 with text/html: no taskqueue is there"),
        (says(404, HTML, "text/html"), "answered 404 with text/html: no taskqueue is there"),
        (says(404, {"message": "not found"}), "answered 404 with application/json: no taskqueue is there"),
        (says(301, HTML, "text/html", Location="https://example.com/"), "answered 301 with text/html"),
        (says(200, {"tasks": 3}), "not what this version of the client knows"),
        (says(200, ["text"]), "not what this version of the client knows"),
    ],
    ids=["a page", "no page", "another API", "a redirect", "another version", "something else"],
)
async def test_who_is_no_taskqueue_is_told_so(answer: Behaviour, told: str) -> None:
    async with Hostile.listening(answer) as server, AsyncClient(server.url) as client:
        for asked in (client.get(ID), client.submit("mail"), anext(client.find())):
            with pytest.raises(NotTaskqueueError) as caught:
                await asked
            assert str(caught.value).startswith(server.url)
            assert (
                told in str(caught.value)
                or "text/event-stream" in str(caught.value)
                or "/events" in str(caught.value)
            )


@pytest.mark.parametrize("answer", [says(200, HTML, "text/html"), stream(b"data: it works\n\n")])
async def test_a_stream_that_is_none_of_ours_is_told(answer: Behaviour) -> None:
    async with Hostile.listening(answer) as server, AsyncClient(server.url) as client:
        with pytest.raises(NotTaskqueueError):
            await anext(client.watch_all())


async def test_members_of_a_later_version_do_no_harm() -> None:
    answer = says(202, ACCEPTED | {"estimate": 3})
    async with Hostile.listening(answer) as server, AsyncClient(server.url) as client:
        assert (await client.submit("mail")).id == ID


async def test_any_other_refusal_tells_its_status() -> None:
    async with Hostile.listening(says(403, {"error": "not you"})) as server, AsyncClient(server.url) as client:
        with pytest.raises(RefusedError, match=r"not you \(403\)"):
            await client.stats()
    assert len(server.requests) == 1


async def test_a_stream_that_breaks_goes_on_where_it_was() -> None:
    script = [
        stream(b": hello\n\n", event(3, "queued"), event(5, "running")[:-20]),  # cut in an event
        BUSY,
        stream(b": hello\n\n"),
        drops,
        stream(event(5, "running"), event(8, "completed"), event(9, "queued")),
    ]
    async with Hostile.listening(*script) as server, AsyncClient(server.url) as client:
        seen = [(event.id, event.data and event.data.status) async for event in client.watch(ID)]
    assert seen == [("3", Status.QUEUED), ("5", Status.RUNNING), ("8", Status.COMPLETED)]
    assert [request.headers.get("last-event-id") for request in server.requests] == [None, "3", "3", "3", "3"]


async def test_a_stream_that_breaks_after_long_has_all_the_time_to_come_back() -> None:
    script = [stream(event(3, "queued")), stream(event(5, "running")), stream(event(8, "completed"))]
    async with Hostile.listening(*script) as server, AsyncClient(server.url, retry_for=0.2) as client:
        server.lingers = 0.3
        assert [event.id async for event in client.watch(ID)] == ["3", "5", "8"]


async def test_a_stream_of_all_goes_on_too_and_tells_what_was_missed() -> None:
    script = [stream(event(3, "completed")), stream(b"event: reset\nid: 7\ndata: {}\n\n", event(8, "failed"))]
    async with Hostile.listening(*script) as server, AsyncClient(server.url) as client:
        events = client.watch_all(action="x")
        seen = [await anext(events) for _ in range(3)]
        await events.aclose()
    assert [(event.kind, event.id) for event in seen] == [("status", "3"), ("reset", "7"), ("status", "8")]
    assert {request.path for request in server.requests} == {"/events?action=x"}


async def test_a_stream_of_all_that_breaks_before_its_first_event_misses_none(
    system: System, url: str, client: AsyncClient
) -> None:
    async def breaks(request: Request) -> bytes:
        async with httpx.AsyncClient() as http, http.stream("GET", url + request.path) as real:
            told = real.headers["Last-Event-ID"]
        await client.submit("mail")  # which is told to nobody
        return await says(200, b"", "text/event-stream", Last_Event_ID=told)(request)

    async def follows(request: Request) -> bytes:
        async with (
            httpx.AsyncClient() as http,
            http.stream("GET", url + request.path, headers=request.headers) as real,
        ):
            return await says(200, await anext(real.aiter_bytes()), "text/event-stream")(request)

    await client.submit("mail")
    async with Hostile.listening(breaks, follows) as server, AsyncClient(server.url) as follower:
        events = follower.watch_all()
        async with asyncio.timeout(PATIENCE):
            event = await anext(events)
        await events.aclose()
    [newest, _] = (await system.get("/tasks")).body["tasks"]
    assert event.data is not None
    assert event.data.id == newest["id"]


async def test_a_stream_that_can_not_be_had_ends_with_an_error() -> None:
    async with Hostile.listening(BUSY) as server, impatient(server) as client:
        with pytest.raises(UnavailableError):
            await anext(client.watch(ID))
    async with Hostile.listening(stream(event(3, "queued")), drops) as server, impatient(server) as client:
        events = client.watch(ID)
        assert (await anext(events)).id == "3"
        with pytest.raises(ConnectionFailedError):
            await anext(events)


async def test_a_task_that_the_client_knows_to_be_final_has_no_more_events() -> None:
    async with (
        Hostile.listening(stream(event(3, "queued")), says(204)) as server,
        AsyncClient(server.url) as client,
    ):
        assert len([event async for event in client.watch(ID)]) == 1


async def test_a_program_without_a_loop_follows_a_stream_that_breaks() -> None:
    def watch(server: Hostile) -> list[str]:
        with Client(server.url) as client:
            return [event.id for event in client.watch(ID)]

    script = [stream(event(3, "queued"), event(5, "running")[:-20]), drops, stream(event(8, "completed"))]
    async with Hostile.listening(*script) as server:
        assert await asyncio.to_thread(watch, server) == ["3", "8"]


async def test_a_password_in_the_address_is_sent_and_not_told() -> None:
    async with Hostile.listening(says(200, HTML, "text/html"), drops) as server:
        url = server.url.replace("//", "//me:secret@")
        async with AsyncClient(url, retry_for=0) as client:
            for _ in range(2):
                with pytest.raises(TaskqueueError, match="/stats") as caught:
                    await client.stats()
                assert "secret" not in str(caught.value)
    assert server.requests[0].headers["authorization"].startswith("Basic ")


async def test_a_request_that_fails_late_has_all_the_time_to_be_sent_again() -> None:
    async with Hostile.listening(says(202, ACCEPTED, cut=3), says(202, ACCEPTED)) as server:
        server.lingers = 0.3
        async with AsyncClient(server.url, retry_for=0.2) as client:
            assert (await client.submit("mail")).id == ID


async def test_a_wait_for_an_api_that_is_gone_ends_when_its_time_is_over() -> None:
    async with Hostile.listening(drops) as server, AsyncClient(server.url, retry_for=1000) as client:
        with pytest.raises(ConnectionFailedError):
            await client.wait(ID, timeout=0.3)


@pytest.mark.parametrize(
    "url",
    [
        "localhost:8080",
        "ftp://x",
        "http://",
        "/tasks",
        "http://me:s3cret@a:b",
        "http://me:s3cret@a/?x=1",
        "http://a/#x",
    ],
)
def test_an_address_that_is_none_is_told_at_once(url: str) -> None:
    with pytest.raises(ValueError, match=r"no URL") as raised:
        Client(url)
    assert "s3cret" not in str(raised.value)


async def test_the_address_is_that_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    async with Hostile.listening(says(202, ACCEPTED)) as server:
        monkeypatch.setenv("TASKQUEUE_URL", f"{server.url}/queue/")
        async with AsyncClient() as client:
            await client.submit("mail")
    [asked] = server.requests
    assert asked.path == "/queue/tasks"


async def test_a_clients_own_connection_is_used_and_left_open() -> None:
    async with (
        Hostile.listening(says(202, ACCEPTED)) as server,
        httpx.AsyncClient(headers={"Authorization": "Bearer x"}) as http,
    ):
        async with AsyncClient(server.url, http=http) as client:
            await client.submit("mail")
        assert not http.is_closed
    assert server.requests[0].headers["authorization"] == "Bearer x"


async def test_a_wait_outlasts_an_api_that_is_gone_for_a_moment() -> None:
    waits: list[str | None] = []

    async def answers(request: Request) -> bytes | None:
        waits.append(request.headers.get("prefer"))
        running = {"status": "running", "result": None, "processed_at": None}
        return await says(200, WHOLE_TASK | (running if len(waits) == 1 else {}))(request)

    async with Hostile.listening(answers, drops, answers) as server, AsyncClient(server.url) as client:
        assert (await client.wait(ID)).status is Status.COMPLETED
    assert waits == ["wait=25", "wait=25"]
