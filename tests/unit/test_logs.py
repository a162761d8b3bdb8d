"""Log lines: JSON for programs, text for people, the task's id and action on each line about a task."""

import contextvars
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest

from taskqueue.log_lines import log_happening, task_fields
from taskqueue.logs import TASK_FIELDS, set_up_logging
from taskqueue.settings import Settings
from taskqueue.task import Claim, Outcome, Status
from taskqueue.telemetry import TaskEnded
from taskqueue_worker.execute import error_json

log = logging.getLogger("taskqueue.worker")


@pytest.fixture(autouse=True)
def keep_logging() -> Iterator[None]:
    """The root logger belongs to pytest."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    # `basicConfig(force=True)` would close pytest's.
    root.handlers = []
    yield
    root.handlers = handlers
    root.setLevel(level)


def lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    captured = capsys.readouterr()
    assert captured.out == ""
    return captured.err.splitlines()


def json_line(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    [line] = lines(capsys)
    fields: dict[str, Any] = json.loads(line)
    return fields


def test_a_json_line_about_a_task_has_its_id_and_action(capsys: pytest.CaptureFixture[str]) -> None:
    set_up_logging(Settings(log_format="json"))
    log.info("processing task", extra=task_fields("7", "sum", attempt=2))
    fields = json_line(capsys)
    assert fields.pop("time").startswith("20")
    assert fields == {
        "level": "INFO",
        "logger": "taskqueue.worker",
        "message": "processing task",
        "task_id": "7",
        "action": "sum",
        "attempt": 2,
    }


@pytest.mark.parametrize("log_format", ["json", "text"])
def test_the_traceback_of_another_process_is_written(capsys: pytest.CaptureFixture[str], log_format: Any) -> None:
    set_up_logging(Settings(log_format=log_format))
    log.handle(logging.makeLogRecord({"msg": "failed", "levelno": logging.ERROR, "exc_text": "Traceback ..."}))
    [*_, last] = lines(capsys)
    assert last == "Traceback ..." or json.loads(last)["exc_info"] == "Traceback ..."


def test_records_can_go_elsewhere(capsys: pytest.CaptureFixture[str]) -> None:
    records: list[logging.LogRecord] = []

    class Elsewhere(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            records.append(record)

    set_up_logging(Settings(log_level="WARNING"), Elsewhere())
    log.info("too quiet")
    log.warning("loud")
    assert [record.getMessage() for record in records] == ["loud"]
    assert not lines(capsys)


def test_an_exception_stays_on_its_json_line(capsys: pytest.CaptureFixture[str]) -> None:
    set_up_logging(Settings(log_format="json"))
    try:
        int("x")
    except ValueError:
        log.exception("failed")
    fields = json_line(capsys)
    assert fields["message"] == "failed"
    assert "ValueError: invalid literal" in fields["exc_info"]


@pytest.mark.parametrize("text", ["two\nlines", 'a "quote"', "\x1b[31mred", "é🐎"])
def test_no_text_breaks_a_json_line(capsys: pytest.CaptureFixture[str], text: str) -> None:
    set_up_logging(Settings(log_format="json"))
    log.info("task failed", extra=task_fields("7", text))
    assert json_line(capsys)["action"] == text


def test_a_text_line_about_a_task_has_its_id_and_action(capsys: pytest.CaptureFixture[str]) -> None:
    set_up_logging(Settings(log_format="text"))
    log.info("processing task", extra=task_fields("7", "sum"))
    log.warning("nothing else")
    first, second = lines(capsys)
    assert first.endswith(" INFO    processing task  task_id=7 action=sum")
    assert second.endswith(" WARNING nothing else")


def test_a_traceback_stands_under_its_text_line_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    set_up_logging(Settings(log_format="text"))
    error = error_json("ValueError", "no", 'Traceback:\n  File "a.py"\nValueError: no\n')
    claim = Claim(1, "7", 1, "w", "sum", "{}", 0, 3, None, 0)
    log_happening(TaskEnded(claim, Outcome.ERROR, Status.FAILED, error))
    first, *under = lines(capsys)
    fields = "task_id=7 action=sum attempt=1 outcome=error error=ValueError: no"
    assert first.endswith(f" ERROR   task failed  {fields}")
    assert under == ["Traceback:", '  File "a.py"', "ValueError: no"]


def test_a_line_of_a_handler_has_its_tasks_fields(capsys: pytest.CaptureFixture[str]) -> None:
    set_up_logging(Settings(log_format="json", handlers="shop.actions"))
    context = contextvars.copy_context()
    context.run(TASK_FIELDS.set, {"task_id": "7", "action": "sum", "attempt": 2, "request_id": "r"})
    context.run(logging.getLogger("shop.prices").info, "asked", extra={"attempt": "own"})
    fields = json_line(capsys)
    told = {name: fields[name] for name in ("message", "task_id", "action", "attempt", "request_id")}
    assert told == {"message": "asked", "task_id": "7", "action": "sum", "attempt": "own", "request_id": "r"}


@pytest.mark.parametrize("name", ["taskqueue.worker", "shop", "shop.prices", "more", None])
def test_what_ours_and_the_handlers_packages_say_is_written(
    capsys: pytest.CaptureFixture[str], name: str | None
) -> None:
    set_up_logging(Settings(log_format="json", handlers="shop.actions, more"))
    logging.getLogger(name).info("hello")
    assert json_line(capsys)["message"] == "hello"


@pytest.mark.parametrize("name", ["httpx", "shopping", "asyncio"])
def test_what_other_libraries_chat_is_not_but_their_warnings_are(
    capsys: pytest.CaptureFixture[str], name: str
) -> None:
    set_up_logging(Settings(log_format="json", log_level="DEBUG", handlers="shop.actions, more"))
    logging.getLogger(name).info("GET / 200")
    logging.getLogger(name).warning("retrying")
    assert json_line(capsys)["message"] == "retrying"


def test_where_no_person_reads_the_format_is_json(capsys: pytest.CaptureFixture[str]) -> None:
    set_up_logging(Settings(log_format="auto"))
    log.info("hello")
    assert json_line(capsys)["message"] == "hello"


def test_on_a_terminal_the_format_is_text(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    set_up_logging(Settings(log_format="auto"))
    log.info("hello")
    assert lines(capsys)[0].endswith(" INFO    hello")


def test_lines_below_the_level_are_not_written(capsys: pytest.CaptureFixture[str]) -> None:
    set_up_logging(Settings(log_format="json", log_level="WARNING"))
    log.info("quiet")
    log.warning("loud")
    assert json_line(capsys)["message"] == "loud"
