"""The network between simulated processes, without sockets: what is sent at one end of a connection arrives later,
and in order.

aiohttp meets it in two places: the loop's `create_server`, and the connector of its client.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from random import Random
from typing import Any

import aiohttp
from tests.simulation.loop import Process


class Pipe:
    """One direction of a connection: what is sent arrives later, in order."""

    def __init__(self, receiver: Process, seconds: Callable[[], float]) -> None:
        self._receiver = receiver
        self._seconds = seconds
        self._sent: deque[tuple[Callable[..., object], tuple[object, ...]]] = deque()

    def send(self, function: Callable[..., object], *arguments: object) -> None:
        self._sent.append((function, arguments))
        self._receiver.call_later(self._seconds(), self._arrive)

    def _arrive(self) -> None:
        function, arguments = self._sent.popleft()
        function(*arguments)


class End(asyncio.Transport):
    """One end of a connection, in a process."""

    other: "End"

    def __init__(self, process: Process, network: "Network") -> None:
        super().__init__()
        self.process = process
        self.coming = Pipe(process, network.seconds)
        self._network = network
        self._protocol: Any = None
        self._closed = False

    def open(self, factory: Callable[[], Any]) -> Any:
        self._protocol = factory()
        self._protocol.connection_made(self)
        return self._protocol

    def lose(self) -> None:
        """The connection is gone, as this end sees it."""
        if not self._closed:
            self._closed = True
            self.process.call_later(0, self._tell_lost)

    def _tell_lost(self) -> None:
        if self._protocol is not None:
            self._protocol.connection_lost(None)

    def _take(self, data: bytes) -> None:
        if not self._closed:
            self._protocol.data_received(data)

    # What a protocol asks for

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if not self._closed:
            for part in self._network.in_parts(bytes(data)):
                self.other.coming.send(self.other._take, part)

    def close(self) -> None:
        if not self._closed:
            self.other.coming.send(self.other.lose)
            self.lose()

    def abort(self) -> None:
        self.close()

    def is_closing(self) -> bool:
        return self._closed


class Listener:
    """A process that takes connections: the server that `create_server` makes, and its socket."""

    def __init__(self, network: "Network", process: Process, factory: Callable[[], Any], address: Any) -> None:
        self.process = process
        self.factory = factory
        self.sockets = [self]
        self.ends: list[End] = []
        self._network = network
        self._address = address

    def getsockname(self) -> Any:
        return self._address

    def close(self) -> None:
        if self in self._network.listeners:
            self._network.listeners.remove(self)

    def accept(self, end: End) -> None:
        if self in self._network.listeners:
            end.open(self.factory)
        else:
            end.close()

    def die(self) -> None:
        """The process is gone: its clients find their connections closed."""
        self.close()
        for end in self.ends:
            end.other.coming.send(end.other.lose)


class Network:
    """Who listens, and all connections."""

    def __init__(self, random: Random) -> None:
        self.listeners: list[Listener] = []
        self._random = random

    def seconds(self) -> float:
        """How long what is sent takes."""
        return self._random.expovariate(500)

    def in_parts(self, data: bytes) -> list[bytes]:
        """As what is sent arrives: mostly at once."""
        if len(data) < 2 or self._random.random() < 0.9:
            return [data]
        place = self._random.randrange(1, len(data))
        return [data[:place], data[place:]]

    def listen(self, process: Process, factory: Callable[[], Any], address: Any) -> Listener:
        listener = Listener(self, process, factory, address)
        self.listeners.append(listener)
        process.on_death.append(listener.die)
        return listener

    async def connect(self, client: Process, name: str | None, factory: Callable[[], Any]) -> Any:
        """A protocol that is connected with the process of that name.

        Raises:
            ClientConnectionError: it doesn't listen.
        """
        await asyncio.sleep(self.seconds())
        for listener in self.listeners:
            if listener.process.name == name:
                near, far = End(client, self), End(listener.process, self)
                near.other, far.other = far, near
                listener.ends.append(far)
                far.coming.send(listener.accept, far)
                return near.open(factory)
        raise aiohttp.ClientConnectionError(f"{name} doesn't listen")

    def cut(self, name: str) -> None:
        """Cut all connections that a process has taken."""
        for listener in self.listeners:
            if listener.process.name == name:
                for end in listener.ends:
                    end.coming.send(end.lose)
                    end.other.coming.send(end.other.lose)
                listener.ends.clear()


class Connector(aiohttp.BaseConnector):
    """Connects a client; the host of a URL is the name of a process."""

    def __init__(self, network: Network, client: Process) -> None:
        # Whether a connection is still open it would tell by the real time.
        super().__init__(limit=0, keepalive_timeout=None)
        self._network = network
        self._client = client

    async def _create_connection(self, req: Any, *_: Any) -> Any:
        return await self._network.connect(self._client, req.url.host, self._factory)
