"""A TCP proxy in front of a broker, to do to one client's connections what a network does."""

import asyncio
from contextlib import suppress
from ssl import SSLContext
from types import TracebackType
from typing import Any, Self


class Proxy:
    """Listens on `port` from `open()` to `shut()`; with `tls`, it speaks that with its clients."""

    def __init__(self, port: int, target: int, tls: SSLContext | None = None) -> None:
        self.port = port
        self._tls = tls
        self._target = target
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        #: Connecting, or pumping.
        self._tasks: set[asyncio.Task[Any]] = set()
        self._forwarding = asyncio.Event()
        self._forwarding.set()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.shut()

    async def open(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port, ssl=self._tls)

    async def shut(self) -> None:
        """Refuse connections, and cut those that there are."""
        if self._server:
            # What it has just accepted gets here within a few turns of the loop, or would never be closed.
            for listener in self._server.sockets:
                asyncio.get_running_loop().remove_reader(listener.fileno())
            for _ in range(5):
                await asyncio.sleep(0)
            self._server.close()
            self._server = None
        self.cut()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=5)
        await asyncio.sleep(0)  # in which what was aborted is closed

    def cut(self) -> None:
        """Reset all connections."""
        for writer in self._writers:
            writer.transport.abort()
        for task in self._tasks:
            task.cancel()

    def drop(self) -> None:
        """Let nothing through any more, as a firewall that drops packets; connections stay open."""
        self._forwarding.clear()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        connecting = asyncio.create_task(asyncio.open_connection("127.0.0.1", self._target))
        self._tasks.add(connecting)
        try:
            far_reader, far_writer = await connecting
        except (OSError, asyncio.CancelledError):
            writer.transport.abort()
            return
        finally:
            self._tasks.discard(connecting)
        self._writers.add(far_writer)
        for source, sink in ((reader, far_writer), (far_reader, writer)):
            pump = asyncio.create_task(self._pump(source, sink))
            self._tasks.add(pump)
            pump.add_done_callback(self._tasks.discard)

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await source.read(65536):
                await self._forwarding.wait()
                sink.write(data)
                await sink.drain()
        sink.transport.abort()
