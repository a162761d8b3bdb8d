"""Each example of docs/cli.md is run as it stands there, in its order, and writes what stands there."""

import re
import shlex
from pathlib import Path

import pytest
from tests.conformance.burying import until_dead
from tests.integration.cli.conftest import CommandLine
from tests.integration.system import System
from tests.stack.documents import Example, session

DOCUMENT = Path(__file__).parents[3] / "docs" / "cli.md"
ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def aligned(text: str) -> str:
    """The same, however wide the columns, and without a box."""
    return re.sub(r" {2,}", "  ", re.sub(r"[ │]+$", "", text.replace("│ ", ""), flags=re.MULTILINE))


async def test_the_examples_write_what_they_say(
    taskqueue: CommandLine, system: System, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    #: Which real id each one of the document has become.
    ids: dict[str, str] = {}
    count = 0
    async with system.worker():
        await system.broker.publish(b"hello", message_id="", priority=4, timeout=1)  # no task
        await until_dead(system.broker, 1)
        for example in session(DOCUMENT):
            command, *arguments = shlex.split(ID.sub(lambda match: ids.get(match[0], match[0]), example.command))
            if command == "cat":  # shows a file that the next ones use
                (tmp_path / arguments[0]).write_text(example.output)
                continue
            assert command == "taskqueue"
            ended = await taskqueue(*arguments, code=None)
            written = ended.output + ended.errors
            assert Example(example.command, aligned(example.output)).matches(aligned(written)), written
            ids.update(zip(ID.findall(example.output), ID.findall(written), strict=False))
            count += 1
    assert count >= 12
