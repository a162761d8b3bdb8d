"""The two clients: of programs with an event loop, and of those without."""

import asyncio
import functools
import os
import re
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterable, Iterator, Mapping
from typing import Any, ClassVar, Concatenate, ParamSpec, Self, TypeVar, Unpack, overload
from weakref import WeakKeyDictionary

import httpx

from taskqueue.actions.submitting import Submittable
from taskqueue.client.batches import Task
from taskqueue.client.bodies import SubmitOptions
from taskqueue.client.handles import Handle
from taskqueue.client.verbs import Verbs
from taskqueue.client.wires import BlockingWire, LoopWire, iterate, run

P = ParamSpec("P")
T = TypeVar("T")

#: Where the API listens, if nothing else is said.
_DEFAULT = "http://127.0.0.1:8080"


class AsyncClient(Verbs):
    """Speaks to the API from a program with an event loop. Its tasks may share it.

    Args:
        url: where the API is; else `TASKQUEUE_URL` says it, else it is on this machine.
        key: where the API asks for one; else `TASKQUEUE_KEY` says it.
        timeout: seconds without a byte after which an answer doesn't come any more.
        retry_for: seconds, from the first failure on, in which a request is sent again, where that is safe.
        http: what sends the requests instead, with headers, certificates, proxies of its own. It is closed by who
            made it.

    Raises:
        ValueError: the URL, or the key, is none.
    """

    _bound: "ClassVar[AsyncClient | None]" = None

    def __init__(
        self,
        url: str | None = None,
        *,
        key: str | None = None,
        timeout: float = 40,
        retry_for: float = 60,
        http: httpx.AsyncClient | None = None,
    ) -> None:
        address = _address(url)
        shown = _key(key, address)
        self._own = http is None
        self._http = http or httpx.AsyncClient(verify=_has_certificate(address))
        super().__init__(LoopWire(self._http, address, timeout, shown), retry_for)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        if AsyncClient._bound is self:
            AsyncClient._bound = None
        if self._own:
            await self._http.aclose()

    def bind(self) -> Self:
        """Have the actions' own `submit` go through this client, in the whole process, until it is closed."""
        AsyncClient._bound = self
        return self

    @classmethod
    async def current(cls) -> "AsyncClient":
        """The client that was bound, or else one of this event loop, for `TASKQUEUE_URL`."""
        if cls._bound is not None:
            return cls._bound
        loop = asyncio.get_running_loop()
        if loop not in _of_loops:
            # An event loop that ends (`asyncio.run`) closes the generators that are left, and this one its client.
            opened = _opened()
            _of_loops[loop] = (await anext(opened), opened)
        return _of_loops[loop][0]


#: The client of each event loop in which nothing was bound, with what closes it.
_of_loops: WeakKeyDictionary[asyncio.AbstractEventLoop, tuple[AsyncClient, AsyncGenerator[AsyncClient, None]]] = (
    WeakKeyDictionary()
)


async def _opened() -> AsyncGenerator[AsyncClient, None]:
    async with AsyncClient() as client:
        yield client


def _blocking(
    verb: Callable[Concatenate[Verbs, P], Coroutine[Any, Any, T]],
) -> "Callable[Concatenate[Client, P], T]":
    @functools.wraps(verb)
    def call(client: "Client", /, *args: P.args, **kwargs: P.kwargs) -> T:
        return run(verb(client._verbs, *args, **kwargs))

    return call


def _blocking_iterator(
    verb: Callable[Concatenate[Verbs, P], AsyncGenerator[T, None]],
) -> "Callable[Concatenate[Client, P], Iterator[T]]":
    @functools.wraps(verb)
    def call(client: "Client", /, *args: P.args, **kwargs: P.kwargs) -> Iterator[T]:
        return iterate(verb(client._verbs, *args, **kwargs))

    return call


class Client:
    """Speaks to the API from a program without an event loop: as AsyncClient does, but its verbs block.

    Its threads may share it.
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        key: str | None = None,
        timeout: float = 40,
        retry_for: float = 60,
        http: httpx.Client | None = None,
    ) -> None:
        address = _address(url)
        shown = _key(key, address)
        self._own = http is None
        self._http = http or httpx.Client(verify=_has_certificate(address))
        self._verbs = Verbs(BlockingWire(self._http, address, timeout, shown), retry_for)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        if self._own:
            self._http.close()

    @overload
    def submit(
        self, action: str, /, data: Mapping[str, Any] | None = None, **options: Unpack[SubmitOptions]
    ) -> Handle[Any]: ...
    @overload
    def submit(self, action: Submittable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Handle[T]: ...
    def submit(self, action: Any, /, *args: Any, **kwargs: Any) -> Handle[Any]:
        """As AsyncClient.submit."""
        return Handle(run(self._verbs.submit(action, *args, **kwargs)))

    def submit_many(self, tasks: Iterable[Task]) -> Iterator[Handle[Any]]:
        """As AsyncClient.submit_many."""
        return map(Handle, iterate(self._verbs.submit_many(tasks)))

    check_many = _blocking(Verbs.check_many)
    get = _blocking(Verbs.get)
    wait = _blocking(Verbs.wait)
    find = _blocking_iterator(Verbs.find)
    watch = _blocking_iterator(Verbs.watch)
    watch_all = _blocking_iterator(Verbs.watch_all)
    cancel = _blocking(Verbs.cancel)
    retry = _blocking(Verbs.retry)
    delete = _blocking(Verbs.delete)
    cancel_all = _blocking(Verbs.cancel_all)
    retry_all = _blocking(Verbs.retry_all)
    delete_all = _blocking(Verbs.delete_all)
    overview = _blocking(Verbs.overview)
    errors = _blocking(Verbs.errors)
    stats = _blocking(Verbs.stats)
    tags = _blocking(Verbs.tags)
    workers = _blocking(Verbs.workers)
    actions = _blocking(Verbs.actions)
    dead_letters = _blocking(Verbs.dead_letters)
    requeue_dead_letters = _blocking(Verbs.requeue_dead_letters)
    drop_dead_letters = _blocking(Verbs.drop_dead_letters)
    create_key = _blocking(Verbs.create_key)
    keys = _blocking(Verbs.keys)
    revoke_key = _blocking(Verbs.revoke_key)
    audit = _blocking_iterator(Verbs.audit)


def _address(url: str | None) -> str:
    url = url or os.environ.get("TASKQUEUE_URL") or _DEFAULT
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL as error:
        raise ValueError(f"{_without_password(url)!r} is no URL: {error}") from None
    if parsed.scheme not in {"http", "https"} or not parsed.host or parsed.query or parsed.fragment:
        raise ValueError(f"{_without_password(url)!r} is no URL of an API: http://host:port")
    return str(parsed).rstrip("/")


def _key(key: str | None, address: str) -> str | None:
    # What a file or a shell added to its end is no part of it.
    key = (key or os.environ.get("TASKQUEUE_KEY") or "").strip()
    if not re.fullmatch("[!-~]*", key):
        raise ValueError("the key is none: it has other characters than letters, digits and signs")
    if key and httpx.URL(address).userinfo:
        raise ValueError("a key and a password in the URL exclude each other")
    return key or None


def _without_password(url: str) -> str:
    return re.sub(r"//.*@", "//...@", url)


def _has_certificate(address: str) -> bool:
    """Whether one has to be checked: to load those of the authorities takes longer than a request."""
    return address.startswith("https:")
