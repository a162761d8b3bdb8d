"""docs/client.md is a program that runs."""

import asyncio
import re
from pathlib import Path
from typing import Any

import pytest
from tests.integration.system import System

from taskqueue.actions.registry import ACTIONS

DOCUMENT = Path(__file__).parents[3] / "docs" / "client.md"
ADDRESS = "http://127.0.0.1:8080"


async def test_the_documents_examples_run_in_their_order(
    system: System, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TASKQUEUE_URL", url)
    # The document's action is there for this test alone.
    monkeypatch.setitem(ACTIONS, "resize", ACTIONS.get("resize"))
    del ACTIONS["resize"]
    examples = re.findall(
        r"^```python\n(.*?)^```$", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE
    )
    assert len(examples) > 5
    assert ADDRESS in examples[0]
    names: dict[str, Any] = {"__name__": "__main__"}
    # A worker knows the actions that are there at its start: another one knows the document's.
    [defined] = [number for number, example in enumerate(examples, start=1) if "@action" in example]
    for part in (examples[:defined], examples[defined:]):
        async with system.worker():
            await asyncio.to_thread(exec, "\n".join(part).replace(ADDRESS, url), names)


def test_the_document_tells_every_error() -> None:
    import taskqueue.client

    errors = {name for name in taskqueue.client.__all__ if name.endswith("Error")} - {"TaskqueueError"}
    told = set(re.findall(r"`(\w+Error)`", DOCUMENT.read_text(encoding="utf-8")))
    assert errors <= told
