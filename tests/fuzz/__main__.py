"""`make fuzz`: so many inputs at a running API, and at a queue; ends with code 1 at the first wrong answer.

What was answered wrongly is added to the corpus, which the short form tries each time from then on.
"""

import argparse
import asyncio
import re
import secrets
import sys
import tempfile
import time
from collections import Counter, deque
from collections.abc import Awaitable, Callable
from pathlib import Path
from random import Random

import uvloop
from tests.conformance.server import RabbitServer
from tests.conftest import missing_docker
from tests.fuzz.answers import WrongAnswerError
from tests.fuzz.corpus import entries, save
from tests.fuzz.messages import any_message
from tests.fuzz.requests import KINDS, TOGETHER
from tests.fuzz.strangers import Strangers
from tests.fuzz.target import Target, Volley
from tests.integration.openapi.generated import run_schemathesis

#: How often each kind of volley is sent. A stream is watched until it is quiet, which takes long.
WEIGHTS = {"broken": 60, "bodies": 2, "manners": 8, "streams": 1}
#: Volleys under way at a time.
CONNECTIONS = 64
#: Volleys that are suspected of what is logged, and how often each is sent again, alone.
LOOKED_BACK, AGAIN = 500, 3
#: The shares of the inputs that schemathesis makes, about, and that are messages.
GENERATED, MESSAGES = 0.02, 0.05
#: schemathesis sends some 1,300 requests whatever it is told, and for each example about 16: one an operation.
OPERATIONS = 16
#: Messages that are put into the queue at a time.
BATCH = 500
#: The share of the inputs that come before memory and files are noted.
WARM_UP = 0.2


class Fuzz:
    """Volleys at a target, from one seed."""

    def __init__(self, target: Target, chance: Random) -> None:
        self._target = target
        self._chance = chance
        #: In which the cause of a traceback is looked for: some are logged late, by the garbage collector.
        self._last: deque[Volley] = deque(maxlen=LOOKED_BACK)
        self.sent: Counter[str] = Counter()

    async def send(self, count: int) -> None:
        """Send so many inputs.

        Raises:
            WrongAnswerError: one was answered wrongly; it is in the corpus now.
        """
        until = self.sent.total() + count

        async def client() -> None:
            while self.sent.total() < until:
                [kind] = self._chance.choices(list(WEIGHTS), list(WEIGHTS.values()))
                await self._send_one(kind)

        try:
            async with asyncio.TaskGroup() as clients:
                for _ in range(CONNECTIONS):
                    clients.create_task(client())
        except* WrongAnswerError as errors:
            raise errors.exceptions[0] from None

    async def _send_one(self, kind: str) -> None:
        volley = KINDS[kind](self._chance, self._target.ids, TOGETHER)
        self.sent[kind] += len(volley.requests)
        self._last.append(volley)
        try:
            await self._target.send(volley)
        except WrongAnswerError:
            _keep("requests", b"".join(volley.requests))
            raise
        try:
            self._target.check_log()
        except WrongAnswerError:
            await self._blame()
            raise

    async def _blame(self) -> None:
        """Find out which of the last ones makes it log an error, by sending each again, until it does."""
        for volley in reversed(list(self._last)):
            try:
                for _ in range(AGAIN):
                    await self._target.send(volley)
                self._target.check_log()
            except WrongAnswerError:
                _keep("requests", b"".join(volley.requests))
                return
        _say(f"none of the last {len(self._last):,} does it again, alone")


async def fuzz_requests(inputs: int, chance: Random, folder: Path) -> int:
    """Send inputs to an API; how many there were."""
    async with Target.running(folder) as target:
        fuzz = Fuzz(target, chance)
        examples = max(1, int(inputs * GENERATED) // OPERATIONS)
        generated = await _generate(target, examples, chance, folder)
        await _timed(f"{generated:,} requests by schemathesis, then warming up", fuzz.send, int(inputs * WARM_UP))
        before = await target.at_rest()
        left = inputs - generated - fuzz.sent.total()
        for _ in range(10):
            await _timed(f"{dict(fuzz.sent)}", fuzz.send, left // 10)
            after = await target.at_rest()
            _say(f"the API held {before} after the warm-up, and holds {after}")
        after.must_not_exceed(before)
        return generated + fuzz.sent.total()


async def _generate(target: Target, examples: int, chance: Random, folder: Path) -> int:
    """Let schemathesis send requests, and hold the answers against the document; how many they were."""
    code, output = await run_schemathesis(
        f"http://127.0.0.1:{target.port}/openapi.json",
        folder,
        f"--max-examples={examples}",
        f"--seed={chance.randrange(10**6)}",
        # Answers without an end are for others.
        "--exclude-path-regex=/events$",
    )
    target.check_log()
    found = re.search(r"(\d+) generated", output)
    if code or not found:
        raise WrongAnswerError(f"schemathesis has found something:\n{output}")
    return int(found[1])


async def fuzz_messages(count: int, chance: Random, folder: Path) -> int:
    """Put messages into a queue; how many there were."""
    corpus = list(entries("messages").values())
    server = RabbitServer("4.3")
    server.start()
    try:
        server.wait_ready()
        async with Strangers.running(server, folder) as strangers:
            await strangers.send(corpus)
            before = None
            for done in range(0, count, BATCH):
                batch = [any_message(chance, corpus) for _ in range(BATCH)]
                try:
                    await strangers.send(batch)
                except WrongAnswerError:
                    await _blame_message(strangers, batch)
                    raise
                if before is None and done >= count * WARM_UP:
                    before = strangers.held()
            after = strangers.held()
            _say(f"the worker held {before}, then {after}; RabbitMQ refused {strangers.refused:,} messages")
            if before:
                after.must_not_exceed(before)
    finally:
        server.remove()
    return count


async def _blame_message(strangers: Strangers, batch: list[bytes]) -> None:
    for message in batch:
        await strangers.drop()
        try:
            await strangers.send([message])
        except WrongAnswerError:
            _keep("messages", message)
            return
    _say("none of its batch does it again, alone")


async def _timed(what: str, send: Callable[[int], Awaitable[None]], count: int) -> None:
    began = time.monotonic()
    await send(count)
    _say(f"{what}: {count / (time.monotonic() - began):,.0f} inputs/s")


def _keep(kind: str, data: bytes) -> None:
    _say(f"kept as {save(kind, data)}")


def _say(line: str) -> None:
    print(line, flush=True)


async def _main(inputs: int, seed: int) -> None:
    _say(f"fuzz: seed {seed}, {inputs:,} inputs")
    began = time.monotonic()
    chance = Random(seed)
    messages = 0
    with tempfile.TemporaryDirectory() as folder:
        if reason := missing_docker():
            _say(f"without messages of strangers, for there is {reason}")
        else:
            messages = await fuzz_messages(int(inputs * MESSAGES), chance, _made(folder, "messages"))
        requests = await fuzz_requests(inputs - messages, chance, _made(folder, "requests"))
    took = time.monotonic() - began
    _say(f"fuzz: {requests:,} requests and {messages:,} messages in {took:,.0f} s, and nothing was wrong")


def _made(folder: str, name: str) -> Path:
    made = Path(folder, name)
    made.mkdir()
    return made


if __name__ == "__main__":
    parser = argparse.ArgumentParser("fuzz", description="Send whatever there is to a taskqueue.")
    parser.add_argument("--inputs", type=int, default=1_000_000, help="how many (default: 1,000,000)")
    parser.add_argument("--seed", type=int, default=secrets.randbelow(10**6), help="the same inputs again")
    given = parser.parse_args()
    try:
        uvloop.run(_main(given.inputs, given.seed))
    except WrongAnswerError as error:
        sys.exit(f"fuzz: seed {given.seed}: {error}")
