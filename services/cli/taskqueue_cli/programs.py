"""The commands that run here, with the settings of the environment: what a deployment consists of, and its upkeep.

Each imports what it runs only when it is called: the commands of the client need none of it.
"""

import logging
import os
import shlex
import sys
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from taskqueue.settings import PREFIX

#: Seconds that the running tasks have when `dev` reloads; what isn't done then is begun anew, at no cost.
_DEV_DRAIN = "1"
#: Seconds after which `dev` kills what has not stopped.
_DEV_STOP = 10


def dev(
    modules: Annotated[
        list[str] | None,
        typer.Argument(metavar="[MODULE]...", help="Where your actions are; else as TASKQUEUE_HANDLERS says."),
    ] = None,
    watch: Annotated[
        list[Path] | None, typer.Option(exists=True, help="Folder whose Python files are watched; else this one.")
    ] = None,
) -> None:
    """Run it all in one process, and anew whenever a Python file changes.

    Modules are looked for in this folder, too. Tasks are kept in the folder `data`.
    """
    from watchfiles import PythonFilter, run_process

    here = str(Path.cwd())
    sys.path.insert(0, here)
    for module in modules or ():
        if not _exists(module):
            raise typer.BadParameter(f"there is no module {module!r} in {here} or among what is installed")
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [here, os.environ.get("PYTHONPATH")]))
    if modules:
        os.environ[f"{PREFIX}HANDLERS"] = ",".join(modules)
    os.environ.setdefault(f"{PREFIX}DRAIN_TIMEOUT", _DEV_DRAIN)
    os.environ.setdefault(f"{PREFIX}LOG_FORMAT", "text")
    logging.getLogger("watchfiles").setLevel(logging.ERROR)  # it warns of each end, be it Ctrl-C
    run_process(
        *(watch or [Path(here)]),
        target=shlex.join([sys.executable, "-m", "taskqueue_cli", "embedded"]),
        target_type="command",
        watch_filter=PythonFilter(),
        callback=lambda changes: typer.echo(f"{_names(changes)} changed: starting again", err=True),
        sigint_timeout=_DEV_STOP,
        debounce=200,
    )


def embedded() -> None:
    """Run API, worker and a queue in memory in one process, without Docker."""
    from taskqueue_embedded.__main__ import main

    main()


def api() -> None:
    """Serve the REST API."""
    from taskqueue_api.__main__ import main

    main()


def worker() -> None:
    """Run tasks."""
    from taskqueue.process import run_service
    from taskqueue_worker.__main__ import run_tasks

    run_service(run_tasks)


def migrate() -> None:
    """Make the database, or bring its schema up to date."""
    from taskqueue.process import run_command
    from taskqueue_migrate.__main__ import bring_up_to_date

    run_command(bring_up_to_date)


def backup(path: Annotated[Path, typer.Argument(help="The new file.")]) -> None:
    """Write a consistent copy of the database, while all runs."""
    from taskqueue.process import run_command
    from taskqueue_migrate.__main__ import copy_database

    run_command(lambda settings: copy_database(settings, path))


def shrink() -> None:
    """Give the room that deleted tasks left in the database back to the disk, while all runs."""
    from taskqueue.process import run_command
    from taskqueue_migrate.__main__ import give_room_back

    run_command(give_room_back)


def _exists(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:
        return False
    except Exception:  # a package that can't be imported: the program itself says why, and is started again
        return True


def _names(changes: Iterable[tuple[object, str]]) -> str:
    return ", ".join(sorted({Path(path).name for _, path in changes}))
