"""Whatever is sent to the API, in short: `make fuzz` has the long form."""

import asyncio
from collections.abc import Iterator
from contextlib import AsyncExitStack
from random import Random

import pytest
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st
from tests.fuzz.corpus import entries
from tests.fuzz.growth import Held
from tests.fuzz.manners import whole
from tests.fuzz.requests import KINDS
from tests.fuzz.target import Target, Volley

CORPUS = entries("requests")
#: So few of streams, because each is watched until it is quiet.
EXAMPLES = {"broken": 60, "bodies": 60, "manners": 60, "streams": 10}
TASK = b'{"action": "uppercase", "data": {"text": "hello"}, "delay": %d}'


class Sender:
    """Awaits on a loop of its own, since hypothesis calls plain functions."""

    def __init__(self, runner: asyncio.Runner, target: Target) -> None:
        self._runner = runner
        self._target = target
        self.send(Volley([whole(b"POST", b"/tasks", [], TASK % delay) for delay in (0, 0, 3600)], whole=True))
        #: Always the same number, so that hypothesis can repeat what it has found.
        self.ids = list(target.ids)

    def send(self, volley: Volley) -> None:
        self._runner.run(self._target.send(volley))
        self._target.check_log()

    def at_rest(self) -> Held:
        return self._runner.run(self._target.at_rest())


@pytest.fixture(scope="module")
def sender(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sender]:
    with asyncio.Runner() as runner:
        stack = AsyncExitStack()
        target = runner.run(stack.enter_async_context(Target.running(tmp_path_factory.mktemp("fuzz"))))
        yield Sender(runner, target)
        runner.run(stack.aclose())


@pytest.mark.parametrize("request_", CORPUS.values(), ids=CORPUS)
def test_the_corpus_is_answered_as_it_should_be(sender: Sender, request_: bytes) -> None:
    sender.send(Volley([request_], whole=False))


@pytest.mark.parametrize("kind", KINDS)
def test_whatever_is_sent_is_answered_as_it_should_be(sender: Sender, kind: str) -> None:
    @settings(max_examples=EXAMPLES[kind], deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(chance=st.randoms(use_true_random=False))
    def send_any(chance: Random) -> None:
        volley = KINDS[kind](chance, sender.ids, 3)
        note(repr(volley.requests))
        sender.send(volley)

    send_any()


def test_it_holds_no_files_for_what_is_over(sender: Sender) -> None:
    for request in CORPUS.values():
        sender.send(Volley([request], whole=False))
    before = sender.at_rest()
    for request in CORPUS.values():
        sender.send(Volley([request], whole=False))
    sender.at_rest().must_not_exceed(before)
