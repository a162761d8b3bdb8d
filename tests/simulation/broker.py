"""The `Broker` of a simulated process: a client of the server, connected again whenever its connection is lost."""

import asyncio
import contextlib
import itertools
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import Any, Self

from tests.simulation.loop import Process
from tests.simulation.server import Server, Session, SimulatedDelivery

from taskqueue.broker import BrokerError, BrokerState, PublishError, UnroutableError

#: Seconds that a client waits for an answer to what is not a publish.
STEP = 2.0


class SimulatedBroker:
    """A `Broker` in a process: connected again whenever its connection is lost."""

    def __init__(self, server: Server, process: Process) -> None:
        self.process = process
        self.server = server
        self._random = process.random
        self._session: Session | None = None
        self._lost, self._connected = asyncio.Event(), asyncio.Event()
        #: While it is being opened.
        self._opening: Session | None = None
        self._waiting: set[asyncio.Future[Any]] = set()
        self._blocked = False
        self._missing = asyncio.Lock()
        self._consumers: dict[int, SimulatedConsumer] = {}
        self.numbers = itertools.count(1)
        self.queues_created = 0

    async def __aenter__(self) -> Self:
        self._connecting = asyncio.create_task(self._connect())
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        self._connecting.cancel()
        for consumer in tuple(self._consumers.values()):
            consumer.close()
        if session := self._session:
            session.to_server.send(self.server.close, session)
            self.on_lost(session)

    @property
    def state(self) -> BrokerState:
        if self._session is None:
            return BrokerState.DISCONNECTED
        return BrokerState.BLOCKED if self._blocked else BrokerState.CONNECTED

    async def publish(self, body: bytes, *, message_id: str, priority: int, timeout: float) -> None:
        session = self._session
        if session is None or self._blocked:
            raise PublishError(f"the broker is {self.state}")
        try:
            routed = await self.ask(session, timeout, self.server.publish, body, message_id, priority)
        except BrokerError as error:
            raise PublishError(str(error)) from error
        if not routed:
            with contextlib.suppress(BrokerError):
                await self._declare(session)
            raise UnroutableError("there is no queue for it")

    @contextlib.asynccontextmanager
    async def consume(self, prefetch: int) -> AsyncIterator["SimulatedConsumer"]:
        consumer = SimulatedConsumer(self, prefetch)
        self._consumers[next(self.numbers)] = consumer
        attending = asyncio.create_task(consumer.attend())
        try:
            yield consumer
        finally:
            attending.cancel()
            consumer.close()

    async def ready_count(self) -> int:
        if (session := self._session) is None or self._blocked:
            raise BrokerError(f"the broker is {self.state}")
        count = await self.ask(session, STEP, self.server.count)
        if count is None:
            raise BrokerError("there is no queue")
        return int(count)

    async def dead_count(self) -> int:
        return 0  # the simulation's messages are all of tasks

    async def ask(self, session: Session, timeout: float, what: Callable[..., None], *arguments: object) -> Any:
        """What the server answers.

        Raises:
            BrokerError: it does not, in time or at all.
        """
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting.add(answer)
        session.to_server.send(what, session, *arguments, answer)
        try:
            async with asyncio.timeout(timeout):
                return await answer
        except TimeoutError:
            raise BrokerError("no answer in time") from None
        finally:
            self._waiting.discard(answer)

    async def session(self) -> Session:
        while self._session is None:
            await self._connected.wait()
        return self._session

    async def declare_again(self) -> None:
        if session := self._session:
            with contextlib.suppress(BrokerError):
                await self._declare(session)

    async def _connect(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            answer: asyncio.Future[Session] = loop.create_future()
            self.server.process.call_later(self.server.seconds(), self.server.attach, self, answer)
            try:
                async with asyncio.timeout(1):
                    session = await answer
                self._lost.clear()
                self._blocked, self._opening = False, session
                await self._declare(session)
                if session.open and not self._lost.is_set():
                    self._session = session
                    self._connected.set()
                    await self._lost.wait()
            except (TimeoutError, BrokerError):
                pass
            await asyncio.sleep(self._random.uniform(0.05, 0.5))

    async def _declare(self, session: Session) -> None:
        async with self._missing:
            missing = await self.ask(session, STEP, self.server.declare)
        self.queues_created += bool(missing)

    # What the server sends

    def on_lost(self, session: Session) -> None:
        if session is self._session or session is self._opening:
            self._session = self._opening = None
            self._connected.clear()
            self._lost.set()
            for answer in sorted(self._waiting, key=hash):
                if not answer.done():
                    answer.set_exception(BrokerError("the connection is lost"))
            for consumer in self._consumers.values():
                consumer.on_lost()

    def on_blocked(self, session: Session, blocked: bool) -> None:
        if session is self._session or session is self._opening:
            self._blocked = blocked

    def on_cancelled(self, session: Session, subscription: int) -> None:
        for consumer in self._consumers.values():
            if session is self._session and consumer.subscription == subscription:
                consumer.on_lost()

    def on_delivery(self, session: Session, subscription: int, delivery: SimulatedDelivery) -> None:
        for consumer in self._consumers.values():
            if session is self._session and consumer.flowing == subscription:
                consumer.on_delivery(delivery)
                return
        # Of a subscription that is being cancelled.
        session.to_server.send(self.server.requeue, session, delivery._tag)


class SimulatedConsumer:
    """A `Consumer`."""

    def __init__(self, broker: SimulatedBroker, prefetch: int) -> None:
        self._broker = broker
        self._prefetch = prefetch
        self._buffer: deque[SimulatedDelivery] = deque()
        self._news = asyncio.Event()
        self._changed = asyncio.Event()
        self._changing = asyncio.Lock()
        self._paused = self._closed = False
        #: What the server calls the subscription; `flowing` is set before that is confirmed.
        self.subscription: int | None = None
        self.flowing: int | None = None
        self._session: Session | None = None

    def __aiter__(self) -> AsyncIterator[SimulatedDelivery]:
        return self

    async def __anext__(self) -> SimulatedDelivery:
        while not self._closed:
            if delivery := self.take():
                return delivery
            self._news.clear()
            await self._news.wait()
        raise StopAsyncIteration

    def take(self) -> SimulatedDelivery | None:
        return None if self._paused or self._closed or not self._buffer else self._buffer.popleft()

    @property
    def attached(self) -> bool:
        return self.subscription is not None

    async def pause(self) -> None:
        self._paused = True
        async with self._changing:
            subscription, session = self.subscription, self._session
            self.subscription = self.flowing = None
            while self._buffer:
                await self._buffer.popleft().requeue()
            if subscription is not None and session is not None:
                with contextlib.suppress(BrokerError):
                    await self._broker.ask(session, STEP, self._broker.server.cancel, subscription)

    async def resume(self) -> None:
        self._paused = False
        self._news.set()
        self._changed.set()

    def close(self) -> None:
        self._closed = True
        self._news.set()
        session = self._session
        if session is not None and self.flowing is not None:
            forget: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
            session.to_server.send(self._broker.server.cancel, session, self.flowing, forget)
            for delivery in self._buffer:
                session.to_server.send(self._broker.server.requeue, session, delivery._tag)
        self._buffer.clear()
        self.subscription = self.flowing = None

    async def attend(self) -> None:
        """Subscribe whenever it should be, and is not."""
        broker = self._broker
        while not self._closed:
            session = await broker.session()
            async with self._changing:
                if not self._paused and self.subscription is None and not self._closed:
                    try:
                        self._session, self.flowing = session, next(broker.numbers)
                        asked = broker.ask(session, STEP, broker.server.subscribe, self.flowing, self._prefetch)
                        if await asked:
                            self.subscription = self.flowing
                        else:
                            await broker.declare_again()
                            continue
                    except BrokerError:
                        self.on_lost()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1):
                    await self._changed.wait()
            self._changed.clear()

    # What the server sends

    def on_delivery(self, delivery: SimulatedDelivery) -> None:
        self._buffer.append(delivery)
        self._news.set()

    def on_lost(self) -> None:
        self._buffer.clear()
        self.subscription = self.flowing = None
        self._changed.set()
