"""Streams and waits of clients, for what another container does."""

import contextlib
import http.client
import json
import time
from concurrent.futures import ThreadPoolExecutor
from statistics import median

import pytest
from tests.stack.client import PATIENCE, Sent, Stream
from tests.stack.stack import Stack

pytestmark = pytest.mark.docker

#: Seconds within which a change is told, as a rule, and within which the API lets go of who waits when it stops.
SOON, PROMPTLY = 0.5, 10

HELLO = {"action": "uppercase", "data": {"text": "hello world"}}


def test_what_the_worker_does_is_seen_at_once_by_who_watches_a_task(stack: Stack) -> None:
    late = []
    for _ in range(7):
        id = stack.submit(**HELLO, delay=0.2)
        with Stream(stack.address, f"/tasks/{id}/events") as stream:
            sent = list(stream)
        # It may run before the API has told that it is queued.
        assert [event.change for event in sent if event.data["status"] != "queued"] == [
            (id, "pending"),
            (id, "running"),
            (id, "completed"),
        ]
        late += [event.arrived - event.data["at"] for event in sent[1:]]
    assert median(late) < SOON
    again = stack.request("GET", f"/tasks/{id}/events", Last_Event_ID=str(sent[-1].id))
    assert (again.status, again.body) == (204, None)


def test_a_stream_that_breaks_is_resumed_without_a_gap_or_a_repeat(stack: Stack, tag: str) -> None:
    path = f"/events?tag={tag}"

    def completed(stream: Stream, tasks: int) -> list[Sent]:
        """What is told until so many tasks more are completed."""
        sent: list[Sent] = []
        events = iter(stream)
        while sum(event.data["status"] == "completed" for event in sent) < tasks:
            sent.append(next(events))
        return sent

    ids = []
    with Stream(stack.address, path) as stream:
        ids += stack.submit_many([HELLO | {"tags": [tag]}] * 10)
        seen = completed(stream, 5)
    for _ in range(3):
        ids += stack.submit_many([HELLO | {"tags": [tag]}] * 10)
        stack.completed(ids[-5:])
        with Stream(stack.address, path, seen[-1].id) as stream:
            seen += completed(stream, 7)
    with Stream(stack.address, path, seen[-1].id) as stream:
        seen += completed(stream, len(ids) - 5 - 3 * 7)
    with Stream(stack.address, path, seen[0].id - 1) as stream:
        whole = completed(stream, len(ids))

    assert [(event.id, event.data) for event in seen] == [(event.id, event.data) for event in whole]
    assert [event.id for event in seen] == sorted({event.id for event in seen})
    for status in ("queued", "running", "completed"):
        assert sorted(event.data["id"] for event in seen if event.data["status"] == status) == sorted(ids)


def test_streams_and_waits_end_when_the_api_is_stopped(disturbed: Stack, tag: str) -> None:
    id = disturbed.submit(**HELLO, delay=3600, tags=[tag])
    address = disturbed.address
    with (
        ThreadPoolExecutor() as clients,
        Stream(address, f"/events?tag={tag}") as everything,
        Stream(address, f"/tasks/{id}/events") as one,
        contextlib.closing(http.client.HTTPConnection(address, timeout=PATIENCE)) as waiting,
    ):
        streams = [clients.submit(list, stream) for stream in (everything, one)]
        waiting.request("GET", f"/tasks/{id}", headers={"Prefer": "wait=60"})
        wait = clients.submit(waiting.getresponse)
        disturbed.task(id)  # is asked after the wait, and answered: that has begun
        began = time.monotonic()
        disturbed.shell("docker compose stop api")
        assert time.monotonic() - began < PROMPTLY
        assert [[event.change for event in stream.result()] for stream in streams] == [[], [(id, "pending")]]
        assert (wait.result().status, json.loads(wait.result().read())["status"]) == (200, "pending")

    state = disturbed.container("api").attrs["State"]
    assert (state["Status"], state["ExitCode"]) == ("exited", 0)
    disturbed.up()
    assert disturbed.request("POST", f"/tasks/{id}/cancel").status == 202
