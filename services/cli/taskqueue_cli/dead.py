"""`taskqueue dead`: the dead letters in RabbitMQ, reached with the settings of the environment."""

import asyncio
import json
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from taskqueue_cli.output import AsJson, table, write

if TYPE_CHECKING:
    from taskqueue.settings import Settings

app = typer.Typer(help="See to the dead letters: messages in RabbitMQ that can't be tasks.", no_args_is_help=True)

Limit = Annotated[int, typer.Option(min=1, help="Look at the oldest so many only.")]
Ids = Annotated[list[str] | None, typer.Argument(metavar="[ID]...", help="As `taskqueue dead list` shows them.")]
All = Annotated[bool, typer.Option("--all", help="All that `taskqueue dead list` shows.")]


@app.command("list")
def list_letters(limit: Limit = 1000, as_json: AsJson = False) -> None:
    """Show them: id, reason and message."""
    from taskqueue.process import run_command

    run_command(lambda settings: _show(settings, limit, as_json))


@app.command()
def requeue(ids: Ids = None, everything: All = False, limit: Limit = 1000) -> None:
    """Put them back into the queue of tasks."""
    _end("requeue", ids, everything, limit)


@app.command()
def drop(ids: Ids = None, everything: All = False, limit: Limit = 1000) -> None:
    """Delete them for good."""
    _end("drop", ids, everything, limit)


def _show(settings: "Settings", limit: int, as_json: bool) -> None:
    from taskqueue_worker.dead import broker_of, excerpt, seen

    letters, count = asyncio.run(seen(broker_of(settings), limit))
    if as_json:
        for letter in letters:
            typer.echo(json.dumps({"id": letter.id, "reason": letter.reason, "message": letter.text}))
        return
    rows = [(letter.id, letter.reason, excerpt(letter)) for letter in letters]
    write(table(("id", "reason", "message"), rows))
    typer.echo(f"{count} dead letters" + (f", the oldest {len(letters)} shown" if count > len(letters) else ""))


def _end(verb: Literal["requeue", "drop"], ids: list[str] | None, everything: bool, limit: int) -> None:
    from taskqueue.process import run_command
    from taskqueue_worker.dead import broker_of, end_known, told

    if bool(ids) == everything:
        raise typer.BadParameter("name them, or say --all")

    def run(settings: "Settings") -> None:
        ended = asyncio.run(end_known(broker_of(settings), verb, None if everything else ids, limit))
        typer.echo(told(verb, ended))

    run_command(run)
