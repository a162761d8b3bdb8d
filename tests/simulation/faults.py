"""What goes wrong in a run: drawn from its seed, as is which kinds go wrong in it at all."""

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine
from random import Random
from typing import Any

from tests.simulation.loop import Process
from tests.simulation.programs import Host

#: Seconds that a wall clock may be off from others: many leases.
OFF = 15.0
#: Seconds that all of them may jump, forth or back.
JUMP = 8 * 3600.0


class Chaos:
    """The faults. After `over` there are none any more."""

    def __init__(self, host: Host, processes: list[Process], random: Random, note: Callable[[str], None]) -> None:
        """
        Args:
            processes: those that live now.
        """
        self._host = host
        self._processes = processes
        self._random = random
        self._note = note
        #: Seconds that the clocks were ahead at most.
        self._furthest = 0.0
        self.struck: Counter[str] = Counter()
        self._under_way: set[asyncio.Task[None]] = set()
        kinds: list[Callable[[], Coroutine[Any, Any, None]]] = [
            *[self.kill] * 3,
            *[self.freeze] * 3,
            self.stop,
            self.stop,
            self.shift_a_clock,
            self.jump,
            self.cut_connections,
            self.purge,
            self.delete_queue,
            self.take_the_broker_away,
            self.block_the_broker,
            self.slow_the_broker,
            self.keep_the_store_busy,
            self.hold_the_lock,
            self.fill_the_disk,
            self.take_the_disk_away,
        ]
        # Not all kinds in each run: some hide what others would show.
        self._kinds = random.sample(kinds, random.randint(1, 6))
        self._begin_the_constant_ones()

    def _begin_the_constant_ones(self) -> None:
        broker, store = self._host.server.faults, self._host.database.faults

        def chance() -> float:
            return self._random.choice([0, 0, 0.02, 0.2])

        broker.lost, broker.doubled, broker.late = chance(), chance(), chance()
        broker.out_of_order, broker.unconfirmed = chance(), chance()
        store.failing, store.answer_lost = chance() / 4, chance() / 4

    async def run(self, seconds: float) -> None:
        """Let things go wrong for that long."""
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        pause = self._random.choice([0.2, 0.5, 1.5])
        while loop.time() < end:
            await asyncio.sleep(self._random.expovariate(1 / pause))
            kind = self._random.choice(self._kinds)
            self.struck[kind.__name__] += 1
            fault = asyncio.create_task(kind())
            self._under_way.add(fault)
            fault.add_done_callback(self._under_way.discard)

    def over(self) -> None:
        """Mend all that can be mended: what lasts is what the processes made of it."""
        for fault in self._under_way:
            fault.cancel()
        broker, store = self._host.server.faults, self._host.database.faults
        broker.lost = broker.doubled = broker.late = broker.out_of_order = broker.unconfirmed = 0
        broker.away, broker.slow = False, 1
        self._host.server.block(False)
        store.busy = store.held = store.full = store.away = False
        store.failing = store.answer_lost = 0
        # What waits for its time waits no longer than that.
        self._host.ahead = self._furthest
        for process in self._processes:
            process.ahead = 0
            process.doom = None
            process.thaw()

    # Processes

    def _one(self) -> Process | None:
        alive = [process for process in self._processes if not process.frozen]
        return self._random.choice(alive) if alive else None

    async def kill(self) -> None:
        """After some more callbacks of its own, so that it strikes between any two awaits."""
        if process := self._one():

            def killed() -> None:
                self._note(f"{process.name} is killed")
                process.kill()

            process.doom = int(self._random.expovariate(1 / 40)), killed

    async def freeze(self) -> None:
        if process := self._one():

            def frozen() -> None:
                self._note(f"{process.name} is stopped")
                process.freeze()

            process.doom = int(self._random.expovariate(1 / 40)), frozen
            lease = self._host.settings.lease
            await asyncio.sleep(self._random.uniform(0, 2 * lease))
            if self._random.random() < 0.5:
                self._host.server.drop(process)
            await asyncio.sleep(self._random.uniform(0, 2 * lease))
            if process.frozen and not process.dead:
                self._note(f"{process.name} goes on")
                process.thaw()

    async def stop(self) -> None:
        if process := self._one():
            self._note(f"{process.name} is told to stop")
            process.call_later(0, process.stop.set)

    async def shift_a_clock(self) -> None:
        if process := self._one():
            process.ahead = self._random.choice([0, self._random.uniform(-OFF, OFF)])
            self._note(f"{process.name}'s clock is {process.ahead:+.1f} s off")

    async def jump(self) -> None:
        """All clocks are set, by up to eight hours."""
        self._host.ahead = self._random.uniform(-JUMP, JUMP)
        self._furthest = max(self._furthest, self._host.ahead)
        self._note(f"all clocks are set to {self._host.ahead:+.1f} s")

    async def cut_connections(self) -> None:
        if process := self._one():
            self._note(f"the connections to {process.name} are cut")
            self._host.network.cut(process.name)

    # The broker

    async def purge(self) -> None:
        self._note("the queue is purged")
        self._host.server.purge()

    async def delete_queue(self) -> None:
        self._note("the queue is deleted")
        self._host.server.delete_queue()

    async def take_the_broker_away(self) -> None:
        self._note("the broker is away")
        self._host.server.go(losing_the_queue=self._random.random() < 0.3)
        await self._while(lambda: setattr(self._host.server.faults, "away", False), "the broker is back")

    async def block_the_broker(self) -> None:
        self._note("the broker blocks its publishers")
        self._host.server.block(True)
        await self._while(lambda: self._host.server.block(False), "the broker takes messages again")

    async def slow_the_broker(self) -> None:
        self._host.server.faults.slow = self._random.choice([10, 100, 500])
        self._note(f"the broker is {self._host.server.faults.slow} times as slow")
        await self._while(lambda: setattr(self._host.server.faults, "slow", 1), "the broker is quick again")

    # The store

    async def keep_the_store_busy(self) -> None:
        await self._store_fault("busy")

    async def hold_the_lock(self) -> None:
        await self._store_fault("held")

    async def fill_the_disk(self) -> None:
        await self._store_fault("full")

    async def take_the_disk_away(self) -> None:
        await self._store_fault("away")

    async def _store_fault(self, name: str) -> None:
        faults = self._host.database.faults
        self._note(f"the store is {name}")
        setattr(faults, name, True)
        await self._while(lambda: setattr(faults, name, False), f"the store is not {name} any more")

    async def _while(self, mend: Callable[[], None], text: str) -> None:
        await asyncio.sleep(self._random.choice([0.1, 0.3, 1, 3]))
        self._note(text)
        mend()
