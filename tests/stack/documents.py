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


def session(document: Path) -> list[Example]:
    """The lines of a document that begin with a prompt, and the output under each."""
    examples = []
    # As in Markdown, a block goes on after a blank line if what follows is indented too.
    for block in re.findall(r"^ {4}.*\n(?:\n*^ {4}.*\n)*", document.read_text(), re.MULTILINE):
        for part in re.split(r"^\$ ", textwrap.dedent(block), flags=re.MULTILINE)[1:]:
            command, _, output = part.partition("\n")
            examples.append(Example(command, output.strip()))
    return examples
