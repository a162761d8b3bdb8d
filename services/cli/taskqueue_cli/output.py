"""What is written for people: tables, times, spans, values. Text that is anybody's can't reach the terminal as a
command."""

import json
import time
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Annotated, Any

import typer
from rich.console import Console, RenderableType
from rich.highlighter import JSONHighlighter
from rich.table import Table
from rich.text import Text

AsJson = Annotated[bool, typer.Option("--json", help="For programs: the API's JSON, one line an answer.")]

#: Columns where there is no terminal: nothing is to be cut or wrapped there.
_WIDE = 10_000

_STYLES = {
    "pending": "blue",
    "queued": "blue",
    "running": "cyan",
    "completed": "green",
    "failed": "red",
    "cancelled": "yellow",
}


def console(*, stderr: bool = False) -> Console:
    """Writes to standard output or error: in colour on a terminal, unless NO_COLOR is set."""
    console = Console(stderr=stderr, highlight=False, markup=False, emoji=False)
    if not console.is_terminal:
        console.width = _WIDE
    return console


def write(shown: RenderableType) -> None:
    """Write to standard output; where it is no terminal, nothing is cut, wrapped or padded."""
    screen = console()
    if screen.is_terminal:
        screen.print(shown)
        return
    with screen.capture() as captured:
        screen.print(shown)
    typer.echo("\n".join(line.rstrip() for line in captured.get().split("\n")), nl=False)


def complain(text: str) -> None:
    """Say on standard error what went wrong."""
    typer.echo(f"taskqueue: {plain(text)}", err=True)


def table(headers: Sequence[str], rows: Iterable[Sequence[str | Text]]) -> Table:
    """A table without lines."""
    made = Table(box=None, pad_edge=False, header_style="bold")
    for header in headers:
        made.add_column(header, no_wrap=header == "id")
    for row in rows:
        made.add_row(*(cell if isinstance(cell, Text) else Text(plain(cell)) for cell in row))
    return made


def plain(text: str) -> str:
    """The text on one line or several, with a question mark for each control character."""
    return "".join(c if c.isprintable() or c == "\n" else "?" for c in text.expandtabs())


def status_text(status: str) -> Text:
    """A status in its colour."""
    return Text(status, _STYLES.get(status, ""))


def value(value: Any) -> Text:
    """A JSON value on several lines, in colours."""
    text = Text(plain(json.dumps(value, indent=2, ensure_ascii=False)))
    JSONHighlighter().highlight(text)
    return text


def when(at: float | None) -> str:
    """A time, as the clocks here show it."""
    return "" if at is None else datetime.fromtimestamp(at).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def ago(at: float) -> str:
    """For how long it has been."""
    seconds = time.time() - at
    return "now" if seconds < 1 else span(round(seconds))


def span(seconds: float | None) -> str:
    """A span of time in its largest unit that is not too coarse."""
    if seconds is None:
        return ""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    for unit, length, until in (("s", 1, 120), ("min", 60, 120), ("h", 3600, 48)):
        if seconds < until * length:
            return f"{seconds / length:.3g} {unit}"
    return f"{seconds / 86400:,.0f} d"
