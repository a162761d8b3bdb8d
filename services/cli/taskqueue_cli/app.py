"""The commands of `taskqueue`, in the groups in which its help shows them."""

from collections.abc import Callable
from typing import Annotated, Any

import typer

from taskqueue.version import VERSION
from taskqueue_cli import acting, dead, keys, new, overview, programs, reading, submitting, top
from taskqueue_cli.connection import Commands

app = typer.Typer(
    cls=Commands,
    help="A self-hosted background task queue: its programs, and a client for its API.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _tell_version(asked: bool) -> None:
    if asked:
        typer.echo(f"taskqueue {VERSION}")
        raise typer.Exit


@app.callback()
def _options(
    _: Annotated[
        bool, typer.Option("--version", callback=_tell_version, is_eager=True, help="Tell the version.")
    ] = False,
) -> None: ...


COMMANDS: dict[str, dict[str, Callable[..., Any]]] = {
    "Tasks, at the API that --url or TASKQUEUE_URL names": {
        "submit": submitting.submit,
        "list": reading.find,
        "show": reading.show,
        "wait": reading.wait,
        "watch": reading.watch,
        "cancel": acting.cancel,
        "retry": acting.retry,
        "delete": acting.delete,
    },
    "What goes on, at the same API": {
        "top": top.top,
        "overview": overview.overview,
        "errors": overview.errors,
        "stats": overview.stats,
        "workers": overview.workers,
        "actions": overview.actions,
        "tags": overview.tags,
        "audit": overview.audit,
    },
    "A project of your own": {
        "new": new.new,
    },
    "Programs (their settings are environment variables, TASKQUEUE_...)": {
        "dev": programs.dev,
        "embedded": programs.embedded,
        "api": programs.api,
        "worker": programs.worker,
        "migrate": programs.migrate,
    },
    "Upkeep (beside the programs, with their settings)": {
        "backup": programs.backup,
        "shrink": programs.shrink,
    },
}

for group, commands in COMMANDS.items():
    for name, command in commands.items():
        app.command(name, rich_help_panel=group)(command)
app.add_typer(keys.app, name="keys", rich_help_panel="Keys of the API")
app.add_typer(dead.app, name="dead", rich_help_panel="Upkeep (beside the programs, with their settings)")
