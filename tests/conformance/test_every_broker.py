"""What every broker promises, see `taskqueue.broker.protocol`."""

import asyncio
import time

import pytest
from tests.conformance.conftest import Subject
from tests.conformance.waiting import (
    PATIENCE,
    eventually,
    nothing_arrives,
    take,
    take_one,
    take_without_waiting,
)

from taskqueue.broker import BrokerState, PublishError


async def test_a_confirmed_message_arrives_with_its_bytes(subject: Subject) -> None:
    bodies = [b"", b"\x00\xff{", b"x" * 1_000_000]
    for body in bodies:
        await subject.publish(body)
    async with subject.broker.consume(5) as consumer:
        deliveries = await take(consumer, 3)
        assert [delivery.body for delivery in deliveries] == bodies
        assert not any(delivery.redelivered for delivery in deliveries)
        for delivery in deliveries:
            await delivery.ack()


async def test_a_delivery_has_the_id_of_its_publish(subject: Subject) -> None:
    await subject.publish(b"1", message_id="the first")
    await subject.publish(b"2", message_id="the second")
    async with subject.broker.consume(5) as consumer:
        first, second = await take(consumer, 2)
        assert (first.message_id, second.message_id) == ("the first", "the second")
        await first.requeue()
        assert (await take_one(consumer)).message_id == "the first"


async def test_many_concurrent_publishes_all_arrive(subject: Subject) -> None:
    bodies = [b"%d" % number for number in range(1000)]
    await asyncio.gather(*map(subject.publish, bodies))
    arrived: list[bytes] = []
    async with subject.broker.consume(50) as consumer, asyncio.timeout(PATIENCE):
        async for delivery in consumer:
            arrived.append(delivery.body)
            await delivery.ack()
            if len(arrived) == len(bodies):
                break
    assert sorted(arrived) == sorted(bodies)


async def test_a_higher_priority_goes_first_and_within_one_the_older(subject: Subject) -> None:
    for body, priority in ((b"l1", 0), (b"l2", 0), (b"h1", 8), (b"h2", 8), (b"h3", 8)):
        await subject.publish(body, priority)
    async with subject.broker.consume(5) as consumer:
        order = [delivery.body for delivery in await take(consumer, 5)]
    if subject.keeps_order:
        assert order == [b"h1", b"h2", b"h3", b"l1", b"l2"]
    else:  # RabbitMQ before 4.3 lets a low one pass after two high ones, so that none starves.
        assert order == [b"h1", b"h2", b"l1", b"h3", b"l2"]


async def test_a_consumer_has_no_more_than_its_prefetch_unended(subject: Subject) -> None:
    for number in range(5):
        await subject.publish(b"%d" % number)
    async with subject.broker.consume(3) as consumer:
        first, *_ = await take(consumer, 3)
        assert await nothing_arrives(consumer)
        await first.ack()
        assert (await take_one(consumer)).body == b"3"
        assert await nothing_arrives(consumer)


async def test_take_gives_what_is_there_and_does_not_wait(subject: Subject) -> None:
    async with subject.broker.consume(2) as consumer:
        await eventually(lambda: consumer.attached)
        assert consumer.take() is None
        for body in (b"1", b"2", b"3"):
            await subject.publish(body)
        first = await take_without_waiting(consumer)
        assert (await take_one(consumer)).body == b"2"
        assert consumer.take() is None, "that would be more than its prefetch"
        await first.ack()
        third = await take_without_waiting(consumer)
        assert (first.body, third.body) == (b"1", b"3")


async def test_take_gives_nothing_while_paused_or_closed(subject: Subject) -> None:
    await subject.publish(b"1")
    async with subject.broker.consume(2) as consumer:
        await (await take_one(consumer)).requeue()
        pausing = asyncio.create_task(consumer.pause())
        await asyncio.sleep(0)  # in which it begins
        assert consumer.take() is None
        await pausing
        assert consumer.take() is None
        await consumer.resume()
        await (await take_without_waiting(consumer)).requeue()
    assert consumer.take() is None


async def test_what_is_acked_just_before_a_clean_end_stays_acked(subject: Subject) -> None:
    # RabbitMQ itself may forget, when a channel closes, acks that follow 32 others that it is still busy with.
    for number in range(30):
        await subject.publish(b"%d" % number)
    async with subject.broker.consume(30) as consumer:
        deliveries = await take(consumer, 30)
        for delivery in deliveries:
            await delivery.ack()
    async with subject.broker.consume(30) as consumer:
        await eventually(lambda: consumer.attached)
        assert await nothing_arrives(consumer)


async def test_two_consumers_share_the_queue(subject: Subject) -> None:
    await subject.publish(b"1")
    await subject.publish(b"2")
    async with subject.broker.consume(1) as one, subject.broker.consume(1) as other:
        bodies = {(await take_one(one)).body, (await take_one(other)).body}
    assert bodies == {b"1", b"2"}


async def test_an_unended_delivery_comes_back_redelivered_when_its_consumer_goes(subject: Subject) -> None:
    await subject.publish(b"acked")
    await subject.publish(b"unended")
    async with subject.broker.consume(2) as consumer:
        acked, unended = await take(consumer, 2)
        await acked.ack()
    await unended.ack()  # Too late: it ends quietly.
    async with subject.broker.consume(2) as consumer:
        again = await take_one(consumer)
        assert (again.body, again.redelivered) == (b"unended", True)
        await again.ack()
        assert await nothing_arrives(consumer)


async def test_a_requeued_delivery_comes_back_redelivered(subject: Subject) -> None:
    await subject.publish(b"1")
    async with subject.broker.consume(1) as consumer:
        await (await take_one(consumer)).requeue()
        again = await take_one(consumer)
        assert (again.body, again.redelivered) == (b"1", True)
        await again.ack()


async def test_a_requeued_delivery_goes_before_younger_ones(subject: Subject) -> None:
    await subject.publish(b"1")
    await subject.publish(b"2")
    async with subject.broker.consume(1) as consumer:
        await (await take_one(consumer)).requeue()
        assert (await take_one(consumer)).body == (b"1" if subject.keeps_order else b"2")


async def test_a_rejected_delivery_rests_in_the_dead_letter_queue_with_its_reason(subject: Subject) -> None:
    await subject.publish(b"not a task")
    async with subject.broker.consume(5) as consumer:
        await (await take_one(consumer)).reject("not JSON: ü")
        assert await subject.dead_letter() == (b"not a task", "not JSON: ü")
        assert await nothing_arrives(consumer)
    assert await subject.broker.ready_count() == 0


async def test_a_paused_consumer_gives_back_what_waits_and_keeps_what_was_yielded(subject: Subject) -> None:
    for number in range(4):
        await subject.publish(b"%d" % number)
    async with subject.broker.consume(4) as paused:
        yielded = await take_one(paused)
        await paused.pause()
        assert not paused.attached
        async with subject.broker.consume(4) as other:
            bodies = {delivery.body for delivery in await take(other, 3)}
            assert bodies == {b"0", b"1", b"2", b"3"} - {yielded.body}
            await yielded.ack()
            await subject.publish(b"4")
            assert (await take_one(other)).body == b"4"
            assert await nothing_arrives(paused)
    async with subject.broker.consume(5) as again:  # All but what was yielded before the pause, and acked.
        assert len(await take(again, 4)) == 4
        assert await nothing_arrives(again)


async def test_a_resumed_consumer_takes_again(subject: Subject) -> None:
    async with subject.broker.consume(4) as consumer:
        await eventually(lambda: consumer.attached)
        for number in range(3):
            await consumer.pause()
            await subject.publish(b"%d" % number)
            waiting = asyncio.create_task(take_one(consumer))
            await consumer.resume()
            await consumer.resume()  # Nothing more happens.
            assert consumer.attached
            delivery = await waiting
            assert delivery.body == b"%d" % number
            await delivery.ack()


async def test_quick_pauses_and_resumes_lose_nothing(subject: Subject) -> None:
    bodies = [b"%d" % number for number in range(200)]
    arrived: list[bytes] = []

    async def consume_all() -> None:
        async for delivery in consumer:
            arrived.append(delivery.body)
            await delivery.ack()

    async with subject.broker.consume(5) as consumer:
        consuming = asyncio.create_task(consume_all())
        publishing = asyncio.gather(*map(subject.publish, bodies))
        for _ in range(20):
            await asyncio.gather(consumer.pause(), consumer.resume())
            await consumer.pause()
            await consumer.resume()
        await publishing
        await eventually(lambda: len(set(arrived)) == len(bodies))
    await asyncio.wait_for(consuming, PATIENCE)
    assert set(arrived) == set(bodies)


async def test_the_count_is_of_messages_that_wait(subject: Subject) -> None:
    assert await subject.broker.ready_count() == 0
    for _ in range(3):
        await subject.publish(b"")

    async def has(count: int) -> bool:
        return await subject.broker.ready_count() == count

    await eventually(lambda: has(3))
    async with subject.broker.consume(1) as consumer:
        delivery = await take_one(consumer)
        await eventually(lambda: has(2))
        await delivery.ack()
        await take_one(consumer)
        await eventually(lambda: has(1))


async def test_dead_letters_are_counted(subject: Subject) -> None:
    assert await subject.broker.dead_count() == 0
    for _ in range(2):
        await subject.publish(b"not a task")
    async with subject.broker.consume(2) as consumer:
        for delivery in await take(consumer, 2):
            await delivery.reject("not JSON")

        async def are_there() -> bool:
            return await subject.broker.dead_count() == 2

        await eventually(are_there)


async def test_making_the_queue_is_counted(subject: Subject) -> None:
    assert subject.broker.queues_created == 1


async def test_closing_ends_the_iteration_and_refuses_to_publish(subject: Subject) -> None:
    async with subject.broker.consume(1) as consumer:
        waiting = asyncio.create_task(anext(aiter(consumer), None))
        await eventually(lambda: consumer.attached)
        await subject.broker.__aexit__(None, None, None)
        assert await asyncio.wait_for(waiting, PATIENCE) is None
        assert not consumer.attached
    assert subject.broker.state is BrokerState.DISCONNECTED
    with pytest.raises(PublishError):
        await subject.publish(b"")


async def test_closing_is_quick_with_deliveries_in_flight(subject: Subject) -> None:
    for number in range(10):
        await subject.publish(b"%d" % number)
    async with subject.broker.consume(5) as consumer:
        deliveries = await take(consumer, 3)
        started = time.monotonic()
        await subject.broker.__aexit__(None, None, None)
        assert time.monotonic() - started < 1
        await deliveries[0].ack()
        await deliveries[1].requeue()
        await deliveries[2].reject("late")
