"""Connections and channels to RabbitMQ: each step has a deadline, each error one line, each close an end."""

import asyncio
import logging
from asyncio.trsock import TransportSocket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any

import aiormq
from aiormq import Channel, SSLContextProvider, TransportFactory, spec
from aiormq.exceptions import (
    AMQPConnectionError,
    AMQPError,
    AuthenticationError,
    ChannelAccessRefused,
    ChannelInvalidStateError,
    ConnectionClosed,
    ProbableAuthenticationError,
)
from yarl import URL

from ..protocol import BrokerError
from .foreign import read_what_anybody_sends

log = logging.getLogger("taskqueue.broker")
# aiormq logs an error, some with a traceback, at each attempt to connect. What matters of it is logged here.
logging.getLogger("aiormq").setLevel(logging.CRITICAL)
read_what_anybody_sends()

#: The delivery mode of a message that outlives a restart of RabbitMQ.
PERSISTENT = 2
#: Seconds. aiormq gives a silent connection up after 3 * (heartbeat + 1) + heartbeat / 2, here 38.
HEARTBEAT = 10
#: Seconds that one step of the conversation (a connect, an RPC) may take.
STEP_TIMEOUT = 5
#: Seconds after which a connection that is being closed is cut. aiormq itself waits 2 for an answer.
CLOSE_TIMEOUT = 3
#: RabbitMQ's code where there is no such vhost, or not for this user; and where a limit of connections is reached.
NOT_ALLOWED = 530
#: Seconds that closing a channel may take.
CHANNEL_CLOSE_TIMEOUT = 1


class AwayError(BrokerError):
    """There is nobody to talk to, or not any more."""


class RefusedError(BrokerError):
    """The broker says no to us: waiting doesn't help."""


@contextmanager
def explained() -> Iterator[None]:
    """Turn all that aiormq raises into a `BrokerError` of one line."""
    task = asyncio.current_task()
    assert task is not None
    cancels = task.cancelling()
    try:
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
    except StopAsyncIteration:  # aiormq has read to the end
        raise AwayError("the connection was closed") from None
    except (AuthenticationError, ProbableAuthenticationError, ChannelAccessRefused) as error:
        raise RefusedError(describe(error)) from error
    except ConnectionClosed as error:
        for_good = error.args[0] == NOT_ALLOWED and "limit (" not in describe(error)
        raise (RefusedError if for_good else AwayError)(describe(error)) from error
    except (OSError, ChannelInvalidStateError) as error:
        raise AwayError(describe(error)) from error
    except Exception as error:
        # Not only AMQPError: aiormq ends some waits with a bare Exception.
        raise BrokerError(describe(error)) from error


@asynccontextmanager
async def bounded(seconds: float | None) -> AsyncIterator[None]:
    """Give aiormq's calls a deadline, and explain what they raise."""
    with explained():
        async with asyncio.timeout(seconds):
            yield


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

    @property
    def unsent(self) -> int:
        """How many bytes wait for the other side to take some."""
        return self._writer.transport.get_write_buffer_size() if self._writer else 0

    def cut(self) -> None:
        """Close it at once, whatever hasn't been sent."""
        # asyncio's abort() raises AttributeError where the last bytes went out after close(), and so does asking
        # an ended TLS transport for its socket. A closed socket's number is -1.
        if self._writer and self._socket and self._socket.fileno() >= 0:
            self._writer.transport.abort()


class Connection(aiormq.Connection):
    """One that also tells whether RabbitMQ takes what is sent."""

    def __init__(self, url: str, purpose: str) -> None:
        self.wire = Wire()
        super().__init__(
            URL(url).update_query(heartbeat=HEARTBEAT),
            transport_factory=self.wire,
            client_properties={"connection_name": f"taskqueue {purpose}"},
        )

    @staticmethod
    async def _rpc(request: Any, *args: Any, **kwargs: Any) -> Any:
        # aiormq has a case for being refused, but expects no such answer to this request: its text would get lost.
        if request.name == spec.Connection.Open.name:
            request.valid_responses = [*request.valid_responses, spec.Connection.Close.name]
        return await aiormq.Connection._rpc(request, *args, **kwargs)

    @property
    def blocked(self) -> bool:
        """Whether RabbitMQ has said that it takes no messages for now."""
        # aiormq has no attribute for it. `ready()` is its one public sign: it ends without waiting, or waits
        # until RabbitMQ takes messages again.
        ready = self.ready()
        try:
            ready.send(None)
        except StopIteration:
            return False
        ready.close()
        return True


@asynccontextmanager
async def connected(url: str, purpose: str) -> AsyncIterator[Connection]:
    """A new connection. Nothing of it is left soon after the end, nor when there couldn't be one."""
    connection = Connection(url, purpose)
    try:
        async with bounded(STEP_TIMEOUT):
            await connection.connect()
        yield connection
    finally:
        # Cutting lets close() come to its end. Cancelling doesn't: it waits for the other side all the same.
        late = asyncio.get_running_loop().call_later(CLOSE_TIMEOUT, connection.wire.cut)
        try:
            with suppress(BrokerError):
                async with bounded(CLOSE_TIMEOUT + 1):
                    await connection.close()
        finally:
            late.cancel()
            connection.wire.cut()


@asynccontextmanager
async def opened(connection: Connection, *, confirms: bool = False) -> AsyncIterator[Channel]:
    """A new channel, closed at the end; with `confirms`, one to publish on."""
    async with bounded(STEP_TIMEOUT):
        channel = await connection.channel(publisher_confirms=confirms)
    assert isinstance(channel, Channel)
    try:
        yield channel
    finally:
        with suppress(BrokerError):
            async with bounded(CHANNEL_CLOSE_TIMEOUT):
                await channel.close()


async def lost(it: Connection | Channel) -> None:
    """Wait for the end of a connection or channel, and raise `BrokerError` with its reason."""
    async with bounded(None):
        await it.closing
    raise AwayError("the connection was lost")
