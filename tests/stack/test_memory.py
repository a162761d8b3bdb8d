"""At the limits nothing is killed for want of memory: the largest, the deepest, the most, sixteen at once."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from tests.stack.client import Answer
from tests.stack.stack import Stack, until

from taskqueue.contract.limits import MAX_DEPTH, MAX_VALUES
from taskqueue.settings import Settings

pytestmark = pytest.mark.docker

SIXTEEN = 16
DEFAULTS = {name: field.default for name, field in Settings.model_fields.items()}
BODY, BATCH, TASK, RESULT = (DEFAULTS[f"max_{what}_bytes"] for what in ("body", "batch", "task", "result"))
#: What is shared out of a batch: its largest tasks, and the rest.
TASKS = BATCH // TASK
#: Room for what is around the data of a task.
MARGIN = 200
#: Four bytes of UTF-8: a string that holds one has four bytes for each of its characters, in memory.
WIDE = "\U0001f600"


def text_of(size: int) -> str:
    """A JSON string of so many bytes that needs as much memory as one can."""
    return f'"{WIDE}{"x" * (size - 6)}"'


def values_of(count: int, part: str) -> str:
    """An array with so many values and names in it."""
    each = {"[]": 1, "[[[]]]": 3, '{"x":{}}': 3, '"abc"': 1, "1.5": 1}[part]
    return f"[{','.join([part] * ((count - 20) // each))}]"


def task_of(data: str, action: str = "x") -> bytes:
    return f'{{"action":"{action}","data":{{"text":{data}}}}}'.encode()


def batch_of(*tasks: bytes) -> bytes:
    return b'{"tasks":[' + b",".join(tasks) + b"]}"


LARGEST_TASK = task_of(text_of(TASK - MARGIN))
#: By name, the path and the body of a request that is as much as is taken.
AT_THE_LIMIT: dict[str, tuple[str, bytes]] = {
    "body": ("/tasks", task_of(text_of(BODY - MARGIN))),
    "wide body": ("/tasks", task_of(f'"{WIDE * ((BODY - MARGIN) // 4)}"')),
    "escaped body": ("/tasks", task_of('"' + "\\u00e9" * ((BODY - MARGIN) // 6) + '"')),
    "deepest": ("/tasks", task_of("[" * (MAX_DEPTH - 2) + "]" * (MAX_DEPTH - 2))),
    "lists": ("/tasks", task_of(values_of(MAX_VALUES, "[[[]]]"))),
    "objects": ("/tasks/batch", batch_of(task_of(values_of(MAX_VALUES, '{"x":{}}')))),
    "strings": ("/tasks/batch", batch_of(task_of(values_of(MAX_VALUES, '"abc"')))),
    "names": (
        "/tasks/batch",
        batch_of(task_of("{" + ",".join(f'"{n:06}":1.5' for n in range(MAX_VALUES // 2 - 10)) + "}")),
    ),
    "batch of large tasks": ("/tasks/batch", batch_of(*[task_of(text_of(TASK - MARGIN))] * TASKS)),
    "batch of many tasks": ("/tasks/batch", batch_of(*[task_of(text_of(BATCH // 1000 - MARGIN))] * 1000)),
    "largest results": ("/tasks/batch", batch_of(*[task_of(text_of(RESULT - 15), "uppercase")] * TASKS)),
}


@pytest.fixture(scope="module")
def quick(fresh_stack: Stack) -> Iterator[Stack]:
    """The stack with the memory limits that it is shipped with, and tasks that take no time."""
    fresh_stack.configure(TASKQUEUE_SIMULATED_WORK="0")
    fresh_stack.up()
    fresh_stack.wait_for_workers()
    yield fresh_stack
    fresh_stack.configure()
    fresh_stack.up()


@pytest.fixture
def unharmed(quick: Stack) -> Iterator[Stack]:
    """That stack, in which nothing may be killed."""
    before = lives(quick)
    yield quick
    assert lives(quick) == before


def lives(stack: Stack) -> dict[str, tuple[bool, int, str]]:
    """Of each container: whether it wanted for memory, how often it has been restarted, since when it runs."""
    containers = {service: stack.container(service).attrs for service in ("api", "worker", "rabbitmq")}
    return {
        service: (told["State"]["OOMKilled"], told["RestartCount"], told["State"]["StartedAt"])
        for service, told in containers.items()
    }


def at_once(call: Callable[[int], Answer]) -> list[Answer]:
    with ThreadPoolExecutor(SIXTEEN) as pool:
        return list(pool.map(call, range(SIXTEEN)))


def ids_of(answers: list[Answer]) -> list[str]:
    accepted = [answer.body for answer in answers if answer.status == 202]
    return [task["id"] for body in accepted for task in body.get("tasks", [body])]


@pytest.mark.parametrize("name", AT_THE_LIMIT)
def test_sixteen_requests_at_the_limit_at_once_kill_nothing(unharmed: Stack, name: str, tag: str) -> None:
    path, body = AT_THE_LIMIT[name]
    tagged = body.replace(b'{"action"', b'{"tags":["' + tag.encode() + b'"],"action"')

    answers = at_once(lambda _: unharmed.request("POST", path, tagged))

    # Those whose turn doesn't come in time are told so, and not stored.
    assert {answer.status for answer in answers} <= {202, 503}, answers
    ids = ids_of(answers)
    assert ids
    until(
        lambda: (
            not unharmed.request("GET", f"/tasks?status=pending,queued,running&limit=1&tag={tag}").body["count"]
        ),
        "all to be final",
    )
    told = at_once(lambda _: unharmed.request("GET", f"/tasks/{ids[-1]}"))
    assert {answer.status for answer in told} <= {200, 503}
    assert {answer.body["status"] for answer in told if answer.status == 200} == {"completed"}
    # Compressed, so that this process doesn't parse them all, which would take it a minute.
    page = f"/tasks?tag={tag}&limit=1000"
    pages = at_once(lambda _: unharmed.request("GET", page, Accept_Encoding="gzip"))
    assert {answer.status for answer in pages} <= {200, 503}
    assert 200 in {answer.status for answer in pages}


def test_the_batch_that_no_worker_survived_is_refused(unharmed: Stack, tag: str) -> None:
    neighbour = unharmed.submit("sum", {"numbers": [1, 2]}, tags=[tag])
    body = b'{"tasks": [{"action": "x", "data": {"x": [' + b"[[[]]]," * 1_587_842 + b"0]}}]}"
    answers = at_once(lambda _: unharmed.request("POST", "/tasks/batch", body))
    assert {answer.status for answer in answers} == {413}
    assert unharmed.completed([neighbour])[0]["result"] == {"output": 3}
