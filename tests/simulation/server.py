"""The broker's server: a queue, its connections, and its faults. Messages on a connection take time, keep their
order, and are lost with it. What it does with them is what the memory broker does.
"""

import asyncio
import heapq
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING, Any

from tests.simulation.loop import Process
from tests.simulation.network import Pipe

if TYPE_CHECKING:
    from tests.simulation.broker import SimulatedBroker


@dataclass(order=True)
class Message:
    #: Minus the priority, then the arrival.
    rank: tuple[int, float]
    body: bytes = field(compare=False)
    message_id: str = field(compare=False)
    redelivered: bool = field(default=False, compare=False)


class Session:
    """A connection, as the server sees it."""

    def __init__(self, server: "Server", client: "SimulatedBroker") -> None:
        self.client = client
        self.open = True
        self.to_client = Pipe(client.process, server.seconds)
        self.to_server = Pipe(server.process, server.seconds)
        #: By consumer: how many it may hold.
        self.consumers: dict[int, int] = {}
        #: By delivery tag: to which consumer, and what.
        self.unacked: dict[int, tuple[int, Message]] = {}

    def has_room(self, consumer: int) -> bool:
        held = sum(1 for other, _ in self.unacked.values() if other == consumer)
        return held < self.consumers[consumer]


@dataclass
class Faults:
    """The chances that a publish meets a fault, and what is wrong with the server now."""

    lost: float = 0
    doubled: float = 0
    late: float = 0
    out_of_order: float = 0
    unconfirmed: float = 0
    away: bool = False
    blocked: bool = False
    #: Times as slow as usual.
    slow: float = 1


class Server:
    """The queue, its sessions, and its faults."""

    def __init__(self, process: Process, random: Random, note: Callable[[str], None]) -> None:
        self.process = process
        self.faults = Faults()
        self._random = random
        self._note = note
        self._exists = False
        self._ready: list[Message] = []
        self._arrivals = itertools.count()
        self._tags = itertools.count(1)
        self._sessions: list[Session] = []
        self.dead: list[str] = []

    def seconds(self) -> float:
        """How long a message on a connection takes."""
        return self._random.expovariate(500) * self.faults.slow

    # Faults

    def purge(self) -> None:
        self._ready.clear()

    def delete_queue(self) -> None:
        self._exists = False
        self._ready.clear()
        for session in self._sessions:
            for consumer in list(session.consumers):
                del session.consumers[consumer]
                session.to_client.send(session.client.on_cancelled, session, consumer)
            session.unacked.clear()

    def go(self, *, losing_the_queue: bool) -> None:
        self.faults.away = True
        for session in tuple(self._sessions):
            self.close(session)
        if losing_the_queue:
            self._exists = False
            self._ready.clear()

    def block(self, blocked: bool) -> None:
        self.faults.blocked = blocked
        for session in self._sessions:
            session.to_client.send(session.client.on_blocked, session, blocked)

    def drop(self, process: Process) -> None:
        """Its connection is gone, or counts as gone."""
        for session in tuple(self._sessions):
            if session.client.process is process:
                self.close(session)

    # What clients ask for

    def attach(self, client: "SimulatedBroker", answer: asyncio.Future[Session]) -> None:
        if self.faults.away or client.process.dead:
            return
        session = Session(self, client)
        self._sessions.append(session)
        session.to_client.send(_answer, answer, session)
        if self.faults.blocked:
            session.to_client.send(client.on_blocked, session, True)

    def close(self, session: Session) -> None:
        if session.open:
            session.open = False
            self._sessions.remove(session)
            for _, message in session.unacked.values():
                self._put_back(message)
            session.unacked.clear()
            session.to_client.send(session.client.on_lost, session)
            self._deliver()

    def declare(self, session: Session, answer: asyncio.Future[bool]) -> None:
        """Tells whether the queue was missing."""
        if session.open:
            session.to_client.send(_answer, answer, not self._exists)
            self._exists = True

    def publish(self, session: Session, body: bytes, id: str, priority: int, answer: asyncio.Future[bool]) -> None:
        """Tells whether there is a queue for it."""
        if not session.open or self.faults.blocked:
            return
        if not self._exists:
            session.to_client.send(_answer, answer, False)
            return
        faults, chance = self.faults, self._random.random
        copies = 0 if chance() < faults.lost else 2 if chance() < faults.doubled else 1
        if copies != 1:
            self._note(f"broker: {'loses' if copies == 0 else 'doubles'} {id[:13]}")
        for _ in range(copies):
            arrival = next(self._arrivals) - (chance() * 50 if chance() < faults.out_of_order else 0)
            message = Message((-priority, arrival), body, id)
            late = chance() * 8 if chance() < faults.late else 0
            self.process.call_later(late, self._put, message) if late else self._put(message)
        if chance() < faults.unconfirmed:
            self._note(f"broker: does not confirm {id[:13]}")
        else:
            session.to_client.send(_answer, answer, True)

    def subscribe(self, session: Session, consumer: int, prefetch: int, answer: asyncio.Future[bool]) -> None:
        """Tells whether there is a queue to consume from."""
        if session.open:
            session.to_client.send(_answer, answer, self._exists)
            if self._exists:
                session.consumers[consumer] = prefetch
                self._deliver()

    def cancel(self, session: Session, consumer: int, answer: asyncio.Future[bool]) -> None:
        if session.open:
            session.consumers.pop(consumer, None)
            session.to_client.send(_answer, answer, True)

    def ack(self, session: Session, tag: int) -> None:
        if session.unacked.pop(tag, None):
            self._deliver()

    def reject(self, session: Session, tag: int, reason: str) -> None:
        if held := session.unacked.pop(tag, None):
            self._note(f"broker: buries {held[1].message_id[:13]}: {reason}")
            self.dead.append(reason)
            self._deliver()

    def requeue(self, session: Session, tag: int) -> None:
        if held := session.unacked.pop(tag, None):
            self._put_back(held[1])
            self._deliver()

    def count(self, session: Session, answer: asyncio.Future[int | None]) -> None:
        if session.open:
            session.to_client.send(_answer, answer, len(self._ready) if self._exists else None)

    def _put(self, message: Message) -> None:
        if self._exists:
            heapq.heappush(self._ready, message)
            self._deliver()

    def _put_back(self, message: Message) -> None:
        message.redelivered = True
        if self._exists:
            heapq.heappush(self._ready, message)

    def _deliver(self) -> None:
        while self._ready:
            free = [(s, c) for s in self._sessions for c in s.consumers if s.has_room(c)]
            if not free:
                return
            session, consumer = self._random.choice(free)
            message, tag = heapq.heappop(self._ready), next(self._tags)
            session.unacked[tag] = consumer, message
            delivery = SimulatedDelivery(session, self, tag, message.body, message.message_id, message.redelivered)
            session.to_client.send(session.client.on_delivery, session, consumer, delivery)


def _answer(future: asyncio.Future[Any], answer: Any) -> None:
    if not future.done():
        future.set_result(answer)


@dataclass(frozen=True, eq=False)
class SimulatedDelivery:
    _session: Session
    _server: Server
    _tag: int
    body: bytes
    message_id: str
    redelivered: bool

    async def ack(self) -> None:
        self._session.to_server.send(self._server.ack, self._session, self._tag)

    async def requeue(self) -> None:
        self._session.to_server.send(self._server.requeue, self._session, self._tag)

    async def reject(self, reason: str) -> None:
        self._session.to_server.send(self._server.reject, self._session, self._tag, reason)
