"""Files of tasks, one a line as JSON: read whole before the first task is submitted."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import typer
from pydantic import ValidationError

from taskqueue.contract.requests import SubmitBody


class TaskFile:
    """A file of tasks. Empty lines are none."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    @classmethod
    @contextmanager
    def open(cls, name: str) -> Iterator["TaskFile"]:
        """Open a file, or standard input by the name `-`, which is copied first.

        Raises:
            typer.BadParameter: it can't be read.
        """
        try:
            with tempfile.TemporaryFile() if name == "-" else Path(name).open("rb") as file:
                if name == "-":
                    shutil.copyfileobj(typer.get_binary_stream("stdin"), file)
                yield cls(file)
        except OSError as error:
            raise typer.BadParameter(f"{name}: {error.strerror}") from error

    def check(self) -> tuple[int, list[str]]:
        """Read all tasks: how many there are, and what is wrong with which line."""
        count = 0
        wrong: list[str] = []
        for number, line in self._numbered():
            count += 1
            try:
                SubmitBody.model_validate_json(line)
            except ValidationError as error:
                wrong.append(f"line {number}: {_first(error)}")
        return count, wrong

    def tasks(self) -> Iterator[SubmitBody]:
        """The tasks, in their order; `check` has found nothing wrong with them."""
        for _, line in self._numbered():
            yield SubmitBody.model_validate_json(line)

    def line(self, place: int) -> int:
        """The number of the line, from 1, on which a task stands, counted from 0."""
        return next(number for count, (number, _) in enumerate(self._numbered()) if count == place)

    def _numbered(self) -> Iterator[tuple[int, bytes]]:
        self._file.seek(0)
        return ((number, line) for number, line in enumerate(self._file, 1) if line.strip())


def _first(error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    where = ".".join(map(str, first["loc"]))
    return f"{where}: {first['msg']}" if where else first["msg"]
