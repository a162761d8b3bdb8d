"""`taskqueue keys`: at an API that asks for one of an admin, or in the database itself."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer
from pydantic import ValidationError

from taskqueue.client import NotFoundError
from taskqueue.contract.audit import AuditedOperation
from taskqueue.contract.keys import KeyAnswer, KeyBody, Role, Scope
from taskqueue_cli.connection import NOT_FOUND, connect
from taskqueue_cli.options import moment
from taskqueue_cli.output import AsJson, ago, complain, table, write

if TYPE_CHECKING:
    from taskqueue.settings import Settings
    from taskqueue.store import Store
    from taskqueue.store.audit import Deed

T = TypeVar("T")

app = typer.Typer(
    help="Make, list and revoke keys of the API: at the one that --url or TASKQUEUE_URL names, with an admin's "
    "key in TASKQUEUE_KEY; where neither names one, in the database of TASKQUEUE_DATA_DIR itself, which needs no "
    "key. That is how the first one is made.",
    no_args_is_help=True,
)

#: Unlike other commands', it has no default: without it nothing is asked of an API.
Url = Annotated[
    str | None,
    typer.Option(
        envvar="TASKQUEUE_URL", help="Where the API is; else the database in TASKQUEUE_DATA_DIR is used."
    ),
]
Label = Annotated[str, typer.Option(help="What it is for, for people.")]
RoleOption = Annotated[
    Role, typer.Option("--role", help="What its holder may do: each may do what those before may.")
]
Days = Annotated[float | None, typer.Option("--days", min=0.001, help="Days after which it ends.")]
Until = Annotated[
    float | None,
    typer.Option("--until", parser=moment, metavar="TIME", help="When it ends: Unix seconds or ISO 8601."),
]


Actions = Annotated[list[str] | None, typer.Option("--action", help="Bind it to this action; may be repeated.")]
TagPrefix = Annotated[str | None, typer.Option(help="Bind it to tasks with a tag that begins so.")]


@app.command()
def create(
    label: Label,
    role: RoleOption,
    actions: Actions = None,
    tag_prefix: TagPrefix = None,
    days: Days = None,
    until: Until = None,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Make a key, and write it: it is shown this once."""
    if days is not None and until is not None:
        raise typer.BadParameter("--days and --until exclude each other")
    expires_in = None if days is None else days * 86400
    if url is None:
        from taskqueue.keys import make_key

        try:
            scope = Scope(actions=actions, tag_prefix=tag_prefix) if actions or tag_prefix else None
            wanted = KeyBody(label=label, role=role, scope=scope, expires_in=expires_in, expires_at=until)
            made = _in_the_database(lambda store: make_key(store, wanted, _deed(AuditedOperation.CREATE_KEY)))
        except ValidationError as error:
            wrong = [f"{item['loc'][0]}: {item['msg']}" for item in error.errors()]
            raise typer.BadParameter("; ".join(wrong)) from error
        except ValueError as error:
            raise typer.BadParameter(str(error)) from error
    else:
        with connect(url) as client:
            made = client.create_key(
                label, role, expires_in=expires_in, expires_at=until, actions=actions, tag_prefix=tag_prefix
            )
    typer.echo(made.to_json() if as_json else made.key)
    typer.echo(f"{made.id}: a key with the role {made.role}. It is not shown again.", err=True)


@app.command("list")
def show(url: Url = None, as_json: AsJson = False) -> None:
    """List the keys, newest first."""
    if url is None:
        from taskqueue.keys import all_keys

        keys = _in_the_database(all_keys)
    else:
        with connect(url) as client:
            keys = client.keys()
    if as_json:
        for key in keys:
            typer.echo(key.to_json())
        return
    rows = [
        (key.id, key.label, key.role.value, _bounds(key.scope), ago(key.created_at), _used(key), _end(key))
        for key in keys
    ]
    write(table(("id", "label", "role", "bound to", "age", "used", "ends"), rows))


@app.command()
def revoke(
    ids: Annotated[list[str], typer.Argument(metavar="ID...", help="As `taskqueue keys list` shows them.")],
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """End keys for good."""
    for id in ids:
        key = _revoke_in_the_database(id) if url is None else _revoke_at(url, id)
        if key is None:
            complain(f"no key has the id {id!r}")
            raise typer.Exit(NOT_FOUND)
        typer.echo(key.to_json() if as_json else f"{key.id}  revoked")


def _revoke_at(url: str, id: str) -> KeyAnswer | None:
    with connect(url) as client:
        try:
            return client.revoke_key(id)
        except NotFoundError:
            return None


def _revoke_in_the_database(id: str) -> KeyAnswer | None:
    from taskqueue.keys import end_key

    return _in_the_database(lambda store: end_key(store, id, _deed(AuditedOperation.REVOKE_KEY)))


def _deed(operation: AuditedOperation) -> "Deed":
    """Of whoever may write the database: no key was shown, and no request came from anywhere."""
    from taskqueue.store.audit import Deed

    return Deed(operation, key=None, label=None, address=None, request_id=None)


def _bounds(scope: Scope | None) -> str:
    if scope is None:
        return ""
    return " ".join([*(scope.actions or ()), *([f"{scope.tag_prefix}*"] if scope.tag_prefix else ())])


def _used(key: KeyAnswer) -> str:
    return "never" if key.last_used_at is None else ago(key.last_used_at)


def _end(key: KeyAnswer) -> str:
    if key.revoked_at is not None:
        return "revoked"
    if key.expires_at is None:
        return ""
    if key.expires_at <= time.time():
        return "expired"
    return f"{datetime.fromtimestamp(key.expires_at).astimezone():%Y-%m-%d %H:%M}"


def _in_the_database(ask: Callable[["Store"], Awaitable[T]]) -> T:
    """What is answered by the store that the settings of the environment name; while all runs, too."""
    from taskqueue.process import run_command
    from taskqueue.store import open_store

    answers: list[T] = []

    async def opened(settings: "Settings") -> None:
        async with open_store(settings.database, write_timeout=settings.write_timeout) as store:
            answers.append(await ask(store))

    run_command(lambda settings: asyncio.run(opened(settings)))
    return answers[0]
