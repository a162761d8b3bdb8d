"""What the clients submit, and what they remember of it."""

from dataclasses import dataclass, field
from random import Random
from typing import Any

from taskqueue.task import Status


@dataclass(frozen=True)
class Sent:
    """A task, as it was sent."""

    value: int
    action: str
    #: How it may end, where nobody cancels it.
    ends: Status


@dataclass
class Submission:
    """Tasks that were sent together, once or (with a key) several times. One client alone acts on them."""

    sent: list[Sent]
    key: str | None
    #: On each of them, and on no others.
    tag: str
    #: The names of the requests that sent them, and of those that were refused.
    requests: list[str] = field(default_factory=list)
    refused: set[str] = field(default_factory=set)
    #: The ids that they were told, and which statuses, where no try before was left without an answer.
    told: set[tuple[str, ...]] = field(default_factory=set)
    answers: set[tuple[str, ...]] = field(default_factory=set)
    #: What was asked for.
    cancelled: bool = False
    retried: bool = False
    deleted: bool = False
    #: How many each request has changed, as it was told; None where there was no answer.
    cancels: list[int | None] = field(default_factory=list)
    deletes: list[int | None] = field(default_factory=list)
    #: The same of bulk retries, by the names of the requests.
    retries: dict[str, int] = field(default_factory=dict)


def draw(random: Random, number: int) -> Submission:
    """A submission, which is the client's so many-th."""
    sent = []
    for place in range(random.choice([1, 1, 1, 1, 2, 5])):
        [action] = random.choices(
            ["compute", "compute_in_thread", "fan_out", "progress", "refuse", "stubborn"], [10, 3, 2, 2, 1, 0.3]
        )
        sent.append(Sent(10 * number + place, action, Status.FAILED if action == "refuse" else Status.COMPLETED))
    return Submission(sent, f"key-{number}" if random.random() < 0.5 else None, f"s{number}")


def members(random: Random, task: Sent, tag: str) -> dict[str, Any]:
    """What is sent of a task."""
    seconds = random.choice([0, 0, 0.01, 0.1, 0.1, 0.5, 0.5, 3])  # the longest is longer than a lease
    data: dict[str, object] = {"value": task.value}
    if task.action in {"compute", "fan_out", "progress", "stubborn"}:
        data["seconds"] = seconds
    if task.action in {"compute", "fan_out"}:
        data["failing"] = random.choice([0, 0, 0, 1, 2])
    return {
        "action": task.action,
        "data": data,
        "tags": [tag],
        "delay": random.uniform(0.1, 3) if random.random() < 0.15 else 0,
        "priority": random.choice(["high", "normal", "low"]),
        "max_attempts": 2 if task.action == "stubborn" else 30,
        "timeout": 1 if task.action == "stubborn" else random.choice([None, 3]) if seconds <= 2 else None,
    }
