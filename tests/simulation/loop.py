"""One thread, and on it an event loop with virtual time, which all simulated processes share.

Whose turn it is, how late a timer fires, and how long a thread takes is drawn from the seed. Within a process
callbacks keep their order, as asyncio promises.
"""

import asyncio
import itertools
import math
from collections import deque
from collections.abc import Callable, Coroutine
from contextvars import Context, ContextVar, copy_context
from random import Random
from typing import Any, TypeVar

import async_solipsism

T = TypeVar("T")

#: Callbacks of one run: far more than any run needs, so that one that goes round in circles ends.
MOST_TURNS = 3_000_000


class Process:
    """A simulated process: what runs in its context is its own, and ends with it."""

    def __init__(self, name: str, loop: "SimulatedLoop", random: Random) -> None:
        self.name = name
        self.loop = loop
        self.random = random
        #: Callbacks whose turn may come, in order.
        self.ready: deque[asyncio.Handle] = deque()
        self.dead = False
        self.frozen = False
        #: What becomes of it, after so many more callbacks.
        self.doom: tuple[int, Callable[[], None]] | None = None
        #: Set where it is told to stop.
        self.stop = asyncio.Event()
        #: Called once it is dead.
        self.on_death: list[Callable[[], None]] = []
        #: Seconds that its wall clock is ahead.
        self.ahead = 0.0
        self.context = copy_context()
        self.context.run(_PROCESS.set, self)

    @staticmethod
    def current() -> "Process":
        """The one that runs now."""
        return _PROCESS.get()

    def start(self, coroutine: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Run it in this process."""
        return self.loop.create_task(coroutine, context=self.context.copy())

    def call_later(self, seconds: float, function: Callable[..., object], *arguments: object) -> None:
        self.loop.call_later(seconds, function, *arguments, context=self.context)

    def kill(self) -> None:
        """None of its callbacks runs from now on, nor its `finally` blocks: as SIGKILL does it."""
        if not self.dead:
            self.dead = True
            self.loop.turns.forget(self)
            for function in self.on_death:
                function()

    def freeze(self) -> None:
        """As SIGSTOP does it."""
        self.frozen = True
        self.loop.turns.forget(self)

    def thaw(self) -> None:
        if self.frozen and not self.dead:
            self.frozen = False
            self.loop.turns.take_up(self)


_PROCESS: ContextVar[Process] = ContextVar("process")


class Turns:
    """The loop's queue of callbacks that are ready: it draws which process has its turn."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self._runnable: list[Process] = []
        self._count = 0
        self.taken = 0

    def __len__(self) -> int:
        return self._count

    def append(self, handle: asyncio.Handle) -> None:
        process = handle._context.get(_PROCESS, self._world)  # type: ignore[attr-defined]
        if process.dead:
            return
        process.ready.append(handle)
        if not process.frozen:
            self._count += 1
            if len(process.ready) == 1:
                self._runnable.append(process)

    def popleft(self) -> asyncio.Handle:
        self.taken += 1
        if self.taken > MOST_TURNS:
            raise AssertionError(f"more than {MOST_TURNS} callbacks: it goes round in circles")
        while self._runnable:
            place = int(self._random.random() * len(self._runnable))
            process = self._runnable[place]
            if process.doom is not None:
                left, what = process.doom
                process.doom = (left - 1, what) if left else None
                if not left:
                    what()
                    continue
            handle = process.ready.popleft()
            self._count -= 1
            if not process.ready:
                self._runnable[place] = self._runnable[-1]
                self._runnable.pop()
            return handle
        return self._nothing

    def forget(self, process: Process) -> None:
        """It has no turn for now, or never again."""
        if process in self._runnable:
            self._runnable.remove(process)
            self._count -= len(process.ready)

    def take_up(self, process: Process) -> None:
        """It has its turns again."""
        if process.ready:
            self._runnable.append(process)
            self._count += len(process.ready)

    def clear(self) -> None:
        self._runnable.clear()
        self._count = 0

    def begin(self, world: Process) -> None:
        """Before anything is ready.

        Args:
            world: whose everything is that is nobody else's.
        """
        self._world = world
        # Where a turn was counted, but its process has been killed or frozen since.
        self._nothing = asyncio.Handle(lambda: None, (), world.loop)


class _Numbered:
    """Sets of futures are walked through in the order of these numbers, not of addresses."""

    _numbers = itertools.count()

    def __new__(cls, *arguments: Any, **more: Any) -> Any:
        self = super().__new__(cls)
        self._number = next(cls._numbers)  # type: ignore[attr-defined]
        return self

    def __hash__(self) -> int:
        return self._number  # type: ignore[attr-defined,no-any-return]


class _Future(_Numbered, asyncio.Future[Any]):
    pass


class _Task(_Numbered, asyncio.Task[Any]):
    pass


def _make_task(loop: "SimulatedLoop", coroutine: Any, **more: Any) -> asyncio.Task[Any]:
    task = _Task(coroutine, loop=loop, **more)
    loop.tasks.append(task)
    return task


class SimulatedLoop(async_solipsism.EventLoop):  # type: ignore[misc]  # it has no types
    """async-solipsism's loop, whose time is virtual and which ends where nothing can happen any more; with turns
    that are drawn, and processes that can be killed: that no library has."""

    def __init__(self, random: Random) -> None:
        super().__init__()
        self._random = random
        self.turns = self._ready = Turns(random)
        self._selector.select = self._pass_time
        self.set_task_factory(_make_task)
        #: All there ever were: a coroutine that is collected runs its `finally` blocks, which a dead one must not.
        self.tasks: list[asyncio.Task[Any]] = []
        #: Makes a server of a process, a factory of protocols and an address.
        self.listen: Callable[[Process, Any, Any], Any]
        #: Everything that nobody else belongs to: the simulation itself.
        self.world = Process("world", self, random)
        self.turns.begin(self.world)

    async def create_server(self, protocol_factory: Any, host: Any = None, port: Any = None, **_: Any) -> Any:
        """A server on the simulated network."""
        return self.listen(Process.current(), protocol_factory, (host, port))

    def create_future(self) -> asyncio.Future[Any]:
        return _Future(loop=self)

    def _pass_time(self, timeout: float | None) -> list[Any]:
        """As async-solipsism's selector does it, which looks at its sockets before: here are none."""
        if timeout is None:
            raise async_solipsism.SleepForeverError("nothing can happen any more")
        if timeout > 0:
            self._selector.clock.advance(timeout)
        return []

    def call_at(self, when: float, callback: Any, *arguments: Any, context: Context | None = None) -> Any:
        """A timer is never early, and mostly a little late."""
        late = self._random.expovariate(2000)
        if self._random.random() < 0.01:
            late += self._random.random() * 0.1
        when = math.ceil((when + late) * 1e6) / 1e6
        return super().call_at(when, callback, *arguments, context=context)

    def run_in_executor(self, executor: Any, function: Any, *arguments: Any) -> Any:
        """async-solipsism's would wait for a job that this very thread has to do."""
        return asyncio.wrap_future(executor.submit(function, *arguments), loop=self)
