"""`taskqueue dead`: the dead letters, at an API or with the broker itself."""

import asyncio
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from taskqueue.contract.dead_letters import DeadLetterAnswer, EndedLettersAnswer
from taskqueue_cli.connection import connect
from taskqueue_cli.output import AsJson, ago, table, write

if TYPE_CHECKING:
    from taskqueue.settings import Settings

app = typer.Typer(
    help="See to the dead letters, messages that can't be tasks: at the API that --url or TASKQUEUE_URL names, "
    "with the key in TASKQUEUE_KEY; where neither names one, with the broker itself, by the programs' settings.",
    no_args_is_help=True,
)

#: Unlike other commands', it has no default: without it nothing is asked of an API.
Url = Annotated[
    str | None, typer.Option(envvar="TASKQUEUE_URL", help="Where the API is; else the broker is asked itself.")
]
Limit = Annotated[int, typer.Option(min=1, help="Look at the oldest so many only; an API takes 1000 at most.")]
Ids = Annotated[list[str] | None, typer.Argument(metavar="[ID]...", help="As `taskqueue dead list` shows them.")]
All = Annotated[bool, typer.Option("--all", help="All that `taskqueue dead list` shows.")]

#: Characters of a message that a table shows.
_SHOWN = 200


@app.command("list")
def show(limit: Limit = 1000, url: Url = None, as_json: AsJson = False) -> None:
    """Show them: id, age, reason and message."""
    letters, total = _seen_at(url, limit) if url else _seen_with_the_broker(limit)
    if as_json:
        for letter in letters:
            typer.echo(letter.to_json())
        return
    rows = [(letter.id, _age(letter), letter.reason, _excerpt(letter)) for letter in letters]
    write(table(("id", "age", "reason", "message"), rows))
    typer.echo(f"{total} dead letters" + (f", the oldest {len(letters)} shown" if total > len(letters) else ""))


@app.command()
def requeue(
    ids: Ids = None, everything: All = False, limit: Limit = 1000, url: Url = None, as_json: AsJson = False
) -> None:
    """Put them back into the queue of tasks."""
    _end("requeue", ids, everything, limit, url, as_json)


@app.command()
def drop(
    ids: Ids = None, everything: All = False, limit: Limit = 1000, url: Url = None, as_json: AsJson = False
) -> None:
    """Delete them for good."""
    _end("drop", ids, everything, limit, url, as_json)


def _end(
    verb: Literal["requeue", "drop"],
    ids: list[str] | None,
    everything: bool,
    limit: int,
    url: str | None,
    as_json: bool,
) -> None:
    if bool(ids) == everything:
        raise typer.BadParameter("name them, or say --all")
    chosen = None if everything else ids
    if url:
        with connect(url) as client:
            end = client.requeue_dead_letters if verb == "requeue" else client.drop_dead_letters
            ended = end(chosen, limit=limit)
    else:
        ended = _ended_with_the_broker(verb, chosen, limit)
    if as_json:
        typer.echo(ended.to_json())
        return
    more = f"; {ended.left} are left" if everything and ended.left else ""
    typer.echo(f"{ended.count} {'requeued' if verb == 'requeue' else 'dropped'}{more}")


def _seen_at(url: str, limit: int) -> tuple[list[DeadLetterAnswer], int]:
    with connect(url) as client:
        answer = client.dead_letters(limit)
    return answer.letters, answer.total


def _seen_with_the_broker(limit: int) -> tuple[list[DeadLetterAnswer], int]:
    from taskqueue.broker import open_broker
    from taskqueue.process import run_command
    from taskqueue_worker.dead import seen

    answers: list[tuple[list[DeadLetterAnswer], int]] = []

    def run(settings: "Settings") -> None:
        broker = open_broker(settings.broker, settings.queue)
        answers.append(asyncio.run(seen(broker, limit)))

    run_command(run)
    return answers[0]


def _ended_with_the_broker(
    verb: Literal["requeue", "drop"], ids: list[str] | None, limit: int
) -> EndedLettersAnswer:
    from taskqueue.broker import open_broker
    from taskqueue.process import run_command
    from taskqueue_worker.dead import end_known

    answers: list[EndedLettersAnswer] = []

    def run(settings: "Settings") -> None:
        broker = open_broker(settings.broker, settings.queue)
        ended = asyncio.run(end_known(broker, verb, ids, limit))
        answers.append(EndedLettersAnswer(count=ended.count, left=ended.left))

    run_command(run)
    return answers[0]


def _age(letter: DeadLetterAnswer) -> str:
    return "" if letter.died_at is None else ago(letter.died_at)


def _excerpt(letter: DeadLetterAnswer) -> str:
    text = letter.message
    return repr(text if len(text) <= _SHOWN else text[:_SHOWN] + "...")
