"""What the verbs speak to the API through: a connection of a program with an event loop, or of one without.

The verbs are written once, as coroutines. Those of a blocking wire wait for nothing: what takes time happens in
their one step. So `run` gets such a coroutine's result without an event loop.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine, Iterator
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol, TypeVar

import httpx
from httpx_sse import EventSource, ServerSentEvent

from taskqueue.client.calls import Call, shown
from taskqueue.client.errors import ConnectionFailedError
from taskqueue.trace_context import HEADER as TRACEPARENT
from taskqueue.trace_context import current_traceparent

T = TypeVar("T")

#: Seconds without a byte after which a stream of events is taken for broken: a comment comes every 15.
_SILENCE = 50
#: Seconds for a connection to be made.
_CONNECT = 10

_NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError)


class Wire(Protocol):
    """A connection to the API. What it raises for a request without an answer is a ConnectionFailedError."""

    async def send(self, call: Call[Any]) -> httpx.Response:
        """The answer, whatever its status."""

    def stream(
        self, call: Call[Any]
    ) -> AbstractAsyncContextManager[tuple[httpx.Response, AsyncIterator[ServerSentEvent]]]:
        """The answer, read where it is no stream, and the events in it."""

    async def sleep(self, seconds: float) -> None: ...


class LoopWire:
    """A wire of a program with an event loop."""

    def __init__(self, http: httpx.AsyncClient, url: str, timeout: float, key: str | None = None) -> None:
        self._http = http
        self._url = url
        self._timeout = timeout
        self._key = key

    async def send(self, call: Call[Any]) -> httpx.Response:
        with _told(call):
            return await self._http.send(
                _request(self._http, self._url, self._key, call, self._timeout + call.wait)
            )

    @contextlib.asynccontextmanager
    async def stream(
        self, call: Call[Any]
    ) -> AsyncIterator[tuple[httpx.Response, AsyncIterator[ServerSentEvent]]]:
        with _told(call):
            response = await self._http.send(
                _request(self._http, self._url, self._key, call, _SILENCE), stream=True
            )
            try:
                if not response.is_success:
                    await response.aread()
                yield response, EventSource(response).aiter_sse()
            finally:
                await response.aclose()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class BlockingWire:
    """A wire of a program without an event loop: see `run`."""

    def __init__(self, http: httpx.Client, url: str, timeout: float, key: str | None = None) -> None:
        self._http = http
        self._url = url
        self._timeout = timeout
        self._key = key

    async def send(self, call: Call[Any]) -> httpx.Response:
        with _told(call):
            return self._http.send(_request(self._http, self._url, self._key, call, self._timeout + call.wait))

    @contextlib.asynccontextmanager
    async def stream(
        self, call: Call[Any]
    ) -> AsyncIterator[tuple[httpx.Response, AsyncIterator[ServerSentEvent]]]:
        with _told(call):
            response = self._http.send(_request(self._http, self._url, self._key, call, _SILENCE), stream=True)
            try:
                if not response.is_success:
                    response.read()
                yield response, _events(response)
            finally:
                response.close()

    async def sleep(self, seconds: float) -> None:
        time.sleep(seconds)  # noqa: ASYNC251  # it blocks, as its name says


async def _events(response: httpx.Response) -> AsyncIterator[ServerSentEvent]:
    for event in EventSource(response).iter_sse():
        yield event


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """What a coroutine on a blocking wire returns, or raises."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        result: T = end.value
        return result
    coroutine.close()
    raise RuntimeError("the coroutine waits for an event loop")


def iterate(items: AsyncGenerator[T, None]) -> Iterator[T]:
    """The items of an asynchronous generator on a blocking wire."""
    try:
        while True:
            try:
                item = run(items.__anext__())
            except StopAsyncIteration:
                return
            yield item
    finally:
        run(items.aclose())


def _request(
    http: httpx.Client | httpx.AsyncClient, url: str, key: str | None, call: Call[Any], timeout: float
) -> httpx.Request:
    return http.build_request(
        call.method,
        url + call.path,
        params=call.params,
        content=call.content,
        headers=_headers(key, call),
        timeout=httpx.Timeout(timeout, connect=min(timeout, _CONNECT)),
    )


def _headers(key: str | None, call: Call[Any]) -> dict[str, str]:
    headers = dict(call.headers)
    if key is not None:
        headers["Authorization"] = f"Bearer {key}"
    if traceparent := current_traceparent():
        headers[TRACEPARENT] = traceparent
    return headers


@contextlib.contextmanager
def _told(call: Call[Any]) -> Iterator[None]:
    """Raises what httpx raises as errors of ours."""
    try:
        yield
    except httpx.RequestError as error:
        why = f"{shown(error.request.url)} doesn't answer: {str(error) or type(error).__name__}"
        raise (ConnectionFailedError(why) if isinstance(error, _NOT_SENT) else call.no_answer(why)) from error
