"""The commands that change tasks: cancel, retry, delete; some by their ids, or all that fit a filter."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

import typer

from taskqueue.client import Client, ConflictError, Filter, NotFoundError
from taskqueue.contract.answers import Answer, BulkAnswer
from taskqueue_cli.connection import HERE, Url, connect, exit_code, explain
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
from taskqueue_cli.output import AsJson, complain

Ids = Annotated[list[str] | None, typer.Argument(metavar="[ID]...", help="The tasks' ids; else name a filter.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Don't ask before what a filter fits is changed.")]


@dataclass(frozen=True)
class _Verb:
    name: str
    done: str
    one: Callable[[Client, str], Answer | None]
    all: Callable[..., BulkAnswer]


_CANCEL = _Verb("cancel", "cancelled", Client.cancel, Client.cancel_all)
_RETRY = _Verb("retry", "retried", Client.retry, Client.retry_all)
_DELETE = _Verb("delete", "deleted", Client.delete, Client.delete_all)


def cancel(
    ids: Ids = None,
    status: Statuses = None,
    action: Action = None,
    tag: Tag = None,
    created_after: CreatedAfter = None,
    created_before: CreatedBefore = None,
    parent: Parent = None,
    error: Error = None,
    text: Search = None,
    yes: Yes = False,
    url: Url = HERE,
    as_json: AsJson = False,
) -> None:
    """Cancel tasks that are not final; those that run are asked to stop."""
    wanted = narrowed(status, action, tag, created_after, created_before, parent, error, text)
    _act(_CANCEL, ids, wanted, yes, url, as_json)


def retry(
    ids: Ids = None,
    status: Statuses = None,
    action: Action = None,
    tag: Tag = None,
    created_after: CreatedAfter = None,
    created_before: CreatedBefore = None,
    parent: Parent = None,
    error: Error = None,
    text: Search = None,
    yes: Yes = False,
    url: Url = HERE,
    as_json: AsJson = False,
) -> None:
    """Run failed and cancelled tasks again, with all their attempts anew."""
    wanted = narrowed(status, action, tag, created_after, created_before, parent, error, text)
    _act(_RETRY, ids, wanted, yes, url, as_json)


def delete(
    ids: Ids = None,
    status: Statuses = None,
    action: Action = None,
    tag: Tag = None,
    created_after: CreatedAfter = None,
    created_before: CreatedBefore = None,
    parent: Parent = None,
    error: Error = None,
    text: Search = None,
    yes: Yes = False,
    url: Url = HERE,
    as_json: AsJson = False,
) -> None:
    """Forget final tasks."""
    wanted = narrowed(status, action, tag, created_after, created_before, parent, error, text)
    _act(_DELETE, ids, wanted, yes, url, as_json)


def _act(verb: _Verb, ids: list[str] | None, wanted: Filter, yes: bool, url: str, as_json: bool) -> None:
    if bool(ids) == bool(wanted):
        raise typer.BadParameter("name tasks by their ids, or all that fit a filter (--status, --tag, ...)")
    with connect(url) as client:
        if ids:
            _each(client, verb, ids, as_json)
        else:
            _all(client, verb, wanted, yes, as_json)


def _each(client: Client, verb: _Verb, ids: list[str], as_json: bool) -> None:
    """One that can't be changed doesn't keep the others from it."""
    code = 0
    for id in ids:
        try:
            answer = verb.one(client, id)
        except (ConflictError, NotFoundError) as error:
            complain(f"{id}: {explain(error)}")
            code = exit_code(error)
        else:
            # Asked to stop, a task that runs is not cancelled yet.
            done = "asked to stop" if getattr(answer, "status", None) == "running" else verb.done
            typer.echo((answer.to_json() if answer else f'{{"id":"{id}"}}') if as_json else f"{id}  {done}")
    if code:
        raise typer.Exit(code)


def _all(client: Client, verb: _Verb, wanted: Filter, yes: bool, as_json: bool) -> None:
    if not yes:
        count = verb.all(client, dry_run=True, **wanted).count
        if count:
            typer.confirm(f"{verb.name} {_tasks(count)}?", abort=True, err=True)
    answer = verb.all(client, **wanted)
    typer.echo(answer.to_json() if as_json else f"{_tasks(answer.count)} {verb.done}")


def _tasks(count: int) -> str:
    return f"{count:,} task{'s' * (count != 1)}"
