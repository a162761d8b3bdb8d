"""`make bench`: measures all systems in alternating rounds, and writes bench/README.md.

With `--only`, measures what is named, and prints it.
"""

import argparse
import asyncio
import signal
import sys
import tempfile
from contextlib import AsyncExitStack
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
from bench.variants import BESIDE, Variant, of

_DOCUMENT = Path(__file__).with_name("README.md")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser("bench", description="Compare taskqueue with a floor and its peers.")
    parser.add_argument("--rounds", type=int, default=5, help="alternating rounds (default: 5)")
    parser.add_argument("--only", default="", help="names, separated by commas; the result is then only printed")
    parser.add_argument("--before", default="", help="a git ref whose code is measured too, in the same rounds")
    return parser.parse_args()


async def _bench(arguments: argparse.Namespace, folder: Path) -> str:
    async with AsyncExitStack() as stack:
        ours = of(Code(Path(__file__).parents[1]), "ours")
        if arguments.before:
            code = await stack.enter_async_context(code_at(arguments.before, folder))
            pairs = zip(ours, of(code, "before"), strict=True)
            ours = [variant for pair in pairs for variant in pair]
        chosen = _choose([*BESIDE, *ours], arguments.only)
        broker = await stack.enter_async_context(rabbitmq())
        machine = in_words(await broker.version())
        most, cost = await ceiling(folder)
        results = await _rounds(chosen, arguments.rounds, broker)
    return "\n\n".join(
        [
            f"On {machine}. {arguments.rounds} rounds.",
            report.claims(results),
            report.figures(chosen, results),
            report.ceiling(most, cost),
        ]
    )


def _choose(variants: list[Variant], only: str) -> list[Variant]:
    if not only:
        return variants
    names = set(only.split(","))
    if unknown := names - {variant.name for variant in variants}:
        known = ", ".join(variant.name for variant in variants)
        raise FailedError(f"nothing is named {', '.join(unknown)}; there are {known}")
    # What was before comes along with what is now.
    names |= {name.replace("ours-", "before-") for name in names}
    return [variant for variant in variants if variant.name in names]


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
        text = await _bench(arguments, Path(folder))
    _say(f"\n{text}")
    if not arguments.only:
        report.write(_DOCUMENT, text)


if __name__ == "__main__":
    try:
        uvloop.run(_main())
    except (FailedError, RefusedError) as error:
        sys.exit(f"bench: {error}")
