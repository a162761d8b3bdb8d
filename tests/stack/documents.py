"""The commands that the documentation tells users to run."""

import re
import textwrap
from dataclasses import dataclass
from pathlib import Path

_UUID = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_PARTS = re.compile(rf"(?P<uuid>{_UUID})|(?P<number>\b\d+(?:\.\d+)?\b)|(?P<any>\.\.\.)|[\s\S]")


@dataclass(frozen=True)
class Example:
    """A command line of a session, and what is printed under it."""

    command: str
    output: str

    def matches(self, output: str) -> bool:
        """Whether this is the documented output: `...` stands for anything, an id for any
        id, a number for any number."""
        pattern = "".join(
            {"uuid": _UUID, "number": r"\d+(\.\d+)?", "any": r"[\s\S]*"}.get(match.lastgroup or "", "")
            or re.escape(match[0])
            for match in _PARTS.finditer(self.output)
        )
        return re.fullmatch(pattern, output.strip()) is not None


def blocks(document: Path, heading: str) -> list[str]:
    """The indented blocks of a section, each as one script."""
    text = document.read_text()
    (section,) = re.findall(rf"^##+ {re.escape(heading)}\n(.*?)(?=^##? |\Z)", text, re.DOTALL | re.MULTILINE)
    return [textwrap.dedent(block) for block in re.findall(r"(?:^ {4}.*\n)+", section, re.MULTILINE)]


@dataclass(frozen=True)
class File:
    """A file that a document shows, with its path in its first line."""

    path: str
    text: str


def session(document: Path) -> list[Example]:
    """The lines of a document that begin with a prompt, and the output under each."""
    return [step for step in _steps(document.read_text()) if isinstance(step, Example)]


def tutorial(document: Path) -> dict[str, list[Example | File]]:
    """What the reader does in each section of a document, by its heading: types, or writes a file."""
    _, *parts = re.split(r"^## (.*)\n", document.read_text(), flags=re.MULTILINE)
    return {heading: _steps(text) for heading, text in zip(parts[::2], parts[1::2], strict=True)}


def _steps(text: str) -> list[Example | File]:
    steps: list[Example | File] = []
    fenced = r"^```\w*\n(?:# (?P<path>\S+/?\S*\.\w+)\n)?(?P<file>(?:.*\n)*?)^```$"
    # As in Markdown, a block goes on after a blank line if what follows is indented too.
    for block in re.finditer(rf"{fenced}|^ {{4}}.*\n(?:\n*^ {{4}}.*\n)*", text, re.MULTILINE):
        if block["file"] is not None:
            steps += [File(block["path"], block["file"])] if block["path"] else []
            continue
        for part in re.split(r"^\$ ", textwrap.dedent(block[0]), flags=re.MULTILINE)[1:]:
            command, _, output = part.partition("\n")
            steps.append(Example(command, output.strip()))
    return steps
