"""Staying connected to RabbitMQ: errors, deadlines, connections and what runs again whenever they are lost.

This is our own loop, not aio-pika's RobustConnection, because waiting inside that one can't be bounded and
its pauses don't grow, and because a caller has to know at once that there is no connection.
"""

import asyncio
import logging
import random
from asyncio.trsock import TransportSocket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import Any

import aio_pika
from aio_pika.abc import AbstractChannel, AbstractConnection
from aio_pika.exceptions import (
    AMQPConnectionError,
    AMQPError,
    AuthenticationError,
    ChannelInvalidStateError,
    ProbableAuthenticationError,
)
from aiormq import SSLContextProvider, TransportFactory
from aiormq.abc import AbstractChannel as UnderlayChannel
from aiormq.abc import AbstractConnection as UnderlayConnection
from aiormq.exceptions import ChannelAccessRefused
from yarl import URL

from ..protocol import BrokerError

log = logging.getLogger("taskqueue.broker")
# aiormq logs an error, some with a traceback, at each attempt to connect. What matters of it is logged here.
logging.getLogger("aiormq").setLevel(logging.CRITICAL)

#: Seconds. aiormq gives a silent connection up after 3 * (heartbeat + 1) + heartbeat / 2, here 38.
HEARTBEAT = 10
#: Seconds that one step of the conversation (a connect, an RPC) may take.
STEP_TIMEOUT = 5
#: Seconds after which a connection that is being closed is cut. aiormq itself waits 2 for an answer.
CLOSE_TIMEOUT = 3
#: Seconds that closing a channel may take.
CHANNEL_CLOSE_TIMEOUT = 1
#: Seconds before a lost session is tried again: at first, and at most.
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 2.0


class AwayError(BrokerError):
    """There is nobody to talk to, or not any more."""


class RefusedError(BrokerError):
    """The broker says no to us: waiting doesn't help."""


@asynccontextmanager
async def bounded(seconds: float | None) -> AsyncIterator[None]:
    """Give aio-pika calls a deadline, and turn all that they raise into a `BrokerError` of one line."""
    task = asyncio.current_task()
    assert task is not None
    cancels = task.cancelling()
    try:
        async with asyncio.timeout(seconds):
            yield
    except BrokerError:
        raise
    except asyncio.CancelledError:
        # When a connection dies of missed heartbeats, aiormq ends whoever waits for an answer with a
        # CancelledError. Nobody asked for that: it must not cancel a request, or the loop that reconnects.
        if task.cancelling() > cancels:
            raise
        raise AwayError("the connection was lost") from None
    except TimeoutError:
        raise AwayError("no answer in time") from None
    except (AuthenticationError, ProbableAuthenticationError, ChannelAccessRefused) as error:
        raise RefusedError(describe(error)) from error
    except (OSError, ChannelInvalidStateError) as error:
        raise AwayError(describe(error)) from error
    except Exception as error:
        # Not only AMQPError: aiormq ends some waits with a bare Exception.
        raise BrokerError(describe(error)) from error


def describe(error: BaseException) -> str:
    """The error in one line."""
    words = error.args if isinstance(error, AMQPError | OSError) else (type(error).__name__, error)
    return " ".join(" ".join(str(word) for word in words if word is not None).split()) or type(error).__name__


class Wire(TransportFactory):
    """What a connection's bytes go over. aiormq has no way to end that while the other side takes nothing."""

    def __init__(self) -> None:
        self._writer: asyncio.StreamWriter | None = None
        self._socket: TransportSocket | None = None

    async def create(self, url: URL, **kwargs: Any) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        secured: SSLContextProvider = kwargs.pop("ssl_context_provider")
        if url.scheme == "amqps":
            # By default the end of TLS waits 30 seconds for the other side's.
            kwargs |= {"ssl": await secured.get_context(), "ssl_shutdown_timeout": CLOSE_TIMEOUT}
        try:
            reader, self._writer = await asyncio.open_connection(url.host, url.port, **kwargs)
        except OSError as error:
            raise AMQPConnectionError(*error.args) from error
        self._socket = self._writer.get_extra_info("socket")
        return reader, self._writer

    def cut(self) -> None:
        """Close it at once, whatever hasn't been sent."""
        # asyncio's abort() raises AttributeError where the last bytes went out after close(), and so does asking
        # an ended TLS transport for its socket. A closed socket's number is -1.
        if self._writer and self._socket and self._socket.fileno() >= 0:
            self._writer.transport.abort()


@asynccontextmanager
async def connected(url: str, purpose: str) -> AsyncIterator[AbstractConnection]:
    """A new connection. Nothing of it is left soon after the end, nor when there couldn't be one."""
    wire = Wire()
    # Not aio_pika.connect(), which leaves a connection that failed to the garbage collector.
    connection = aio_pika.Connection(
        URL(url).update_query(heartbeat=HEARTBEAT),
        client_properties={"connection_name": f"taskqueue {purpose}"},
    )
    connection.kwargs["transport_factory"] = wire
    try:
        async with bounded(STEP_TIMEOUT):
            await connection.connect(timeout=STEP_TIMEOUT)
        yield connection
    finally:
        # Cutting lets close() come to its end. Cancelling doesn't: it waits for the other side all the same.
        late = asyncio.get_running_loop().call_later(CLOSE_TIMEOUT, wire.cut)
        try:
            with suppress(BrokerError):
                async with bounded(CLOSE_TIMEOUT + 1):
                    await connection.close()
        finally:
            late.cancel()
            # aio-pika drops a connection that is blocked before it is ready, without closing it.
            wire.cut()


@asynccontextmanager
async def opened(connection: AbstractConnection, *, confirms: bool = False) -> AsyncIterator[AbstractChannel]:
    """A new channel, closed at the end; with `confirms`, one to publish on.

    Each leaves a little behind in its connection (aio-pika 10.2 removes its close callback from a copy of the
    future that it added it to), so keep a channel rather than open one for each question.
    """
    async with bounded(STEP_TIMEOUT):
        channel = await connection.channel(publisher_confirms=confirms, on_return_raises=confirms)
    try:
        yield channel
    finally:
        with suppress(BrokerError):
            async with bounded(CHANNEL_CLOSE_TIMEOUT):
                await channel.close()


async def underlay(channel: AbstractChannel) -> UnderlayChannel:
    """aiormq's channel. aio-pika's doesn't tell why it closed, nor that the broker cancelled a consumer."""
    return await channel.get_underlay_channel()


def is_blocked(connection: UnderlayConnection) -> bool:
    """Whether the broker has said that it takes no messages for now.

    aiormq has no attribute for it. `ready()` is its one public sign: it ends without waiting, or waits until
    the broker takes messages again.
    """
    ready = connection.ready()
    try:
        ready.send(None)
    except StopIteration:
        return False
    ready.close()
    return True


async def lost(it: UnderlayConnection | UnderlayChannel) -> None:
    """Wait for the end of a connection or channel, and raise `BrokerError` with its reason."""
    async with bounded(None):
        await it.closing
    raise AwayError("the connection was lost")


#: Sets something up, yields an awaitable that ends when it is lost (or raises, to have it logged), cleans up.
Session = Callable[[], AbstractAsyncContextManager[Awaitable[object]]]


class Supervisor:
    """Runs a session again whenever it ends, with growing pauses while it keeps failing.

    It logs a change of state, not each attempt.
    """

    def __init__(self, name: str, session: Session) -> None:
        #: Why the session isn't up; None while it is.
        self.problem: BrokerError | None = None
        #: Set once the first attempt has come to an end.
        self.tried = asyncio.Event()
        self._name = name
        self._session = session
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin; nothing happens if it has."""
        self._task = self._task or asyncio.create_task(self._run(), name=f"taskqueue {self._name}")

    async def stop(self) -> None:
        """End the session. It takes `CHANNEL_CLOSE_TIMEOUT` and `CLOSE_TIMEOUT` at most, and a moment."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task], timeout=CHANNEL_CLOSE_TIMEOUT + CLOSE_TIMEOUT + 1)

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        pause = FIRST_PAUSE
        task = asyncio.current_task()
        assert task is not None
        # An error while cleaning up may have taken the place of the CancelledError.
        while not task.cancelling():
            started = loop.time()
            try:
                async with self._session() as lost:
                    if self.problem is not None:
                        log.info("%s: works again", self._name)
                    self.problem = None
                    self.tried.set()
                    async with bounded(None):
                        await lost
            except BrokerError as error:
                self._note(error)
            except Exception as error:
                log.exception("%s: unexpected error", self._name)
                self._note(BrokerError(describe(error)))
            if loop.time() - started > LONGEST_PAUSE:
                pause = FIRST_PAUSE
            await asyncio.sleep(pause * random.uniform(0.5, 1))
            pause = min(2 * pause, LONGEST_PAUSE)

    def _note(self, problem: BrokerError) -> None:
        # While a broker starts or stops, the reason why it is away changes from one attempt to the next.
        if type(problem) is not type(self.problem) or (
            str(problem) != str(self.problem) and not isinstance(problem, AwayError)
        ):
            log.warning("%s: %s; trying again", self._name, problem)
        self.problem = problem
        self.tried.set()
