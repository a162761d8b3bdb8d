"""Whatever a stranger puts into the queue, in short: `make fuzz` has the long form."""

from pathlib import Path
from random import Random

import pytest
from tests.conformance.server import RabbitServer
from tests.fuzz.corpus import entries
from tests.fuzz.messages import any_message
from tests.fuzz.strangers import Strangers

pytestmark = pytest.mark.docker

SEED = 9
MESSAGES = 300


async def test_messages_of_strangers_are_buried_with_a_reason_and_hinder_none(
    rabbit: RabbitServer, tmp_path: Path
) -> None:
    corpus = list(entries("messages").values())
    chance = Random(SEED)
    async with Strangers.running(rabbit, tmp_path) as strangers:
        await strangers.send(corpus)
        before = strangers.held()
        await strangers.send([any_message(chance, corpus) for _ in range(MESSAGES)])
        strangers.held().must_not_exceed(before)
