"""Dead letters, by the client."""

import asyncio

import pytest
from tests.conformance.burying import bury
from tests.integration.system import System

from taskqueue.client import AsyncClient, Client, NotFoundError, UnavailableError


async def test_dead_letters_are_told_requeued_and_dropped(client: AsyncClient, system: System) -> None:
    await bury(system.broker, b"1", b"2", b"3")
    found = await client.dead_letters(limit=2)
    assert ([letter.message for letter in found.letters], found.count, found.total) == (["1", "2"], 2, 3)
    with pytest.raises(NotFoundError, match="nothing was done"):
        await client.drop_dead_letters(["nobody"])
    requeued = await client.requeue_dead_letters(letter.id for letter in found.letters[:1])
    assert (requeued.count, requeued.left) == (1, 2)
    dropped = await client.drop_dead_letters(None, limit=1)
    assert (dropped.count, dropped.left) == (1, 1)
    assert [letter.message for letter in (await client.dead_letters()).letters] == ["3"]
    assert await system.broker.ready_count() == 1


async def test_a_change_that_was_answered_unavailable_is_not_tried_again(url: str, system: System) -> None:
    await system.broker.__aexit__(None, None, None)
    async with AsyncClient(url, retry_for=60) as client, asyncio.timeout(5):
        for end in (client.requeue_dead_letters, client.drop_dead_letters):
            with pytest.raises(UnavailableError, match="broker unavailable"):
                await end(None)


async def test_without_an_event_loop(url: str, system: System) -> None:
    await bury(system.broker, b"1", b"2")

    def drop() -> tuple[int, int]:
        with Client(url) as client:
            client.requeue_dead_letters([client.dead_letters().letters[0].id])
            return client.drop_dead_letters(None).count, client.dead_letters().total

    assert await asyncio.to_thread(drop) == (1, 0)
