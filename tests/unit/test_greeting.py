"""What the embedded mode says at start: a request that it can answer."""

import json
import shlex
from collections.abc import Callable
from typing import Any, Literal

import pytest

from taskqueue.actions import action, describe_actions, find_action, registry
from taskqueue_embedded.greeting import greeting

URL = "http://127.0.0.1:8080"


@pytest.fixture(autouse=True)
def no_actions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "ACTIONS", {})


def greeted(**handlers: Callable[..., Any]) -> dict[str, Any] | None:
    """The task of the greeting's request."""
    for name, handler in handlers.items():
        action(name)(handler)
    text = greeting(URL, describe_actions())
    assert URL in text
    assert ("curl" in text) == (f"{URL}/ui" in text)
    if "curl" not in text:
        assert "TASKQUEUE_HANDLERS" in text
        return None
    words = shlex.split(text[text.index("curl") :].replace("\\\n", ""))
    task: dict[str, Any] = json.loads(words[words.index("-d") + 1])
    assert f"{URL}/tasks" in words
    return task


async def anything(**data: Any) -> dict[str, Any]:
    return data


def test_it_is_that_of_the_documentation_where_there_is_its_action() -> None:
    async def uppercase(text: str | None = None) -> dict[str, Any]:
        return {"text": text}

    task = greeted(**{"*": anything, "aaa": anything, "uppercase": uppercase})
    assert task == {"action": "uppercase", "data": {"text": "hello world"}}


def test_it_has_arguments_that_the_action_takes() -> None:
    def resize(
        path: str, width: int, factor: float, crop: bool, tags: list[str], mode: Literal["fit", "fill"]
    ) -> dict[str, Any]:
        return locals()

    task = greeted(**{"*": anything, "it's": resize})
    assert task
    assert task["action"] == "it's"
    resizing = find_action("it's")
    assert resizing
    assert resizing.arguments.validate_json(json.dumps(task["data"]))


def test_without_an_action_it_says_where_they_come_from() -> None:
    assert greeted() is None
    assert greeted(**{"*": anything}) is None
