"""A worker whose queue strangers write to: they are buried with a reason, and tasks beside complete."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Self

import aiormq
from aiormq.exceptions import AMQPError
from tests.conformance.server import RabbitServer
from tests.faults.cluster import Cluster, Process
from tests.fuzz.answers import WrongAnswerError
from tests.fuzz.growth import Held
from tests.fuzz.messages import put

from taskqueue.broker.rabbitmq.foreign import read_what_anybody_sends

# What the strangers cause is not worth a line each; what they send must be readable here, too.
logging.getLogger("aiormq").setLevel(logging.CRITICAL)
read_what_anybody_sends()

#: Strangers that publish at a time.
STRANGERS = 8
#: Tasks that are submitted beside the messages of one call.
TASKS = 20
#: Seconds in which all must be buried and completed.
PATIENCE = 30


class Strangers:
    """The worker runs, and an API beside it."""

    def __init__(self, cluster: Cluster, worker: Process) -> None:
        self._cluster = cluster
        self._worker = worker
        #: Messages that RabbitMQ itself has refused.
        self.refused = 0

    @classmethod
    @contextlib.asynccontextmanager
    async def running(cls, server: RabbitServer, folder: Path) -> AsyncIterator[Self]:
        async with Cluster.open(server, folder) as cluster:
            await cluster.start_api()
            yield cls(cluster, await cluster.start_worker(consumers=5))

    async def send(self, messages: Sequence[bytes]) -> None:
        """Put them into the queue, and see that each is buried, and that tasks beside them complete.

        Raises:
            WrongAnswerError: it was not so.
        """
        cluster = self._cluster
        left = iter(messages)
        accepted = await asyncio.gather(cluster.echo(TASKS), *(self._publish(left) for _ in range(STRANGERS)))
        reasons = await self._buried(sum(filter(None, accepted)))
        if unknown := [
            reason for reason in reasons if not reason.startswith(("malformed message: ", "unknown task"))
        ]:
            raise WrongAnswerError(f"buried without a reason of ours: {unknown[:3]}")
        try:
            await cluster.keeps_the_promise(PATIENCE)
        except AssertionError as error:
            raise WrongAnswerError(f"tasks beside them: {error}") from error
        log = self._worker.log.read_text()
        if self._worker.handle.returncode is not None or "Traceback" in log or " ERROR " in log:
            raise WrongAnswerError(f"the worker has logged: {log[-5000:]}")

    def held(self) -> Held:
        """By the worker."""
        return Held.by(self._worker.handle.pid)

    async def drop(self) -> None:
        """Empty both queues, whatever is in them."""
        async with _channel(self._cluster.server.url) as channel:
            for queue in (self._cluster.queue, f"{self._cluster.queue}.dead"):
                await channel.queue_purge(queue)

    async def _publish(self, messages: Iterator[bytes]) -> int:
        """How many RabbitMQ has accepted. It closes the connection to refuse one."""
        accepted = 0
        while True:
            try:
                async with _channel(self._cluster.server.url) as channel:
                    for message in messages:
                        await put(channel, self._cluster.queue, message)
                        accepted += 1
            except AMQPError:
                self.refused += 1
            else:
                return accepted

    async def _buried(self, count: int) -> list[str]:
        """Take so many dead letters, and return their reasons."""
        reasons: list[str] = []
        all_there = asyncio.Event()
        if count == 0:
            return reasons

        async def keep(message: aiormq.abc.DeliveredMessage) -> None:
            reasons.append(str((message.header.properties.headers or {}).get("x-reason")))
            if len(reasons) == count:
                all_there.set()

        async with _channel(self._cluster.server.url) as channel:
            await channel.basic_consume(f"{self._cluster.queue}.dead", keep, no_ack=True)
            try:
                async with asyncio.timeout(PATIENCE):
                    await all_there.wait()
            except TimeoutError:
                raise WrongAnswerError(f"only {len(reasons)} of {count} messages were buried") from None
        return reasons


@contextlib.asynccontextmanager
async def _channel(url: str) -> AsyncIterator[aiormq.abc.AbstractChannel]:
    connection = await aiormq.connect(url)
    try:
        yield await connection.channel()
    finally:
        with contextlib.suppress(AMQPError):
            await connection.close()
