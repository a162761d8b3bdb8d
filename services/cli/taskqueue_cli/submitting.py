"""`taskqueue submit`: one task, or a file of them."""

import json
import re
from collections.abc import Iterable, Iterator
from typing import Annotated, Any, Literal, TypeVar

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from taskqueue.client import BatchError, RefusedError, SubmitOptions, TaskqueueError
from taskqueue.client.handles import Handle
from taskqueue.task import Status
from taskqueue_cli.arguments import read_arguments
from taskqueue_cli.batches import TaskFile
from taskqueue_cli.connection import FAILED, HERE, USAGE, Url, connect, exit_code, explain
from taskqueue_cli.options import moment
from taskqueue_cli.output import AsJson, complain, console, plain, value, write

T = TypeVar("T")

#: Wrong lines of a file that are told, at most.
_TOLD = 20
#: How the API names a task of a batch: by its place there, which is not its line in the file.
_PLACE = re.compile(r"^(line \d+: |tasks\.\d+(\.|: | ))")


def submit(
    action: Annotated[str | None, typer.Argument(help="The action's name.", show_default=False)] = None,
    arguments: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[KEY=VALUE | KEY:=JSON | @FILE]...",
            help="Its arguments. A value is JSON where it is JSON, else text; @FILE has a JSON object, "
            "and @- is standard input.",
        ),
    ] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Wait for the task, and write its result.")] = False,
    delay: Annotated[float | None, typer.Option(metavar="SECONDS", help="Not to be started within these.")] = None,
    run_at: Annotated[
        float | None,
        typer.Option(parser=moment, metavar="TIME", help="Not to be started before: Unix seconds or ISO 8601."),
    ] = None,
    priority: Annotated[
        Literal["high", "normal", "low"] | None, typer.Option(help="Which of the waiting go first.")
    ] = None,
    max_attempts: Annotated[int | None, typer.Option(help="Attempts until it has failed.")] = None,
    timeout: Annotated[float | None, typer.Option(metavar="SECONDS", help="How long an attempt may take.")] = None,
    tag: Annotated[list[str] | None, typer.Option(help="To find it by; may be repeated.")] = None,
    key: Annotated[str | None, typer.Option(help="With the same key, a task is accepted once.")] = None,
    batch: Annotated[
        str | None,
        typer.Option(
            metavar="FILE", help="Submit the tasks in a file (- is standard input), instead: one a line, as JSON."
        ),
    ] = None,
    url: Url = HERE,
    as_json: AsJson = False,
) -> None:
    """Submit a task, and write its id.

    With --wait, its result is written instead, and the exit code is 1 if it has none.
    """
    options: dict[str, Any] = {
        "delay": delay,
        "run_at": run_at,
        "priority": priority,
        "max_attempts": max_attempts,
        "timeout": timeout,
        "tags": tag or None,
        "key": key,
    }
    given: Any = {name: option for name, option in options.items() if option is not None}
    if batch is not None:
        if action is not None or given or wait:
            raise typer.BadParameter("each line of --batch says all about its task: nothing goes with it")
        _submit_file(batch, url, as_json)
    elif action is None:
        raise typer.BadParameter("name an action, or a file with --batch")
    else:
        _submit_one(action, read_arguments(arguments or []), given, wait, url, as_json)


def _submit_one(
    action: str, data: dict[str, Any], options: SubmitOptions, wait: bool, url: str, as_json: bool
) -> None:
    with connect(url) as client:
        handle = client.submit(action, data, **options)
    if not wait:
        typer.echo(_accepted(handle) if as_json else handle.id)
        return
    with connect(url, patient=True) as client, console(stderr=True).status(f"{handle.id} {plain(action)}"):
        task = client.wait(handle.id)
    if as_json:
        typer.echo(task.to_json())
    elif task.status is Status.COMPLETED:
        write(value(task.result))
    else:
        error = f": {task.error.type}: {task.error.message}" if task.error else ""
        complain(f"task {task.id} is {task.status}{error}")
    if task.status is not Status.COMPLETED:
        raise typer.Exit(FAILED)


def _submit_file(name: str, url: str, as_json: bool) -> None:
    with TaskFile.open(name) as file:
        count, wrong = file.check()
        if wrong:
            more = [f"... and {len(wrong) - _TOLD:,} more"] if len(wrong) > _TOLD else []
            complain("\n".join(["nothing was submitted:", *wrong[:_TOLD], *more]))
            raise typer.Exit(USAGE)
        try:
            with connect(url) as client:
                client.check_many(_with_bar("checking", file.tasks(), count))
            # Somebody is there, and takes them all: from now on, patience.
            with connect(url, patient=True) as client:
                for handle in _with_bar("submitting", client.submit_many(file.tasks()), count):
                    if as_json:
                        typer.echo(_accepted(handle))
        except BatchError as error:
            complain(_explain(error, file))
            raise typer.Exit(exit_code(_cause(error))) from error
    if not as_json:
        typer.echo(f"{count:,} tasks submitted")


def _with_bar(what: str, items: Iterable[T], count: int) -> Iterator[T]:
    """The same, while a bar on the terminal grows."""
    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    screen = console(stderr=True)
    with Progress(*columns, console=screen, transient=True, disable=not screen.is_terminal) as progress:
        yield from progress.track(items, total=count)


def _explain(error: BatchError, file: TaskFile) -> str:
    """Which lines are accepted, which are not, and of which nobody knows."""
    told = _wrong_lines(error, file) or [explain(_cause(error))]
    if error.dry_run:
        return "\n".join(["nothing was submitted:", *told])
    first, last = file.line(error.batch.start), file.line(error.batch.stop - 1)
    lines = f"line {first}" if first == last else f"lines {first} to {last}"
    told.append(f"{error.accepted:,} tasks before were submitted")
    if error.unknown:
        told.append(f"{lines}: unknown; they may have been submitted or not")
    else:
        told.append(f"{lines}: not submitted")
    told.append("what follows was not sent")
    return "\n".join(told)


def _wrong_lines(error: BatchError, file: TaskFile) -> list[str]:
    cause = _cause(error)
    if error.index is None or not isinstance(cause, RefusedError):
        return []
    wrong = [
        (error.batch.start + detail.index, detail.error) for detail in cause.details if detail.index is not None
    ]
    return [
        f"line {file.line(place)}: {_PLACE.sub('', text)}" for place, text in wrong or [(error.index, cause.error)]
    ]


def _cause(error: BatchError) -> TaskqueueError:
    assert isinstance(error.__cause__, TaskqueueError)
    return error.__cause__


def _accepted(handle: Handle[Any]) -> str:
    return json.dumps({"id": handle.id, "status": handle.status}, separators=(",", ":"))
