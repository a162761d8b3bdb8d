"""How a task's arguments are written on the command line.

text=hello  width=200  'numbers=[1, 2]'     JSON where it is JSON, else text
'zip="01234"'                               so text that would be JSON stays text
'numbers:=[1, 2]'                           JSON, and an error if it is none
@file.json  @-                              all members of the object in a file, or on standard input
"""

import os
from pathlib import Path
from typing import Any

import typer
from pydantic_core import from_json


def read_arguments(words: list[str]) -> dict[str, Any]:
    """The arguments that these words say; what is said again counts, so that a file's can be changed.

    Raises:
        typer.BadParameter: a word says nothing, or what it says can't be read.
    """
    arguments: dict[str, Any] = {}
    for word in words:
        if word.startswith("@"):
            arguments |= _of_file(word[1:])
            continue
        name, equals, text = word.partition("=")
        if not equals or name in {"", ":"}:
            raise typer.BadParameter(f"{word!r} is neither key=value, key:=json nor @file")
        if name.endswith(":"):
            arguments[name[:-1]] = _json(os.fsencode(text), name[:-1])
        else:
            arguments[name] = _json_or_text(text, name)
    return arguments


def _of_file(name: str) -> dict[str, Any]:
    try:
        raw = typer.get_binary_stream("stdin").read() if name == "-" else Path(name).read_bytes()
    except OSError as error:
        raise typer.BadParameter(f"{name}: {error.strerror}") from error
    found = _json(raw, name)
    if not isinstance(found, dict):
        raise typer.BadParameter(f"{name}: a JSON object is needed")
    return found


def _json(text: bytes, where: str) -> Any:
    try:
        return from_json(text, allow_inf_nan=False)
    except ValueError as error:
        raise typer.BadParameter(f"{where}: not JSON: {error}") from error


def _json_or_text(text: str, name: str) -> Any:
    try:
        raw = text.encode()
    except UnicodeEncodeError:
        raise typer.BadParameter(f"{name}: not UTF-8") from None
    try:
        return from_json(raw, allow_inf_nan=False)
    except ValueError:
        return text
