"""What can be done with the dead letters: look at them, put them back into the queue, or drop them."""

import argparse
import asyncio
from typing import Literal

from taskqueue.broker.rabbitmq.dead_letters import DeadLetter, DeadLetters
from taskqueue.process import FatalError
from taskqueue.settings import Settings

#: Dead letters that are looked at, if nobody says how many.
LIMIT = 1000
#: Characters of a message that a listing shows.
_SHOWN = 200

Verb = Literal["requeue", "drop"]


async def look(settings: Settings, limit: int) -> tuple[list[DeadLetter], int]:
    """The oldest dead letters, and how many there are in all.

    Raises:
        BrokerError: the broker can't be reached.
    """
    async with DeadLetters.open(settings.broker, settings.queue, limit=limit) as letters:
        return letters.listed, letters.count


async def end(settings: Settings, verb: Verb, ids: list[str] | None, limit: int) -> int:
    """Put dead letters back into the queue or drop them, and tell how many.

    Args:
        ids: as `look` tells them; None is all among the oldest `limit`.

    Raises:
        FatalError: an id is not among the dead letters; nothing was changed.
        BrokerError: the broker can't be reached.
    """
    async with DeadLetters.open(settings.broker, settings.queue, limit=limit) as letters:
        listed = [letter.id for letter in letters.listed]
        chosen = listed if ids is None else list(dict.fromkeys(ids))
        if unknown := sorted(set(chosen) - set(listed)):
            raise FatalError(f"no dead letter has the id {', '.join(unknown)}; nothing was changed")
        for id in chosen:
            await (letters.requeue(id) if verb == "requeue" else letters.drop(id))
        return len(chosen)


def excerpt(letter: DeadLetter) -> str:
    """The beginning of its message, as it may be printed."""
    body = letter.body[: _SHOWN + 1].decode(errors="backslashreplace")
    return repr(body if len(body) <= _SHOWN else body[:_SHOWN] + "...")


def printable(text: str) -> str:
    """A reason may be anybody's: it must not break the line, or reach the terminal as a command."""
    return "".join(character if character.isprintable() else "?" for character in text)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `taskqueue-worker dead`."""
    verbs = parser.add_subparsers(dest="verb", required=True)
    verbs.add_parser("list", help="show them: id, reason, message")
    for verb, help_ in (("requeue", "put them back into the queue"), ("drop", "delete them for good")):
        command = verbs.add_parser(verb, help=help_)
        which = command.add_mutually_exclusive_group(required=True)
        which.add_argument("--all", action="store_true", help="all that `list` shows")
        which.add_argument("ids", nargs="*", default=[], metavar="ID", help="as `list` shows them")
    parser.add_argument("--limit", type=int, default=LIMIT, help=f"look at the oldest LIMIT only ({LIMIT})")


def run(settings: Settings, arguments: argparse.Namespace) -> None:
    """Do what the arguments of `taskqueue-worker dead` say.

    Raises:
        FatalError, BrokerError: as `end`.
    """
    if arguments.verb == "list":
        letters, count = asyncio.run(look(settings, arguments.limit))
        for letter in letters:
            print(f"{letter.id}\t{printable(letter.reason)}\t{excerpt(letter)}")  # noqa: T201  # its answer
        more = f", the oldest {len(letters)} shown" if count > len(letters) else ""
        print(f"{count} dead letters{more}")  # noqa: T201  # its answer
    else:
        ids = None if arguments.all else arguments.ids
        ended = asyncio.run(end(settings, arguments.verb, ids, arguments.limit))
        print(f"{ended} {'requeued' if arguments.verb == 'requeue' else 'dropped'}")  # noqa: T201  # its answer
