"""`make bench`: measures all systems in alternating rounds, and writes bench/README.md.

With `--only`, measures what is named, and only prints it, unless told to write.
"""

import argparse
import asyncio
import signal
import sys
import tempfile
from pathlib import Path

import uvloop

from bench import report
from bench.ceiling import ceiling
from bench.load import RefusedError
from bench.machine import in_words
from bench.measure import measure
from bench.ours import Code, code_at
from bench.processes import FailedError
from bench.rabbitmq import RabbitMQ, rabbitmq
from bench.sections import SECTIONS, Bench
from bench.variants import BESIDE, Variant, of

_DOCUMENT = Path(__file__).with_name("README.md")
_STORES = (10_000, 1_000_000)
_LONG_STORES = (*_STORES, 10_000_000)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser("bench", description="Compare taskqueue with a floor and its peers.")
    parser.add_argument("--rounds", type=int, default=5, help="alternating rounds (default: 5)")
    parser.add_argument("--only", default="", help="names, separated by commas; the result is then only printed")
    parser.add_argument("--write", action="store_true", help="write it to bench/README.md all the same")
    parser.add_argument("--before", default="", help="a git ref whose code is measured too, in the same rounds")
    parser.add_argument("--long", action="store_true", help="with a store of 10,000,000 tasks, too")
    return parser.parse_args()


async def _bench(arguments: argparse.Namespace, folder: Path) -> dict[str, str]:
    """What was measured, by what it is called."""
    codes = {"ours": Code(Path(__file__).parents[1])}
    if arguments.before:
        codes["before"] = await code_at(arguments.before, folder)
    by_code = [of(code, whose) for whose, code in codes.items()]
    variants = BESIDE + [variant for group in zip(*by_code, strict=True) for variant in group]
    chosen, sections = _choose(variants, arguments.only)
    async with rabbitmq() as broker:
        machine = f"On {in_words(await broker.version())}. Rounds: {arguments.rounds}."
        parts: dict[str, str] = {}
        bench = Bench(broker, arguments.rounds, codes, _LONG_STORES if arguments.long else _STORES)
        if chosen:
            most, cost = await ceiling(folder)
            results = await _rounds(chosen, arguments.rounds, broker)
            tables = [report.claims(results), report.figures(chosen, results), report.ceiling(most, cost)]
            parts["rounds"] = "\n\n".join([machine, *tables])
        for name in sections:
            _say(f"{name} ...")
            parts[name] = f"{machine}\n\n{await SECTIONS[name](bench)}"
            _say(parts[name])
    return parts


def _choose(variants: list[Variant], only: str) -> tuple[list[Variant], list[str]]:
    """The variants and the sections that are asked for."""
    if not only:
        return variants, list(SECTIONS)
    names = set(only.split(","))
    known = [*(variant.name for variant in variants), *SECTIONS]
    if unknown := names.difference(known):
        raise FailedError(f"nothing is named {', '.join(unknown)}; there are {', '.join(known)}")
    # What was before comes along with what is now.
    names |= {name.replace("ours-", "before-") for name in names}
    return [it for it in variants if it.name in names], [name for name in SECTIONS if name in names]


async def _rounds(variants: list[Variant], rounds: int, broker: RabbitMQ) -> report.Results:
    results: report.Results = {variant.name: [] for variant in variants}
    for number in range(rounds):
        # Every second one backwards, so that none always comes after the same one.
        for variant in variants if number % 2 == 0 else reversed(variants):
            with tempfile.TemporaryDirectory() as folder:
                outcome = await measure(variant.start, variant.load, broker, Path(folder))
            results[variant.name].append(outcome)
            _say(
                f"round {number + 1}: {variant.name:<20} {outcome.finished:6,.0f} tasks/s end to end, "
                f"{outcome.accepted:6,.0f} accepted/s"
            )
    return results


def _say(line: str) -> None:
    print(line, flush=True)  # noqa: T201  # what the command is for


async def _main() -> None:
    main = asyncio.current_task()
    assert main is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, main.cancel)
    arguments = _arguments()
    with tempfile.TemporaryDirectory() as folder:
        parts = await _bench(arguments, Path(folder))
    _say("\n" + "\n\n".join(parts.values()))
    if arguments.write or not arguments.only:
        report.write(_DOCUMENT, parts)


if __name__ == "__main__":
    try:
        uvloop.run(_main())
    except (FailedError, RefusedError) as error:
        sys.exit(f"bench: {error}")
    except (asyncio.CancelledError, KeyboardInterrupt):
        sys.exit("bench: stopped")
