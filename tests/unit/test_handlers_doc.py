"""The examples of docs/handlers.md: they register, run, and do what the text says."""

import json
import logging
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.unit.test_execute import claimed, ending_of

from taskqueue.actions import describe_actions, known_actions, middlewares, registry
from taskqueue.telemetry import Telemetry
from taskqueue_worker.execute import Run
from taskqueue_worker.resources import Resources

DOC = Path(__file__).parents[2] / "docs" / "handlers.md"


@pytest.fixture
def examples(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the examples define, each run as a module of one package."""
    monkeypatch.setattr(registry, "ACTIONS", {})
    monkeypatch.setattr(middlewares, "MIDDLEWARE", [])
    defined: dict[str, Any] = {"__name__": "handlers"}
    for code in re.findall(r"^```python\n(.*?)^```", DOC.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE):
        exec(code, defined)
    return defined


async def result_of(action: str, data: dict[str, Any], resources: Resources) -> Any:
    run = claimed()
    payload = json.dumps({"data": data})
    run = Run(replace(run.claim, action=action, payload=payload), run._settings, resources=resources)
    return json.loads((await ending_of(run)).result or "")


async def test_the_examples_do_what_they_say(examples: dict[str, Any], caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    assert [told["name"] for told in describe_actions()] == [
        "fetch",
        "greet",
        "import_album",
        "register",
        "render",
        "thumbnail",
    ]
    assert await examples["greet"]("world", excited=True) == "hello world!"
    async with Resources.opened(known_actions(), Telemetry()) as resources:
        assert await result_of("greet", {"name": "world"}, resources) == "hello world"
        assert await result_of("thumbnail", {"path": "a.png"}, resources) is None
        assert await result_of("import_album", {"paths": ["a.png", "b.png"]}, resources) == 2
        assert await result_of("render", {"page": "<p>"}, resources) == {"output": 3}
        assert [await result_of("register", {"name": name}, resources) for name in "abc"] == [0, 1, 2]
    assert [record.name for record in caplog.records if record.message.startswith("took ")] == ["handlers"] * 7
