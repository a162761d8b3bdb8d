"""The API as its clients use it: over HTTP, with the tasks run by another container."""

import gzip
import json
import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from tests.stack.load import Load
from tests.stack.stack import Stack, log_lines, until

pytestmark = pytest.mark.docker

HELLO = {"action": "uppercase", "data": {"text": "hello world"}}


def found(stack: Stack, tag: str, more: str = "") -> list[Any]:
    """The tasks with this tag, newest first."""
    return list(stack.request("GET", f"/tasks?limit=1000&tag={tag}{more}").body["tasks"])


def test_posts_with_one_idempotency_key_make_one_task(stack: Stack, tag: str) -> None:
    body = HELLO | {"tags": [tag]}

    def post(_: int = 0, body: dict[str, Any] = body) -> tuple[int, Any, str | None]:
        answer = stack.request("POST", "/tasks", body, Idempotency_Key=f'"{tag}"')
        return answer.status, answer.body, answer.headers["Idempotency-Replayed"]

    with ThreadPoolExecutor(20) as clients:
        answers = list(clients.map(post, range(20)))
    assert {status for status, *_ in answers} == {202}
    (id,) = {answer["id"] for _, answer, _ in answers}
    assert sorted(str(replayed) for *_, replayed in answers) == ["None", *["true"] * 19]

    stack.completed([id])
    assert post() == (202, {"id": id, "status": "queued"}, "true")
    assert post(body=body | {"priority": "high"})[0] == 422
    assert [task["id"] for task in found(stack, tag)] == [id]


def test_a_batch_as_ndjson_is_run_to_its_end_and_one_with_a_bad_task_is_not_stored(stack: Stack, tag: str) -> None:
    tasks: list[dict[str, Any]] = [
        {"action": "sum", "data": {"numbers": [number, 1]}, "tags": [tag]} for number in range(200)
    ]
    bad = stack.request("POST", "/tasks/batch", {"tasks": [*tasks[:100], {"tags": [tag]}, *tasks[100:]]})
    assert (bad.status, [detail["index"] for detail in bad.body["details"]]) == (400, [100])
    assert found(stack, tag) == []

    lines = "\n".join(map(json.dumps, tasks)).encode()
    answer = stack.request("POST", "/tasks/batch", lines, Content_Type="application/x-ndjson")
    assert (answer.status, answer.body["count"]) == (202, 200)
    until(lambda: len(found(stack, tag, "&status=completed")) == 200, "the batch to complete")
    done = {task["id"]: task["result"] for task in found(stack, tag)}
    assert [done[task["id"]] for task in answer.body["tasks"]] == [{"output": n + 1} for n in range(200)]


def test_a_thousand_tasks_are_accepted_cancelled_and_deleted_in_bulk(stack: Stack, tag: str) -> None:
    ids = stack.submit_many([HELLO | {"delay": 3600, "tags": [tag]}] * 1000)
    assert [task["id"] for task in found(stack, tag, "&status=pending")] == ids[::-1]

    def act(verb: str, **more: Any) -> int:
        answer = stack.request("POST", f"/tasks/{verb}", {"tag": tag} | more)
        assert answer.status == 200, answer
        return int(answer.body["count"])

    assert act("cancel", dry_run=True) == len(found(stack, tag, "&status=pending")) == 1000
    assert act("cancel") == len(found(stack, tag, "&status=cancelled")) == 1000
    assert (act("cancel"), act("delete", status=["failed"])) == (0, 0)
    assert act("delete") == 1000
    assert found(stack, tag) == []


def test_pages_show_each_task_once_while_others_are_added(stack: Stack, tag: str) -> None:
    given = stack.submit_many([HELLO | {"tags": [tag]}] * 30)
    stack.submit_many([HELLO | {"tags": [tag], "delay": 3600}] * 10)
    stack.completed(given)

    def pages(path: str) -> Iterator[list[str]]:
        while path:
            answer = stack.request("GET", path)
            yield [task["id"] for task in answer.body["tasks"]]
            link = re.fullmatch(r'<(.*)>; rel="next"', answer.headers.get("Link", ""))
            assert link[1].endswith(f"cursor={answer.body['next']}") if link else "next" not in answer.body
            path = link[1] if link else ""
            stack.completed([stack.submit(**HELLO, tags=[tag])])  # newer than all that is told

    with Load(stack) as load:
        told = list(pages(f"/tasks?tag={tag}&status=completed,failed&limit=7"))
    assert [len(page) for page in told] == [7, 7, 7, 7, 2]
    assert [id for page in told for id in page] == given[::-1]
    assert load.accepted
    assert not load.errors

    cursor = stack.request("GET", f"/tasks?tag={tag}&limit=7").body["next"]
    for other in (f"tag={tag}&cursor={cursor[:-1]}", f"tag={tag}&cursor=x{cursor}", f"cursor={cursor}"):
        assert stack.request("GET", f"/tasks?{other}").status == 400
    stack.request("POST", "/tasks/cancel", {"tag": tag})
    stack.completed(load.accepted)


def test_a_wait_is_answered_when_the_worker_has_the_result_or_when_it_is_over(stack: Stack) -> None:
    posted = stack.request("POST", "/tasks", HELLO, Prefer="wait=30")
    assert (posted.status, posted.headers["Preference-Applied"]) == (200, "wait=30")
    assert (posted.body["status"], posted.body["result"]) == ("completed", {"output": "HELLO WORLD"})
    assert posted.body["attempts"][0]["outcome"] == "ok"
    stack.worker_container(posted.body["attempts"][0]["worker"])

    id = stack.submit(**HELLO, delay=0.5)
    got = stack.request("GET", f"/tasks/{id}", Prefer="wait=30")
    assert (got.status, got.body["status"]) == (200, "completed")
    assert time.time() - got.body["processed_at"] < 2

    began = time.monotonic()
    posted = stack.request("POST", "/tasks", HELLO | {"delay": 3600}, Prefer="wait=1")
    assert (posted.status, posted.body) == (202, {"id": posted.body["id"], "status": "pending"})
    got = stack.request("GET", f"/tasks/{posted.body['id']}", Prefer="wait=1")
    assert (got.status, got.body["status"]) == (200, "pending")
    assert 2 <= time.monotonic() - began < 10
    assert stack.request("POST", f"/tasks/{posted.body['id']}/cancel").status == 202


def test_a_task_is_cancelled_then_retried_then_deleted(stack: Stack) -> None:
    id = stack.submit(**HELLO, delay=3600)
    assert stack.request("DELETE", f"/tasks/{id}").status == 409
    assert [stack.request("POST", f"/tasks/{id}/cancel").status for _ in range(2)] == [202, 409]
    assert stack.task(id)["status"] == "cancelled"

    assert stack.request("POST", f"/tasks/{id}/retry").status == 202
    (task,) = stack.completed([id])
    assert (task["result"], len(task["attempts"])) == ({"output": "HELLO WORLD"}, 1)

    assert stack.request("DELETE", f"/tasks/{id}").status == 204
    assert stack.request("GET", f"/tasks/{id}").status == 404


def test_high_overtakes_a_backlog_and_low_is_overtaken(stack: Stack, tag: str) -> None:
    tasks: list[dict[str, Any]] = [HELLO | {"tags": [tag]}] * 120
    low = stack.submit_many([*tasks[:60], tasks[0] | {"priority": "low"}, *tasks[60:]])[60]
    high = stack.submit(**HELLO, priority="high", tags=[tag])
    stack.completed(task["id"] for task in found(stack, tag))

    order = [task["id"] for task in sorted(found(stack, tag), key=lambda task: task["processed_at"])]
    assert order.index(high) < 60
    assert order.index(low) > 100


def test_counts_workers_actions_and_the_description_are_told(disturbed: Stack) -> None:
    before = disturbed.request("GET", "/stats").body
    cancelled = disturbed.submit(**HELLO, delay=3600)
    disturbed.request("POST", f"/tasks/{cancelled}/cancel")
    disturbed.completed([disturbed.submit(**HELLO) for _ in range(3)])
    after = disturbed.request("GET", "/stats").body
    assert after["tasks"]["completed"] - before["tasks"]["completed"] == 3
    assert after["tasks"]["cancelled"] - before["tasks"]["cancelled"] == 1
    assert after["actions"]["uppercase"]["run"]["p50"] >= 0.05

    disturbed.up("--scale", "worker=2")
    disturbed.wait_for_workers()
    containers = {
        container.attrs["Config"]["Hostname"]: container.id for container in disturbed.containers("worker")
    }
    workers = until(lambda: _workers(disturbed, 2), "two workers to be told")
    assert {worker["host"]: disturbed.worker_container(worker["id"]).id for worker in workers} == containers
    actions = {action["name"]: action for action in disturbed.request("GET", "/actions").body["actions"]}
    assert actions.keys() == {"*", "sum", "uppercase"}
    assert actions["uppercase"]["workers"] == 2
    assert {"type": "string"} in actions["uppercase"]["arguments"]["properties"]["text"]["anyOf"]
    disturbed.up("--scale", "worker=1")
    until(lambda: _workers(disturbed, 1), "the one that was stopped to be gone")

    document = disturbed.request("GET", "/openapi.json").body
    assert document["openapi"].startswith("3.1")
    assert {"/tasks", "/tasks/{id}/events", "/stats"} <= document["paths"].keys()
    page = disturbed.request("GET", "/docs")
    assert "default-src 'none'" in page.headers["Content-Security-Policy"]
    loaded = re.findall(r'(?:src|href)="(.*?)"', page.body.decode())
    assert loaded
    assert not [name for name in loaded if "//" in name or disturbed.request("GET", f"/{name}").status != 200]


def _workers(stack: Stack, count: int) -> list[Any]:
    workers = stack.request("GET", "/workers").body["workers"]
    return list(workers) if len(workers) == count else []


def test_the_manners_of_http_and_the_name_of_a_request_down_to_the_workers_log(stack: Stack, tag: str) -> None:
    posted = stack.request("POST", "/tasks", HELLO | {"tags": [tag]}, X_Request_ID=f"order-{tag}")
    path = posted.headers["Location"]
    (task,) = stack.completed([posted.body["id"]])
    assert path == f"/tasks/{task['id']}"
    assert posted.headers["X-Request-ID"] == task["request_id"] == f"order-{tag}"

    def told() -> list[str]:
        lines = log_lines(stack.worker_container(task["attempts"][0]["worker"]))
        return [line["message"] for line in lines if line.get("request_id") == f"order-{tag}"]

    until(lambda: told() == ["processing task", "task completed"], "the log lines of the request")

    got = stack.request("GET", path)
    again = stack.request("GET", path, If_None_Match=got.headers["ETag"])
    assert (again.status, again.body, again.headers["ETag"]) == (304, None, got.headers["ETag"])
    head = stack.request("HEAD", path)
    assert (head.status, head.body) == (200, None)
    assert head.headers["Content-Length"] == got.headers["Content-Length"]
    wrong = stack.request("PUT", path)
    assert (wrong.status, set(wrong.headers["Allow"].split(","))) == (405, {"GET", "HEAD", "DELETE"})
    packed = stack.request("GET", "/openapi.json", Accept_Encoding="gzip")
    assert packed.headers["Content-Encoding"] == "gzip"
    assert json.loads(gzip.decompress(packed.body)) == stack.request("GET", "/openapi.json").body
