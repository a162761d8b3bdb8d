"""`taskqueue new`: the folder that a project of one's own begins with.

`template/` holds its files, each with `.txt` at its name's end, so that no tool takes them for this package's.
"""

import keyword
import re
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from taskqueue_cli.connection import FAILED, USAGE
from taskqueue_cli.output import complain

_TEMPLATE = Path(__file__).with_name("template")
_SUFFIX = ".txt"
#: What is replaced by the project's name, in the files' names and in what they say.
_FOLDER, _PLACEHOLDER = "project", "{project}"
#: A module's name that may also be a part of an image's.
_NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")


def new(
    name: Annotated[
        str,
        typer.Argument(help="Of the folder, and of the package in it: lower-case letters, digits, underscores."),
    ],
) -> None:
    """Make a folder with a project of your own: actions, tests, a Dockerfile, a docker-compose.yml."""
    folder = Path(name)
    if reason := _objection(name) or _obstacle(folder):
        complain(reason)
        raise typer.Exit(USAGE)
    try:
        for source in sorted(_TEMPLATE.rglob(f"*{_SUFFIX}")):
            target = folder / _target(source.relative_to(_TEMPLATE), name)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(source.read_text("utf-8").replace(_PLACEHOLDER, name), "utf-8")
    except OSError as error:
        complain(f"{error.filename}: {error.strerror}")
        raise typer.Exit(FAILED) from error
    typer.echo(f"{folder}/ is made. {folder}/README.md says how to test, run and deploy it; to begin with:\n")
    typer.echo(f"  cd {folder}\n  taskqueue dev {name}")


def _objection(name: str) -> str | None:
    """Why a project can't have this name."""
    if not _NAME.fullmatch(name) or keyword.iskeyword(name):
        return (
            f"{name!r} can't be a project's name: lower-case letters, digits, single underscores, and no keyword"
        )
    if name == "tests" or name in sys.stdlib_module_names or find_spec(name) is not None:
        return f"{name!r} can't be a project's name: there is a module of this name already"
    return None


def _obstacle(folder: Path) -> str | None:
    """Why there can't be a project in this folder."""
    try:
        return f"{folder}/ is not empty" if any(folder.iterdir()) else None
    except FileNotFoundError:
        return None
    except OSError as error:
        return f"{folder}: {error.strerror}"


def _target(source: Path, name: str) -> Path:
    """Where a file of the template goes, in the project's folder."""
    parts = [name if part == _FOLDER else part for part in source.parts]
    parts[-1] = re.sub("^dot-", ".", parts[-1].removesuffix(_SUFFIX))
    return Path(*parts)
