"""Where the API is not, or is no taskqueue: a line, and an exit code."""

import pytest
from tests.integration.cli.conftest import CommandLine
from tests.integration.client.hostile import Hostile, drops, says

EACH = pytest.mark.parametrize(
    "command", [["list"], ["show", "x"], ["stats"], ["workers"], ["actions"], ["submit", "x"], ["watch"]]
)


@EACH
async def test_nobody_there_exits_69(command: list[str]) -> None:
    ended = await CommandLine("http://127.0.0.1:1")(*command, code=69)
    [line] = ended.errors.splitlines()
    assert line.startswith("taskqueue: http://127.0.0.1:1/")
    assert "doesn't answer" in line


@EACH
async def test_somebody_else_there_exits_69_and_is_told(command: list[str]) -> None:
    async with Hostile.listening(says(200, b"<html>\x1b[2J</html>", "text/html")) as hostile:
        ended = await CommandLine(hostile.url)(*command, code=69)
    [line] = ended.errors.splitlines()
    assert "text/html: no taskqueue is there" in line


async def test_an_api_that_can_not_exits_69_with_what_it_says() -> None:
    async with Hostile.listening(says(503, {"error": "database unavailable"}, Retry_After="1")) as hostile:
        ended = await CommandLine(hostile.url)("list", code=69)
    assert ended.errors == "taskqueue: database unavailable\n"


async def test_each_of_several_errors_is_told_by_its_path() -> None:
    details = [
        {"path": "data.width", "error": 'data.width: this value is not of type "integer"'},
        {"path": "data.path", "error": "data.path: required"},
    ]
    async with Hostile.listening(says(422, {"error": "invalid data", "details": details})) as hostile:
        ended = await CommandLine(hostile.url)("submit", "resize", "width=x", code=2)
    assert ended.errors.splitlines() == [
        "taskqueue: invalid data",
        '  data.width: this value is not of type "integer"',
        "  data.path: required",
    ]


async def test_a_submit_without_an_answer_is_not_said_to_have_failed() -> None:
    async with Hostile.listening(drops) as hostile:
        ended = await CommandLine(hostile.url)("submit", "x", code=69)
    assert "whether it was carried out is not known" in ended.errors


@pytest.mark.parametrize("url", ["localhost:8080", "ftp://x", "http://", "http://[::"])
async def test_a_url_that_is_none_is_a_usage_error(url: str) -> None:
    ended = await CommandLine("")("list", "--url", url, code=2)
    assert "--url" in ended.errors


async def test_the_option_goes_before_the_environment() -> None:
    ended = await CommandLine("http://127.0.0.1:1")("list", "--url", "http://127.0.0.1:2", code=69)
    assert "127.0.0.1:2/" in ended.errors
