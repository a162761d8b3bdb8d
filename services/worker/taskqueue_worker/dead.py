"""`taskqueue-worker dead`: list the dead letters, put them back into the queue, or drop them."""

import argparse
import asyncio

from taskqueue.broker.rabbitmq.dead_letters import DeadLetters
from taskqueue.process import FatalError
from taskqueue.settings import Settings

#: Characters of a message that a listing shows.
_SHOWN = 200


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    verbs = parser.add_subparsers(dest="verb", required=True)
    verbs.add_parser("list", help="show them: id, reason, message")
    for verb, help_ in (("requeue", "put them back into the queue"), ("drop", "delete them for good")):
        command = verbs.add_parser(verb, help=help_)
        which = command.add_mutually_exclusive_group(required=True)
        which.add_argument("--all", action="store_true", help="all that `list` shows")
        which.add_argument("ids", nargs="*", default=[], metavar="ID", help="as `list` shows them")
    parser.add_argument("--limit", type=int, default=1000, help="look at the oldest LIMIT only (1000)")


def run(settings: Settings, arguments: argparse.Namespace) -> None:
    """Do what the arguments say.

    Raises:
        FatalError: an id is not among the dead letters; nothing was changed.
        BrokerError: the broker can't be reached.
    """
    asyncio.run(_run(settings, arguments))


async def _run(settings: Settings, arguments: argparse.Namespace) -> None:
    url = settings.broker
    async with DeadLetters.open(url, settings.queue, limit=arguments.limit) as letters:
        if arguments.verb == "list":
            _print(letters)
            return
        listed = [letter.id for letter in letters.listed]
        ids = listed if arguments.all else list(dict.fromkeys(arguments.ids))
        if unknown := sorted(set(ids) - set(listed)):
            raise FatalError(f"no dead letter has the id {', '.join(unknown)}; nothing was changed")
        for id in ids:
            await (letters.requeue(id) if arguments.verb == "requeue" else letters.drop(id))
        print(f"{len(ids)} {'requeued' if arguments.verb == 'requeue' else 'dropped'}")  # noqa: T201  # its answer


def _print(letters: DeadLetters) -> None:
    shown = letters.listed
    for letter in shown:
        body = letter.body[: _SHOWN + 1].decode(errors="backslashreplace")
        text = body if len(body) <= _SHOWN else body[:_SHOWN] + "..."
        print(f"{letter.id}\t{_printable(letter.reason)}\t{text!r}")  # noqa: T201  # its answer
    more = f", the oldest {len(shown)} shown" if letters.count > len(shown) else ""
    print(f"{letters.count} dead letters{more}")  # noqa: T201  # its answer


def _printable(text: str) -> str:
    """A reason may be anybody's: it must not break the line, or reach the terminal as a command."""
    return "".join(character if character.isprintable() else "?" for character in text)
