"""What every broker promises of its dead letters, and what can be done with them."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import suppress

import pytest
from aio_pika.abc import AbstractChannel
from tests.conformance.burying import bury, until_dead
from tests.conformance.conftest import Subject
from tests.conformance.proxy import Proxy
from tests.conformance.server import free_port
from tests.conformance.waiting import PATIENCE, at_most, eventually, publish, take_one

from taskqueue.broker import Broker, BrokerError, BusyError, DeadLetter, open_broker, turn
from taskqueue.broker.rabbitmq import connection, dead_letters
from taskqueue.contract.dead_letters import DeadLetterAnswer
from taskqueue.dead_letters import BYTES_SHOWN, REASON_SHOWN, Ended, Verb
from taskqueue.dead_letters import end as end_of
from taskqueue.dead_letters import look as look_through
from taskqueue.dead_letters import unknown as unknown_of


async def look(broker: Broker, limit: int) -> tuple[list[DeadLetterAnswer], int]:
    async with broker.dead_letters(limit) as letters:
        return await look_through(letters), letters.count


async def unknown(broker: Broker, ids: list[str], limit: int) -> list[str]:
    async with broker.dead_letters(limit) as letters:
        return await unknown_of(letters, ids)


async def end(broker: Broker, verb: Verb, ids: list[str] | None, limit: int) -> Ended:
    async with broker.dead_letters(limit) as letters:
        return await end_of(letters, verb, ids)


async def seen(broker: Broker, limit: int = 100) -> list[DeadLetterAnswer]:
    letters, _ = await look(broker, limit)
    return letters


async def messages(broker: Broker) -> list[str]:
    """Sorted: RabbitMQ before 4.3 doesn't keep the order of what was looked at."""
    return sorted(letter.message for letter in await seen(broker))


async def first(letters: AsyncIterator[DeadLetter]) -> DeadLetter:
    async with asyncio.timeout(PATIENCE):
        return await anext(aiter(letters))


async def test_of_a_long_reason_its_beginning_is_told(subject: Subject) -> None:
    await bury(subject.broker, b"1", reason="x" * 1500)
    [letter] = await seen(subject.broker)
    assert letter.reason == "x" * REASON_SHOWN


async def test_a_look_tells_the_oldest_and_how_many_there_are(subject: Subject) -> None:
    before = time.time()
    await bury(subject.broker, b"1", b"2", b"3", reason="not JSON: ü")
    letters, count = await look(subject.broker, 2)
    assert [letter.message for letter in letters] == ["1", "2"]
    assert count == 3
    for letter in letters:
        assert letter.reason == "not JSON: ü"
        assert letter.died_at is not None
        # AMQP's times are in whole seconds.
        assert before - 1 <= letter.died_at <= time.time()


async def test_what_is_looked_at_goes_back_and_keeps_its_id(subject: Subject) -> None:
    await bury(subject.broker, b"same", b"same", b"other")
    ids = {letter.id: letter.message for letter in await seen(subject.broker)}
    assert sorted(ids.values()) == ["other", "same", "same"]
    await until_dead(subject.broker, 3)
    for _ in range(25):  # RabbitMQ drops what comes back too often, unless it is told not to.
        assert {letter.id: letter.message for letter in await seen(subject.broker)} == ids


async def test_nothing_is_looked_at_where_nothing_is(subject: Subject) -> None:
    assert await look(subject.broker, 10) == ([], 0)
    ended = await end(subject.broker, "drop", None, 10)
    assert (ended.count, ended.left) == (0, 0)


async def test_of_a_large_message_its_beginning_is_kept(subject: Subject) -> None:
    await bury(subject.broker, "aü".encode() * 400_000)
    [letter] = await seen(subject.broker)
    assert (letter.size, letter.truncated) == (1_200_000, True)
    # No character is cut in two.
    assert letter.message == ("aü" * BYTES_SHOWN).encode()[:BYTES_SHOWN].decode(errors="ignore")


@pytest.mark.parametrize(
    ("body", "text"), [(b"", ""), (b"{\xff", "{\\xff"), (b"\xc3", "\\xc3"), ("ü\0".encode(), "ü\0")]
)
async def test_what_is_no_text_is_told_escaped(subject: Subject, body: bytes, text: str) -> None:
    await bury(subject.broker, body)
    [letter] = await seen(subject.broker)
    assert (letter.message, letter.truncated) == (text, False)


async def test_the_chosen_are_requeued_and_the_others_stay(subject: Subject) -> None:
    await bury(subject.broker, b"1", b"2", b"3")
    [chosen] = [letter for letter in await seen(subject.broker) if letter.message == "2"]
    ended = await end(subject.broker, "requeue", [chosen.id], 10)
    assert (ended.count, ended.left, ended.problem) == (1, 2, None)
    async with subject.broker.consume(1) as consumer:
        delivery = await take_one(consumer)
        assert (delivery.body, delivery.redelivered) == (b"2", False)
        await delivery.ack()
    assert await messages(subject.broker) == ["1", "3"]


async def test_the_chosen_are_dropped_and_the_others_stay(subject: Subject) -> None:
    await bury(subject.broker, b"1", b"2", b"3")
    chosen = [letter.id for letter in await seen(subject.broker) if letter.message != "2"]
    ended = await end(subject.broker, "drop", chosen, 10)
    assert (ended.count, ended.left) == (2, 1)
    assert await messages(subject.broker) == ["2"]
    assert await subject.broker.ready_count() == 0


async def test_of_all_so_many_are_ended(subject: Subject) -> None:
    await bury(subject.broker, *(b"%d" % number for number in range(5)))
    ended = await end(subject.broker, "drop", None, 3)
    assert (ended.count, ended.left) == (3, 2)
    assert await messages(subject.broker) == ["3", "4"]


async def test_all_that_were_dropped_stay_dropped(subject: Subject) -> None:
    # RabbitMQ may forget acks that it is busy with when a channel closes.
    await bury(subject.broker, *[b"junk"] * 300)
    ended = await end(subject.broker, "drop", None, 1000)
    assert (ended.count, ended.left) == (300, 0)
    assert await look(subject.broker, 10) == ([], 0)


async def test_an_id_that_none_has_is_told(subject: Subject) -> None:
    await bury(subject.broker, b"1", b"2")
    ids = [letter.id for letter in await seen(subject.broker)]
    assert await unknown(subject.broker, [*ids, "nobody", "nobody"], 10) == ["nobody"]
    assert await unknown(subject.broker, ids, 10) == []
    assert len(await unknown(subject.broker, ids, 1)) == 1
    ended = await end(subject.broker, "drop", ["nobody"], 10)
    assert (ended.count, ended.left) == (0, 2)


async def test_what_dies_again_meanwhile_is_not_requeued_twice(subject: Subject) -> None:
    await bury(subject.broker, b"1", b"2", b"3")

    async def reject_all() -> None:
        async for delivery in consumer:
            await delivery.reject("still no task")

    async with subject.broker.consume(1) as consumer:
        rejecting = asyncio.create_task(reject_all())
        ended = await end(subject.broker, "requeue", None, 100)
        assert (ended.count, ended.left) == (3, 0)
        await until_dead(subject.broker, 3)
        rejecting.cancel()
        with suppress(asyncio.CancelledError):
            await rejecting
    assert {letter.reason for letter in await seen(subject.broker)} == {"still no task"}


async def test_a_requeued_letter_keeps_its_priority(subject: Subject) -> None:
    await subject.publish(b"high", priority=8)
    async with subject.broker.consume(1) as consumer:
        await (await take_one(consumer)).reject("no task")
    await until_dead(subject.broker, 1)
    await subject.publish(b"normal", priority=4)
    await end(subject.broker, "requeue", None, 1)
    async with subject.broker.consume(1) as consumer:
        assert (await take_one(consumer)).body == b"high"


async def test_one_walk_waits_for_another_and_not_for_long(
    subject: Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    await bury(subject.broker, b"1")
    async with subject.broker.dead_letters(1) as letters:
        await first(letters)
        second = asyncio.create_task(seen(subject.broker))
        await asyncio.sleep(0)  # in which it begins
        monkeypatch.setattr(turn, "PATIENCE", 0.05)
        with pytest.raises(BusyError, match="already"):
            await seen(subject.broker)
        assert not second.done()
    assert [letter.message for letter in await second] == ["1"]


async def test_a_walk_that_is_broken_off_gives_all_back(subject: Subject) -> None:
    await bury(subject.broker, b"1", b"2")
    with pytest.raises(ZeroDivisionError):
        async with subject.broker.dead_letters(2) as letters:
            await first(letters)
            raise ZeroDivisionError
    assert await messages(subject.broker) == ["1", "2"]


async def test_a_closed_broker_in_memory_has_none() -> None:
    with pytest.raises(BrokerError, match="closed"):
        await look(open_broker("memory://", "tasks"), 1)


# RabbitMQ's


async def test_a_broker_that_is_away_is_an_error_at_once(queue: str) -> None:
    with at_most(2), pytest.raises(BrokerError):
        await look(open_broker(f"amqp://127.0.0.1:{free_port()}/", queue), 1)


async def test_a_walk_at_once_after_another_meets_the_same(broker: Broker) -> None:
    await bury(broker, *[b"junk"] * 50)
    for _ in range(10):
        letters, count = await look(broker, 60)
        assert (len(letters), count) == (50, 50)


async def test_a_broker_that_is_silent_is_an_error_soon(
    broker: Broker, proxy: Proxy, proxied_url: str, queue: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await bury(broker, b"1", b"2")
    await proxy.open()
    for module in (connection, dead_letters):
        monkeypatch.setattr(module, "STEP_TIMEOUT", 0.5)
    monkeypatch.setattr(connection, "CLOSE_TIMEOUT", 0.2)
    with at_most(4), pytest.raises(BrokerError, match="no answer in time"):
        async with open_broker(proxied_url, queue).dead_letters(2) as letters:
            await first(letters)
            proxy.drop()
            await first(letters)


async def test_what_was_not_ended_when_the_connection_broke_is_there_again(
    broker: Broker, proxy: Proxy, proxied_url: str, queue: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await bury(broker, b"1", b"2", b"3")
    await proxy.open()
    requeue = dead_letters.RabbitDeadLetter.requeue
    met = []

    async def requeue_or_cut(letter: dead_letters.RabbitDeadLetter) -> None:
        met.append(letter.body)
        if len(met) == 2:
            proxy.cut()
        await requeue(letter)

    monkeypatch.setattr(dead_letters.RabbitDeadLetter, "requeue", requeue_or_cut)
    ended = await end(open_broker(proxied_url, queue), "requeue", None, 10)
    assert (ended.count, ended.left) == (1, 2)
    assert isinstance(ended.problem, BrokerError)
    assert await broker.ready_count() == 1

    async def are_back() -> bool:
        return await messages(broker) == ["2", "3"]

    await eventually(are_back)


async def test_a_letter_that_no_queue_takes_stays(broker: Broker, admin: AbstractChannel, queue: str) -> None:
    await bury(broker, b"1")
    async with broker.dead_letters(1) as letters:
        letter = await first(letters)
        await admin.queue_delete(queue)
        with pytest.raises(BrokerError):
            await letter.requeue()
    assert await messages(broker) == ["1"]


async def test_a_walk_ends_when_its_time_is_over(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    await bury(broker, b"1")
    monkeypatch.setattr(dead_letters, "WALK_TIMEOUT", -1)
    assert await look(broker, 10) == ([], 1)


async def test_a_message_that_rabbitmq_moved_has_its_reason_and_time(
    broker: Broker, admin: AbstractChannel, queue: str
) -> None:
    before = time.time()
    await publish(broker, b"moved")
    message = await (await admin.get_queue(queue, ensure=False)).get()
    assert message is not None
    await message.reject(requeue=False)
    await until_dead(broker, 1)
    [letter] = await seen(broker)
    assert letter.reason == "rejected"
    assert letter.died_at is not None
    assert before - 1 <= letter.died_at <= time.time()
