"""`taskqueue-worker dead`: the dead letters of the broker that the settings name."""

import argparse
import asyncio

from taskqueue.broker import Broker, open_broker
from taskqueue.contract.dead_letters import DeadLetterAnswer
from taskqueue.dead_letters import Ended, Verb, end, look, unknown
from taskqueue.process import FatalError
from taskqueue.settings import Settings

#: Dead letters that are looked at, if nobody says how many.
LIMIT = 1000
#: Characters of a message that a listing shows.
_SHOWN = 200


async def seen(broker: Broker, limit: int) -> tuple[list[DeadLetterAnswer], int]:
    """The oldest dead letters, and how many there are in all.

    Raises:
        BrokerError: the broker can't be asked now.
    """
    async with broker.dead_letters(limit) as letters:
        return await look(letters), letters.count


async def end_known(broker: Broker, verb: Verb, ids: list[str] | None, limit: int) -> Ended:
    """Put dead letters back into the queue or drop them, and tell how many.

    Args:
        ids: as `seen` tells them; None is all among the oldest `limit`.

    Raises:
        FatalError: an id is not among the dead letters, and nothing was changed; or the broker went away amid it.
        BrokerError: the broker can't be reached.
    """
    if ids is not None:
        async with broker.dead_letters(limit) as letters:
            if missing := await unknown(letters, ids):
                raise FatalError(f"no dead letter has the id {', '.join(sorted(missing))}; nothing was changed")
    async with broker.dead_letters(limit) as letters:
        ended = await end(letters, verb, ids)
    if ended.problem:
        raise FatalError(f"{told(verb, ended.count)}; then: {ended.problem}")
    return ended


def told(verb: Verb, count: int) -> str:
    """What was done, in words."""
    return f"{count} {'requeued' if verb == 'requeue' else 'dropped'}"


def excerpt(letter: DeadLetterAnswer) -> str:
    """The beginning of its message, as it may be printed."""
    text = letter.message
    return repr(text if len(text) <= _SHOWN else text[:_SHOWN] + "...")


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
    broker = open_broker(settings.broker, settings.queue)
    if arguments.verb == "list":
        letters, count = asyncio.run(seen(broker, arguments.limit))
        for letter in letters:
            print(f"{letter.id}\t{printable(letter.reason)}\t{excerpt(letter)}")  # noqa: T201  # its answer
        more = f", the oldest {len(letters)} shown" if count > len(letters) else ""
        print(f"{count} dead letters{more}")  # noqa: T201  # its answer
    else:
        ids = None if arguments.all else arguments.ids
        ended = asyncio.run(end_known(broker, arguments.verb, ids, arguments.limit))
        print(told(arguments.verb, ended.count))  # noqa: T201  # its answer
