"""What a user has after the first `docker compose up`."""

import json
import re
from datetime import datetime
from typing import Any

import pytest
from docker.models.containers import Container
from tests.stack.client import PATIENCE
from tests.stack.documents import Example, session
from tests.stack.stack import ROOT, SERVICES, Stack, log_lines, until

from taskqueue.settings import PREFIX, Settings
from taskqueue.task import FINAL

pytestmark = pytest.mark.docker

#: The three requests of the tutorial, word for word but for the port.
_SUBMIT = (
    """curl -X POST http://localhost:8080/tasks -H 'Content-Type: application/json' """
    """-d '{"action": "uppercase", "data": {"text": "hello world"}}'"""
)
TUTORIAL = (
    _SUBMIT,
    "curl http://localhost:8080/tasks",
    "curl http://localhost:8080/tasks?status=completed",
)

#: Settings that can't be set in `.env`: docker-compose.yml fixes them.
FIXED = {
    "data_dir",
    "broker_url",
    "broker_user",
    "broker_password",
    "host",
    "port",
    "published_on",
    "health_file",
    "metrics_host",
    "metrics_port",
    "log_format",
}


@pytest.fixture(params=["migrate", "api", "worker"])
def ours(request: pytest.FixtureRequest, stack: Stack) -> Container:
    """A container of the app's own image."""
    return stack.container(request.param)


def curl(stack: Stack, command: str) -> str:
    """Run a documented `curl` line, with the address of this stack."""
    port = stack.address.rpartition(":")[2]
    assert ":8080/" in command
    return stack.shell(
        command.replace("curl ", f"curl --silent --show-error --max-time {PATIENCE} ", 1).replace(
            ":8080/", f":{port}/"
        )
    )


def test_migrate_exits_0_and_only_then_api_and_worker_start(stack: Stack) -> None:
    states = stack.first_start
    assert (states["migrate"]["Status"], states["migrate"]["ExitCode"]) == ("exited", 0)
    migrated = datetime.fromisoformat(states["migrate"]["FinishedAt"])
    for service in ("api", "worker"):
        assert states[service]["Health"]["Status"] == "healthy"
        assert datetime.fromisoformat(states[service]["StartedAt"]) > migrated


def test_the_tutorials_three_requests(stack: Stack) -> None:
    accepted = json.loads(curl(stack, TUTORIAL[0]))
    assert accepted == {"id": accepted["id"], "status": "queued"}
    stack.completed([accepted["id"]])

    for command in TUTORIAL[1:]:
        answer = json.loads(curl(stack, command))
        assert answer["count"] == len(answer["tasks"]) >= 1
        newest = answer["tasks"][0]
        assert newest["status"] == "completed"
        assert newest["result"] == {"output": "HELLO WORLD"}
        assert newest["created_at"] <= newest["processed_at"]
        assert newest["payload"] == {
            "id": accepted["id"],
            "action": "uppercase",
            "data": {"text": "hello world"},
            "created_at": newest["created_at"],
        }


def test_the_readmes_session(stack: Stack) -> None:
    examples = session(ROOT / "README.md")
    assert len(examples) >= 3
    ids: dict[str, str] = {}
    for example in examples:
        assert example.command.startswith("curl "), f"not tried: {example.command}"
        _settle(stack, ids)
        output = curl(stack, _with_own_ids(example.command, ids))
        if example.output:
            # The stack that the cases share holds more than one page of tasks by now.
            output = re.sub(r',"next":"[^"]+"', "", output)
            assert example.matches(output), f"{example.command}\n  says  {example.output}\n  prints {output}"
        _learn_ids(example, output, ids)


def _settle(stack: Stack, ids: dict[str, str]) -> None:
    """A reader takes a while between two commands: wait for the tasks that don't wait themselves."""
    for id in ids.values():
        until(lambda id=id: _is_settled(stack.task(id)), f"task {id} to be done")


def _is_settled(task: Any) -> bool:
    return task["status"] in FINAL or task["run_at"] > task["created_at"]


def _with_own_ids(command: str, ids: dict[str, str]) -> str:
    for documented, own in ids.items():
        command = command.replace(documented, own)
    return command


def _learn_ids(example: Example, output: str, ids: dict[str, str]) -> None:
    """Which task of ours stands for the one in the document."""
    documented, own = (re.match(r'\{"id":"([^"]+)"', text) for text in (example.output, output))
    if documented and own:
        ids[documented[1]] = own[1]


def test_our_containers_run_without_privileges(ours: Container) -> None:
    host = ours.attrs["HostConfig"]
    assert ours.attrs["Config"]["User"] == "10001:10001"
    assert host["ReadonlyRootfs"]
    assert host["CapDrop"] == ["ALL"]
    assert not host["CapAdd"]
    assert not host["Privileged"]


@pytest.mark.parametrize("service", ["api", "worker"])
def test_a_process_of_ours_can_write_only_its_data_and_tmp(stack: Stack, service: str) -> None:
    script = (
        "id -u; grep -E '^(CapEff|NoNewPrivs)' /proc/self/status; "
        "for folder in / /etc /opt/venv /tmp /data; do [ -w $folder ] && echo $folder; done; true"
    )
    assert stack.run("exec", "-T", service, "sh", "-c", script).split() == [
        "10001",
        "CapEff:",
        "0000000000000000",
        "NoNewPrivs:",
        "1",
        "/tmp",
        "/data",
    ]


@pytest.mark.parametrize("service", SERVICES)
def test_every_container_has_limits_and_comes_back(stack: Stack, service: str) -> None:
    container = stack.container(service)
    host = container.attrs["HostConfig"]
    assert host["Memory"] > 0
    assert "no-new-privileges:true" in host["SecurityOpt"]
    assert host["RestartPolicy"]["Name"] == ("no" if service == "migrate" else "unless-stopped")
    assert host["LogConfig"]["Config"]["max-size"]
    assert container.attrs["Config"]["StopTimeout"] > Settings.model_fields["drain_timeout"].default + 10


def test_only_the_api_is_published_and_on_loopback(stack: Stack) -> None:
    published = {
        (service, port, binding["HostIp"])
        for service in SERVICES
        for port, bindings in stack.container(service).ports.items()
        for binding in bindings or []
    }
    assert published == {("api", "8080/tcp", "127.0.0.1")}


def test_the_broker_knows_its_memory_limit_and_has_a_fixed_name(stack: Stack) -> None:
    broker = stack.container("rabbitmq")
    assert broker.attrs["Config"]["Hostname"] == "rabbitmq"
    said = re.search(
        r"total_memory_available_override_value = (\d+)GB", (ROOT / "deploy/rabbitmq.conf").read_text()
    )
    assert said
    assert int(said[1]) * 2**30 == broker.attrs["HostConfig"]["Memory"]


def test_the_broker_has_the_chosen_user_and_no_guest(stack: Stack) -> None:
    users = stack.run("exec", "-T", "rabbitmq", "rabbitmqctl", "--quiet", "list_users")
    assert [line.split("\t")[0] for line in users.splitlines()[1:]] == ["stack-test"]


def test_the_image_holds_only_what_runs(stack: Stack) -> None:
    image = stack.container("api").image
    assert image.attrs["Config"]["Cmd"] == ["taskqueue-api"]
    assert image.attrs["Config"]["User"] == "10001:10001"
    assert image.attrs["Size"] < 300e6
    installed = stack.run(
        "exec", "-T", "api", "sh", "-c", "ls /opt /opt/venv/bin; ! python -c 'import pip' 2>/dev/null"
    )
    assert {"taskqueue-api", "taskqueue-worker", "taskqueue-migrate"} <= set(installed.split())
    assert "pip" not in installed.split()
    assert "tools" not in installed.split()


def test_every_setting_can_be_set_in_env(stack: Stack) -> None:
    free = [PREFIX + name.upper() for name in Settings.model_fields if name.lower() not in FIXED]
    assert len(free) + len(FIXED) == len(Settings.model_fields)
    stack.configure(**{name: f"of-{name}" for name in free})
    try:
        services = stack.compose.get_config()["services"]
    finally:
        stack.configure()
    passed = services["api"]["environment"] | services["worker"]["environment"]
    assert {name: passed.get(name) for name in free} == {name: f"of-{name}" for name in free}
    known = {PREFIX + name.upper() for name in Settings.model_fields}
    for service in ("migrate", "api", "worker"):
        assert {name for name in services[service]["environment"] if name.startswith(PREFIX)} <= known


def test_each_log_line_is_json_and_those_about_a_task_tell_its_id_and_action(stack: Stack) -> None:
    id = stack.submit("sum", {"numbers": [1, 2]})
    stack.completed([id])
    assert log_lines(stack.container("migrate"))

    def lines() -> list[tuple[str, str]]:
        both = log_lines(stack.container("api")) + log_lines(stack.container("worker"))
        return [(line["message"], line["action"]) for line in both if line.get("task_id") == id]

    until(lambda: len(lines()) >= 3, "three lines about the task")
    assert lines() == [("task accepted", "sum"), ("processing task", "sum"), ("task completed", "sum")]


@pytest.mark.parametrize("service", ["rabbitmq", "api", "worker"])
def test_a_container_may_have_several_times_the_processes_that_it_has_and_no_more(
    stack: Stack, service: str
) -> None:
    pids = stack.container(service).stats(stream=False)["pids_stats"]
    assert 4 * pids["current"] < pids["limit"] <= 2048


def test_migrate_may_have_no_more_processes_than_the_api(stack: Stack) -> None:
    limits = {service: stack.container(service).attrs["HostConfig"]["PidsLimit"] for service in SERVICES}
    assert limits == {"rabbitmq": 2048, "migrate": 256, "api": 256, "worker": 1024}
