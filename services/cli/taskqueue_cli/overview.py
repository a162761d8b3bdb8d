"""The commands that tell what goes on: overview, stats, workers, actions."""

import itertools
import json
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import typer
from rich.table import Table
from rich.text import Text

from taskqueue.contract.audit import AuditedOperation
from taskqueue.contract.overview import ActionAnswer, ActionStats, Counts, WorkerAnswer
from taskqueue.task import Status
from taskqueue_cli.connection import HERE, Url, connect
from taskqueue_cli.options import Action, CreatedAfter, CreatedBefore, Tag
from taskqueue_cli.output import AsJson, ago, plain, span, status_text, table, when, write

_BARS = "▁▂▃▄▅▆▇█"


def overview(
    window: Annotated[Literal["1h", "24h", "7d"], typer.Option(help="How far to look back.")] = "1h",
    url: Url = HERE,
    as_json: AsJson = False,
) -> None:
    """Tell what needs attention, how it stands, and what happened in a window."""
    with connect(url) as client:
        answer = client.overview(window)
    if as_json:
        typer.echo(answer.to_json())
        return
    for each in answer.attention:
        style = "bold red" if each.severity == "critical" else "yellow"
        write(Text(plain(each.text), style).append(f" {plain(each.advice)}", "default"))
    if not answer.attention:
        write(Text("all is well", "green"))
    write(by_status(answer.tasks))
    if answer.backlog:
        drains = "" if answer.drains_in is None else f", which takes {span(answer.drains_in)} at today's rate"
        write(f"{answer.backlog:,} wait{drains}")
    write(f"workers: {answer.workers:,}; tasks at a time: {answer.slots:,}")
    write(f"\nin the last {window}, in parts of {span(answer.width)}:")
    write(by_minute(answer.points))
    if answer.actions:
        write("")
        write(by_action(answer.actions))


def errors(
    action: Action = None,
    tag: Tag = None,
    created_after: CreatedAfter = None,
    created_before: CreatedBefore = None,
    url: Url = HERE,
    as_json: AsJson = False,
) -> None:
    """List what fails, and how often: the errors of failed tasks, alike ones together."""
    with connect(url) as client:
        found = client.errors(action=action, tag=tag, created_after=created_after, created_before=created_before)
    if as_json:
        for each in found:
            typer.echo(each.to_json())
        return
    rows = [
        (f"{each.tasks:,}", plain(each.action), plain(f"{each.type}: {each.message}"), ago(each.last_at))
        for each in found
    ]
    write(table(("tasks", "action", "error", "last"), rows))


def tags(
    prefix: Annotated[str, typer.Argument(help="How they begin.")] = "",
    limit: Annotated[int, typer.Option(min=1, max=100, help="So many at most.")] = 20,
    url: Url = HERE,
    as_json: AsJson = False,
) -> None:
    """List tags that tasks have."""
    with connect(url) as client:
        found = client.tags(prefix, limit=limit)
    for tag in found:
        typer.echo(json.dumps(tag) if as_json else plain(tag))


def stats(
    minutes: Annotated[int, typer.Option(min=1, max=1440, help="How many past minutes to tell.")] = 15,
    url: Url = HERE,
    as_json: AsJson = False,
) -> None:
    """Tell how many tasks there are, and what happened in the last minutes."""
    with connect(url) as client:
        answer = client.stats(minutes)
    if as_json:
        typer.echo(answer.to_json())
        return
    write(by_status(answer.tasks))
    if answer.oldest_waiting is not None:
        write(f"the oldest that waits is due for {span(answer.oldest_waiting)}")
    if answer.waiting_for_workers:
        write(f"{answer.waiting_for_workers:,} wait for a worker that knows their action")
    write(f"\nin the last {minutes} minutes, and the present one:")
    write(by_minute(answer.minutes))
    if answer.actions:
        write("")
        write(by_action(answer.actions))


def workers(url: Url = HERE, as_json: AsJson = False) -> None:
    """List the workers, and what they run."""
    with connect(url) as client:
        found = client.workers()
    if as_json:
        for worker in found:
            typer.echo(worker.to_json())
        return
    write(by_worker(found))


def audit(
    key: Annotated[str | None, typer.Option(help="Only what was done with the key of this id.")] = None,
    operation: Annotated[AuditedOperation | None, typer.Option(help="Only this.")] = None,
    limit: Annotated[int, typer.Option(min=0, help="So many at most; 0 is all.")] = 100,
    url: Url = HERE,
    as_json: AsJson = False,
) -> None:
    """List what people and keys changed, newest first. Needs an admin's key."""
    with connect(url) as client:
        found = client.audit(key=key, operation=operation, page=min(limit or 1000, 1000))
        entries = list(itertools.islice(found, limit or None))
    if as_json:
        for entry in entries:
            typer.echo(entry.to_json())
        return
    rows = [
        (
            when(entry.at),
            entry.operation,
            entry.target or json.dumps(entry.filter),
            "" if entry.tasks is None else f"{entry.tasks:,}",
            plain(entry.label or ""),
            entry.address or "",
            entry.request_id or "",
        )
        for entry in entries
    ]
    write(table(("at", "operation", "what", "tasks", "by", "from", "request"), rows))


def actions(url: Url = HERE, as_json: AsJson = False) -> None:
    """List the actions that workers know, or knew, with their arguments."""
    with connect(url) as client:
        found = client.actions()
    if as_json:
        for action in found:
            typer.echo(action.to_json())
        return
    rows = [(action.name, _arguments(action), action.version or "", f"{action.workers}") for action in found]
    write(table(("action", "arguments", "version", "workers"), rows))


def by_status(tasks: dict[Status, int]) -> Table:
    """How many tasks have each status."""
    return table(("status", "tasks"), [(status_text(status), f"{tasks[status]:,}") for status in Status])


def by_minute(minutes: Sequence[Counts], rates: dict[str, float] | None = None) -> Table:
    """What was accepted and ended, with a bar for each part of the time, and the rates where they are known."""
    rows = []
    for what in ("accepted", "completed", "failed", "cancelled"):
        counts = [getattr(minute, what) for minute in minutes]
        rate = [f"{rates[what]:.1f}"] if rates else []
        rows.append((what, f"{sum(counts):,}", *rate, sparkline(counts)))
    return table(("", "tasks", *(["a second"] if rates else []), "over time"), rows)


def by_action(actions: Mapping[str, ActionStats], most: int | None = None) -> Table:
    """What happened to the tasks of each action: those whose attempts run longest first, and so many at most."""
    slowest = sorted(actions.items(), key=lambda item: item[1].run.p95 or 0, reverse=True)
    return table(
        ("action", "accepted", "completed", "failed", "waited", "ran", "ran (95 %)"),
        [
            (
                name,
                f"{action.accepted:,}",
                f"{action.completed:,}",
                f"{action.failed:,}",
                span(action.wait.p50),
                span(action.run.p50),
                span(action.run.p95),
            )
            for name, action in slowest[:most]
        ],
    )


def by_worker(workers: list[WorkerAnswer]) -> Table:
    """The workers, and what they run."""
    return table(
        ("worker", "host", "pid", "up", "seen", "memory", "runs", "of"),
        [
            (
                worker.id[:8],
                worker.host,
                f"{worker.pid}",
                ago(worker.started_at),
                ago(worker.last_seen),
                "" if worker.memory is None else f"{worker.memory / 2**20:.0f} MiB",
                ", ".join(f"{task.action} ({ago(task.started_at)})" for task in worker.running),
                f"{worker.consumers}",
            )
            for worker in workers
        ],
    )


def sparkline(counts: list[int]) -> str:
    """A bar for each count, the highest for the largest."""
    top = max(counts, default=0)
    return "".join(" " if count == 0 else _BARS[(count * len(_BARS) - 1) // top] for count in counts)


def _arguments(action: ActionAnswer) -> str:
    """As in Python: `path: string, width: integer = 200`; `= ...` where the default is not told."""
    required = action.arguments.get("required", [])
    told = [
        f"{name}: {_type(of)}" + ("" if name in required else f" = {_default(of)}")
        for name, of in action.arguments.get("properties", {}).items()
    ]
    return ", ".join(told if action.arguments.get("additionalProperties") is False else [*told, "..."])


def _default(schema: dict[str, Any]) -> str:
    return json.dumps(schema["default"], ensure_ascii=False) if "default" in schema else "..."


def _type(schema: dict[str, Any]) -> str:
    if "anyOf" in schema:
        return " or ".join(_type(one) for one in schema["anyOf"])
    return str(schema.get("type") or schema.get("$ref", "any").rpartition("/")[2])
