"""The clients: they submit, repeat, cancel, retry, wait and leave; and remember what they were told."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from operator import methodcaller
from random import Random
from typing import TypeVar

from tests.simulation.loop import Process
from tests.simulation.programs import Api, Host, RefusedError, UnansweredError

from taskqueue.message import Message, Priority, encode
from taskqueue.task import NewTask, Status, new_id

T = TypeVar("T")

#: Seconds that a client waits for an answer; some leave much earlier.
PATIENCE = 6.0


@dataclass
class Submitted:
    """A task that was sent, once or (with a key) several times, each time under another id."""

    value: int
    action: str
    #: How it may end, where nobody cancels it.
    ends: frozenset[Status]
    #: Under which it was sent, was told, and was refused.
    sent: list[str] = field(default_factory=list)
    told: set[str] = field(default_factory=set)
    refused: set[str] = field(default_factory=set)
    #: What it was answered, where no try before was left without an answer.
    answers: set[Status] = field(default_factory=set)
    cancelled: bool = False
    retried: int = 0
    key: str | None = None


class Clients:
    """All clients, in a process that nothing happens to."""

    def __init__(self, host: Host, process: Process, random: Random) -> None:
        self.submitted: list[Submitted] = []
        #: What the clients saw of the events: the numbers.
        self.seen: list[int] = []
        self._host = host
        self._process = process
        self._random = random
        self._over = asyncio.Event()

    async def run(self, tasks: int, seconds: float) -> None:
        """Submit so many tasks over that time, and do with them what clients do."""
        clients = [self._process.start(self._client(seconds)) for _ in range(tasks)]
        await asyncio.wait(clients)
        for client in clients:
            client.result()

    async def follow(self) -> None:
        """Read all events, for ever, from one API or another."""
        while True:
            try:
                events = await self._request(methodcaller("events", self.seen[-1] if self.seen else 0))
                self.seen += [event.seq for event in events]
            except (RefusedError, UnansweredError, TimeoutError):
                pass
            await asyncio.sleep(self._random.uniform(0.1, 1))

    async def _client(self, seconds: float) -> None:
        chance = self._random
        await asyncio.sleep(chance.uniform(0, seconds))
        task = self._draw()
        self.submitted.append(task)
        id = await self._submit(task)
        if id is None:
            return
        if chance.random() < 0.2:
            await asyncio.sleep(chance.expovariate(1))
            await self._cancel(task, id)
        elif chance.random() < 0.3:
            with contextlib.suppress(RefusedError, UnansweredError, TimeoutError):
                await self._request(lambda api: api.wait(id, 2), patience=chance.choice([0.5, 5]))
        if (task.cancelled or Status.FAILED in task.ends) and chance.random() < 0.5:
            await asyncio.sleep(chance.uniform(0, 5))
            await self._retry(task, id)

    def _draw(self) -> Submitted:
        chance = self._random
        action = chance.choices(
            ["compute", "compute_in_thread", "progress", "refuse", "stubborn"], [10, 3, 2, 1, 0.3]
        )
        ends = {"refuse": Status.FAILED}.get(action[0], Status.COMPLETED)
        key = f"key-{len(self.submitted)}" if chance.random() < 0.4 else None
        return Submitted(len(self.submitted), action[0], frozenset({ends}), key=key)

    async def _submit(self, task: Submitted) -> str | None:
        """Its id, where it was accepted; one with a key is sent until there is an answer."""
        chance = self._random
        delay = chance.uniform(0.1, 3) if chance.random() < 0.15 else 0
        seconds = chance.choice([0, 0.01, 0.1, 0.5, 2, 4])
        data: dict[str, object] = {"value": task.value}
        if task.action != "compute_in_thread":
            data["seconds"] = seconds
        if task.action == "compute":
            data["failing"] = chance.choice([0, 0, 0, 1, 2])
        if task.action == "refuse":
            data = {}
        priority = chance.choice(list(Priority))
        timeout = 1000 if task.action == "stubborn" else chance.choice([None, 3000]) if seconds <= 2 else None
        answered = True
        for _ in range(20 if task.key else 1):

            def send(api: Api) -> Awaitable[tuple[str, Status]]:
                now = api.store.clock()
                id = new_id(now, self._random)
                task.sent.append(id)
                new = NewTask(
                    id=id,
                    action=task.action,
                    payload=encode(Message(id, task.action, data, now / 1000)),
                    created_at=now,
                    run_at=now + int(delay * 1000),
                    priority=priority,
                    max_attempts=2 if task.action == "stubborn" else 30,
                    timeout=timeout,
                )
                return api.submit(new, task.key)

            before = len(task.sent)
            try:
                id, status = await self._request(
                    send, patience=chance.choice([0.02, PATIENCE, PATIENCE, PATIENCE])
                )
            except RefusedError:
                task.refused.update(task.sent[before:])
            except (UnansweredError, TimeoutError):
                answered = False
            else:
                task.told.add(id)
                if answered:
                    task.answers.add(status)
                # Some send it again all the same.
                if not task.key or chance.random() < 0.7:
                    return id
            await asyncio.sleep(chance.uniform(0.05, 1))
        return min(task.told, default=None)

    async def _cancel(self, task: Submitted, id: str) -> None:
        task.cancelled = True
        with contextlib.suppress(RefusedError, UnansweredError, TimeoutError):
            await self._request(lambda api: api.cancel(id))

    async def _retry(self, task: Submitted, id: str) -> None:
        task.retried += 1
        with contextlib.suppress(RefusedError, UnansweredError, TimeoutError):
            await self._request(lambda api: api.retry(id))

    async def _request(self, handler: Callable[[Api], Awaitable[T]], patience: float = PATIENCE) -> T:
        """What one of the APIs answers.

        Raises:
            RefusedError: 503.
            UnansweredError, TimeoutError: nobody knows.
        """
        if not self._host.apis:
            raise UnansweredError("no API serves")
        api = self._random.choice(self._host.apis)
        async with asyncio.timeout(patience):
            return await api.serve(self._process, handler)
