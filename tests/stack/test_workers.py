"""Workers that come, go and die while tasks run."""

import re

import pytest
from tests.stack.stack import ROOT, Stack, until

pytestmark = pytest.mark.docker

#: Seconds that a task takes in the cases that catch one in the middle: far less than the drain.
LONG = 3


@pytest.fixture
def with_long_tasks(disturbed: Stack) -> Stack:
    """Two workers, and tasks of `LONG` seconds."""
    api = disturbed.container("api").id
    disturbed.configure(TASKQUEUE_SIMULATED_WORK=str(LONG))
    disturbed.up("--scale", "worker=2")
    disturbed.wait_for_workers()
    assert disturbed.container("api").id == api, "a setting of the worker's recreated the API"
    return disturbed


def running(stack: Stack, id: str) -> str:
    """The id of the worker that runs this task, once one does."""
    until(lambda: stack.task(id)["status"] == "running", f"task {id} to run")
    return str(stack.task(id)["attempts"][-1]["worker"])


def test_four_workers_share_the_tasks_and_the_api_stays_up(disturbed: Stack) -> None:
    command = "docker compose up -d --scale worker=4"
    assert re.search(rf"^ {{4}}{command}$", (ROOT / "README.md").read_text(), re.MULTILINE)
    before = [disturbed.container(service).id for service in ("api", "rabbitmq")]

    disturbed.shell(command)

    assert [disturbed.container(service).id for service in ("api", "rabbitmq")] == before
    assert disturbed.container("migrate").attrs["State"]["ExitCode"] == 0
    assert len(disturbed.containers("worker")) == 4
    disturbed.wait_for_workers()
    ids = [disturbed.submit("sum", {"numbers": [number, 1]}) for number in range(200)]
    tasks = disturbed.completed(ids)
    assert [task["result"] for task in tasks] == [{"output": number + 1} for number in range(200)]
    assert [[attempt["outcome"] for attempt in task["attempts"]] for task in tasks] == [["ok"]] * 200
    assert len({task["attempts"][0]["worker"] for task in tasks}) >= 3


def test_a_worker_killed_mid_task_completes_it_once(with_long_tasks: Stack) -> None:
    id = with_long_tasks.submit("uppercase", {"text": "hello world"})
    killed = running(with_long_tasks, id)

    with_long_tasks.worker_container(killed).kill()

    (task,) = with_long_tasks.completed([id])
    assert task["result"] == {"output": "HELLO WORLD"}
    assert [attempt["outcome"] for attempt in task["attempts"]] == ["worker_lost", "ok"]
    assert task["attempts"][0]["worker"] == killed != task["attempts"][1]["worker"]


def test_stopping_workers_mid_task_finishes_the_tasks_and_exits_0(with_long_tasks: Stack) -> None:
    ids = [with_long_tasks.submit("sum", {"numbers": [number]}) for number in range(12)]
    until(lambda: with_long_tasks.request("GET", "/tasks?status=running").body["count"] >= 2, "two to run")

    with_long_tasks.shell("docker compose stop worker")

    states = [container.attrs["State"] for container in with_long_tasks.containers("worker")]
    assert [(state["Status"], state["ExitCode"]) for state in states] == [("exited", 0)] * 2
    tasks = [with_long_tasks.task(id) for id in ids]
    assert {task["status"] for task in tasks} == {"completed", "queued"}
    assert [len(task["attempts"]) for task in tasks] == [task["status"] == "completed" for task in tasks]

    with_long_tasks.configure()
    with_long_tasks.up()
    tasks = with_long_tasks.completed(ids)
    assert [task["result"] for task in tasks] == [{"output": number} for number in range(12)]
    assert [[attempt["outcome"] for attempt in task["attempts"]] for task in tasks] == [["ok"]] * 12
