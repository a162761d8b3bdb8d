"""The commands that read tasks: list, show, wait, watch."""

import itertools
import time
from collections.abc import Iterable
from typing import Annotated

import typer
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from taskqueue.client import Event
from taskqueue.contract.tasks import Progress, TaskAnswer, TaskError, WholeTaskAnswer
from taskqueue.task import Status
from taskqueue_cli.connection import FAILED, HERE, Url, connect
from taskqueue_cli.options import (
    Action,
    CreatedAfter,
    CreatedBefore,
    Error,
    Parent,
    Search,
    Statuses,
    Tag,
    narrowed,
)
from taskqueue_cli.output import AsJson, ago, console, plain, span, status_text, table, value, when, write

Id = Annotated[str, typer.Argument(help="The task's id.")]


def find(
    status: Statuses = None,
    action: Action = None,
    tag: Tag = None,
    created_after: CreatedAfter = None,
    created_before: CreatedBefore = None,
    parent: Parent = None,
    error: Error = None,
    text: Search = None,
    limit: Annotated[int, typer.Option(min=0, help="So many at most; 0 is all.")] = 100,
    url: Url = HERE,
    as_json: AsJson = False,
) -> None:
    """List tasks, newest first."""
    wanted = narrowed(status, action, tag, created_after, created_before, parent, error, text)
    with connect(url) as client:
        found = itertools.islice(client.find(page=min(limit or 1000, 1000), **wanted), limit or None)
        if as_json:
            for task in found:
                typer.echo(task.to_json())
        else:
            write(listing(found))


def show(id: Id, url: Url = HERE, as_json: AsJson = False) -> None:
    """Show a task, with its data, its result and its attempts."""
    with connect(url) as client:
        task = client.get(id)
    if as_json:
        typer.echo(task.to_json())
    else:
        write(_whole(task))


def wait(
    ids: Annotated[list[str], typer.Argument(metavar="ID...", help="The tasks' ids.")],
    timeout: Annotated[
        float | None, typer.Option(min=0, help="Seconds to wait for them all; else for ever.")
    ] = None,
    url: Url = HERE,
    as_json: AsJson = False,
) -> None:
    """Wait until tasks are final. Exits with 1 if one has no result, and with 75 if there was not time enough."""
    until = None if timeout is None else time.monotonic() + timeout
    with connect(url) as client:
        for id in ids:
            client.get(id)  # whoever isn't there isn't waited for
    unsuccessful = False
    with connect(url, patient=True) as client, console(stderr=True).status("waiting"):
        for id in ids:
            task = client.wait(id, None if until is None else max(0, until - time.monotonic()))
            typer.echo(task.to_json() if as_json else f"{task.id}  {task.status}")
            unsuccessful |= task.status is not Status.COMPLETED
    if unsuccessful:
        raise typer.Exit(FAILED)


def watch(
    id: Annotated[str | None, typer.Argument(help="The task's id; without one, all are watched.")] = None,
    status: Statuses = None,
    action: Action = None,
    tag: Tag = None,
    url: Url = HERE,
    as_json: AsJson = False,
) -> None:
    """Tell each change of a task until it is final, or of all that fit, until Ctrl-C.

    Exits with 1 if the task has no result.
    """
    if id is not None and (status or action or tag):
        raise typer.BadParameter("name a task by its id, or several by a filter")
    last: Event | None = None
    with connect(url, patient=True) as client:
        events = client.watch_all(status=status, action=action, tag=tag) if id is None else client.watch(id)
        for last in events:
            typer.echo(_as_json(last)) if as_json else write(_line(last, of_many=id is None))
    if last is not None and last.data is not None and last.data.status is not Status.COMPLETED:
        raise typer.Exit(FAILED)


def listing(tasks: Iterable[TaskAnswer]) -> Table:
    """A task a line."""
    return table(
        ("id", "action", "status", "age", "attempt", "tags", "error"),
        (
            (
                task.id,
                task.action,
                status_text(task.status),
                ago(task.created_at),
                f"{task.attempt}",
                ", ".join(task.tags),
                _first_line(task.error),
            )
            for task in tasks
        ),
    )


def _whole(task: WholeTaskAnswer) -> RenderableType:
    facts = Table.grid(padding=(0, 2))
    told: dict[str, str | Text] = {
        "id": task.id,
        "action": task.action,
        "status": status_text(task.status),
        "waits for": task.waiting_for or "",
        "accepted": when(task.created_at),
        "due": when(task.run_at) if task.run_at > task.created_at else "",
        "ended": when(task.processed_at),
        "priority": "" if task.priority == "normal" else task.priority,
        "tags": ", ".join(task.tags),
        "failures": f"{task.failures} of {task.max_attempts}" if task.failures else "",
        "cancel": "asked for" if task.cancel_requested and task.status is not Status.CANCELLED else "",
        "request": task.request_id or "",
        "parent": task.parent or "",
        "children": "\n".join(task.children),
        "progress": _progress(task.progress),
        "data": value(task.payload.data),
    }
    if task.status is Status.COMPLETED:
        told["result"] = value(task.result)
    if task.error:
        told["error"] = task.error.traceback or f"{task.error.type}: {task.error.message}"
    for name, fact in told.items():
        if fact:
            facts.add_row(Text(name, "bold"), fact if isinstance(fact, Text) else Text(plain(fact)))
    attempts = table(
        ("attempt", "outcome", "started", "took", "worker", "error"),
        (
            (
                f"{attempt.number}",
                attempt.outcome or "running",
                when(attempt.started_at),
                "" if attempt.ended_at is None else span(attempt.ended_at - attempt.started_at),
                attempt.worker[:8],
                _first_line(attempt.error),
            )
            for attempt in task.attempts
        ),
    )
    return Group(facts, "", attempts) if task.attempts else facts


def _line(event: Event, *, of_many: bool) -> Text:
    if event.data is None:
        return Text("some changes were missed: they are not kept for so long", "yellow")
    told = event.data
    parts = [when(told.at)]
    if of_many:
        parts += [told.id, plain(told.action)]
    line = Text("  ".join([*parts, ""])).append_text(status_text(told.status))
    if told.attempt > 1:
        line.append(f"  attempt {told.attempt}")
    if event.kind == "progress":
        line.append(f"  {plain(_progress(told.progress))}")
    return line


def _as_json(event: Event) -> str:
    data = "null" if event.data is None else event.data.to_json()
    return f'{{"event":"{event.kind}","id":"{event.id}","data":{data}}}'


def _progress(progress: Progress | None) -> str:
    if progress is None:
        return ""
    return f"{progress.fraction:.0%}" + (f" {progress.message}" if progress.message else "")


def _first_line(error: TaskError | None) -> str:
    return "" if error is None else f"{error.type}: {error.message}".partition("\n")[0]
