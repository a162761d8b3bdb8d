"""What the core tells as it happens: to all who listen, and of each happening one line in the log at most."""

import dataclasses
import inspect
import logging
from typing import Any

import pytest

from taskqueue import telemetry
from taskqueue.log_lines import log_happening
from taskqueue.task import Claim, Outcome, Status
from taskqueue.telemetry import Published, TaskAccepted, Telemetry

CLAIM = Claim(
    seq=1,
    id="7",
    attempt=2,
    worker="w",
    action="sum",
    payload="{}",
    failures=0,
    max_attempts=3,
    timeout=None,
    started_at=0,
    request_id="order-7",
)

#: An attempt's, as JSON text.
ERROR = '{"type":"Lost","message":"no such row","traceback":"one\\ntwo\\n"}'

#: Values for the fields of happenings.
VALUES: dict[str, Any] = {
    "id": "7",
    "action": "sum",
    "status": Status.FAILED,
    "outcome": Outcome.ERROR,
    "error": RuntimeError("on purpose"),
    "claim": CLAIM,
    "rescued": (),
    "statuses": ("failed",),
    "actions": ("sum",),
    "expected": True,
    "ends": False,
}

HAPPENINGS = [
    kind
    for _, kind in inspect.getmembers(telemetry, dataclasses.is_dataclass)
    if kind.__module__ == telemetry.__name__
]
#: What happens too often for a line each.
SILENT = {"Published", "Committed"}


def one(kind: Any) -> Any:
    """A happening of a kind."""
    values = VALUES | ({"error": ERROR} if kind is telemetry.TaskEnded else {})
    return kind(**{field.name: values.get(field.name, 1) for field in dataclasses.fields(kind)})


@pytest.mark.parametrize("kind", HAPPENINGS, ids=lambda kind: kind.__name__)
def test_a_happening_has_one_line_or_none(kind: Any, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    log_happening(one(kind))
    assert len(caplog.records) == (0 if kind.__name__ in SILENT else 1)
    for record in caplog.records:
        assert record.name.startswith("taskqueue.")
        assert record.getMessage()


@pytest.mark.parametrize(
    "kind",
    [kind for kind in HAPPENINGS if {"action", "claim"} & set(kind.__annotations__)],
    ids=lambda kind: kind.__name__,
)
def test_a_line_about_a_task_names_it_and_its_action(kind: Any, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    log_happening(one(kind))
    [record] = caplog.records
    assert {"task_id": "7", "action": "sum"}.items() <= vars(record).items()
    if "claim" in kind.__annotations__:
        assert {"attempt": 2, "request_id": "order-7"}.items() <= vars(record).items()


@pytest.mark.parametrize(
    ("status", "level", "message"),
    [
        (Status.COMPLETED, "INFO", "task completed"),
        (Status.FAILED, "ERROR", "task failed"),
        (Status.PENDING, "WARNING", "attempt failed, to be tried again"),
        (Status.CANCELLED, "INFO", "task cancelled"),
        (None, "WARNING", "outcome refused: the task was taken from this worker"),
    ],
)
def test_an_ended_attempt_tells_what_became_of_its_task(
    status: Status | None, level: str, message: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    log_happening(telemetry.TaskEnded(CLAIM, Outcome.ERROR, status, ERROR))
    [record] = caplog.records
    assert (record.levelname, record.getMessage()) == (level, message)
    if status not in {None, Status.COMPLETED}:
        assert {"error": "Lost: no such row", "traceback": "one\ntwo\n"}.items() <= vars(record).items()


@pytest.mark.parametrize("outcome", [Outcome.SNOOZED, Outcome.SHUTDOWN])
def test_an_attempt_that_cost_nothing_is_no_warning(outcome: Outcome, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    log_happening(telemetry.TaskEnded(CLAIM, outcome, Status.PENDING, None))
    [record] = caplog.records
    assert (record.levelname, record.getMessage()) == ("INFO", "task pending")
    assert vars(record)["outcome"] == outcome


def test_a_lost_worker_has_a_line_and_each_task_that_was_rescued_from_it_another(
    caplog: pytest.LogCaptureFixture,
) -> None:
    other = dataclasses.replace(CLAIM, id="8")
    log_happening(telemetry.WorkerLost("w", ((CLAIM, Status.PENDING), (other, Status.FAILED))))
    lost, *rescued = caplog.records
    assert lost.getMessage() == "worker lost"
    assert [(vars(record)["task_id"], vars(record)["status"], record.levelname) for record in rescued] == [
        ("7", "pending", "WARNING"),
        ("8", "failed", "ERROR"),
    ]


def test_all_who_listen_are_told_at_once_in_the_order_that_they_came() -> None:
    heard: list[tuple[str, object]] = []
    telling = Telemetry(lambda happening: heard.append(("first", happening)))
    published, accepted = Published("7"), TaskAccepted("7", "sum", Status.QUEUED)
    telling.tell(published)
    telling.listen(lambda happening: heard.append(("second", happening)))
    telling.tell(accepted)
    assert heard == [("first", published), ("first", accepted), ("second", accepted)]


def test_what_nobody_knows_has_no_line(caplog: pytest.LogCaptureFixture) -> None:
    log_happening(object())
    assert not caplog.records
