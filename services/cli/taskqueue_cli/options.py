"""The options that several commands have: which tasks, and when."""

from datetime import datetime
from typing import Annotated

import typer

from taskqueue.client import Filter
from taskqueue.task import Status


def moment(text: str) -> float:
    """A time in Unix seconds, from seconds or ISO 8601; without a zone it is the one of this machine.

    Raises:
        typer.BadParameter: it is neither.
    """
    try:
        return float(text)
    except ValueError:
        pass
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError as error:
        raise typer.BadParameter(f"{text!r} is neither Unix seconds nor ISO 8601 (2026-01-31T08:00)") from error


Statuses = Annotated[list[Status] | None, typer.Option("--status", help="With this status; may be repeated.")]
Action = Annotated[str | None, typer.Option(help="With this action.")]
Tag = Annotated[str | None, typer.Option(help="With this tag.")]
CreatedAfter = Annotated[
    float | None,
    typer.Option(parser=moment, metavar="TIME", help="Accepted then or later: Unix seconds or ISO 8601."),
]
CreatedBefore = Annotated[float | None, typer.Option(parser=moment, metavar="TIME", help="Accepted before then.")]
Parent = Annotated[str | None, typer.Option(metavar="ID", help="Submitted by this task.")]

Error = Annotated[str | None, typer.Option(metavar="TEXT", help="Whose error, as type: message, has this in it.")]
Search = Annotated[
    str | None,
    typer.Option("--text", "-q", help="With this in the id, the action, a tag or the error."),
]


def narrowed(
    status: list[Status] | None,
    action: str | None,
    tag: str | None,
    created_after: float | None,
    created_before: float | None,
    parent: str | None,
    error: str | None,
    text: str | None,
) -> Filter:
    """The filter that these options make; empty where none was given."""
    wanted = Filter()
    if status:
        wanted["status"] = status
    if action is not None:
        wanted["action"] = action
    if tag is not None:
        wanted["tag"] = tag
    if created_after is not None:
        wanted["created_after"] = created_after
    if created_before is not None:
        wanted["created_before"] = created_before
    if parent is not None:
        wanted["parent"] = parent
    if error is not None:
        wanted["error"] = error
    if text is not None:
        wanted["q"] = text
    return wanted
