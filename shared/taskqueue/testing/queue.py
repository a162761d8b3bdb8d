"""A whole taskqueue within a test: the fixture `taskqueue`.

The store is real, in a file; the API listens on this machine; the queue is in memory; and a worker runs when it is
asked to.
"""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from ssl import PROTOCOL_TLS_CLIENT, SSLContext
from typing import Any, Self

import httpx
from pydantic_core import to_jsonable_python

from taskqueue.actions import load_handlers
from taskqueue.broker import Broker
from taskqueue.broker.memory import MemoryBroker
from taskqueue.client import AsyncClient
from taskqueue.log_lines import log_happening
from taskqueue.settings import Settings
from taskqueue.store import Store, now_ms, open_store
from taskqueue.store.clock import to_ms
from taskqueue.task import FINAL, Outcome, Status, Task
from taskqueue.telemetry import Committed, TaskEnded, TaskGivenUp, Telemetry
from taskqueue.testing.attempt import name_of
from taskqueue.testing.settings import IsolatedSettings
from taskqueue_api.app import build_app, serving
from taskqueue_migrate.runner import migrate
from taskqueue_worker.beside import Beside
from taskqueue_worker.worker import work

#: What is set unless a test says otherwise: any free port, and no handlers but those that the test imports; final
#: tasks are kept; what is due is found at once, and a cancel soon.
_SETTINGS: dict[str, Any] = {
    "port": 0,
    "handlers": "",
    "unknown_action_after": 0,
    "keep_completed": 0,
    "keep_failed": 0,
    "keep_cancelled": 0,
    "relay_interval": 0.02,
    "lease": 2,
    "drain_timeout": 5,
}

#: A handler that blocks the loop, at a breakpoint perhaps, does not end the process: it is the test's.
_BESIDE = Beside(exit=lambda code: None)

#: Tasks that are read at a time.
_PAGE = 1000


@dataclass(frozen=True, slots=True)
class Failure:
    """An attempt that failed: by an error or a timeout."""

    id: str
    action: str
    #: 0 where there was none, as nothing registers the action.
    attempt: int
    #: Of the error, as the task tells them.
    type: str
    message: str
    traceback: str | None
    #: Where the task went: `failed`, or `pending` where another attempt follows.
    status: Status | None

    def __repr__(self) -> str:
        return f"<{self.action}, attempt {self.attempt}: {self.type}: {self.message}>"


class _Clock:
    """The real time, and what a test has let pass beside it, in milliseconds."""

    def __init__(self) -> None:
        self.ahead = 0

    def __call__(self) -> int:
        return now_ms() + self.ahead


class _Broker(MemoryBroker):
    """A queue that was there before its tasks: no worker that starts takes it for one that was lost."""

    @property
    def queues_created(self) -> int:
        return 0


class Queue:
    """A taskqueue whose time a test moves, and whose tasks run when the test says so."""

    def __init__(
        self,
        settings: Settings,
        clock: _Clock,
        store: Store,
        broker: Broker,
        telemetry: Telemetry,
        url: str,
        client: AsyncClient,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._store = store
        self._broker = broker
        self._telemetry = telemetry
        self._committed = asyncio.Event()
        #: Where its API listens.
        self.url = url
        #: A client of that.
        self.client = client
        #: Submits a task, which waits for `drain`: see `AsyncClient.submit`.
        self.submit = client.submit
        #: The attempts that failed so far, oldest first.
        self.failures: list[Failure] = []
        telemetry.listen(self._hear)

    @classmethod
    @contextlib.asynccontextmanager
    async def open(cls, folder: Path, **settings: Any) -> AsyncIterator[Self]:
        """A new one, gone at the end.

        Args:
            folder: an empty one, for its database.
            settings: by name, as `taskqueue.settings` has them; the environment's are not read.

        Raises:
            HandlersError: what the setting `handlers` names can't be loaded.
        """
        chosen = IsolatedSettings(**_SETTINGS | settings, data_dir=folder)
        load_handlers(chosen.handlers or "")
        migrate(chosen.database)
        clock, telemetry = _Clock(), Telemetry(log_happening)
        async with (
            open_store(
                chosen.database, write_timeout=chosen.write_timeout, telemetry=telemetry, clock=clock
            ) as store,
            _Broker() as broker,
            serving(build_app(chosen, store, broker, telemetry)) as url,
            # It is on this machine: no proxy, and no certificates, which take long to load.
            httpx.AsyncClient(trust_env=False, verify=SSLContext(PROTOCOL_TLS_CLIENT)) as http,
            AsyncClient(url, http=http) as client,
        ):
            yield cls(chosen, clock, store, broker, telemetry, url, client)

    async def drain(self, timeout: float = 60) -> None:
        """Run tasks until all that is due is final; what is to be run or tried again later waits.

        Args:
            timeout: seconds.

        Raises:
            TimeoutError: they were not final by then.
            FatalError: the worker can't go on.
        """
        try:
            async with asyncio.timeout(timeout), self.working() as worker:
                while not (worker.done() or await self._settled()):
                    await _either(worker, self._committed)
        except TimeoutError:
            left = ", ".join(f"{task.action} ({task.status})" for task in self._tasks() if self._is_due(task))
            raise TimeoutError(f"not final after {timeout:g} s: {left}") from None

    @contextlib.asynccontextmanager
    async def working(self) -> AsyncIterator[asyncio.Task[None]]:
        """Run tasks meanwhile, by a worker that is done early only where it can't go on."""
        stop = asyncio.Event()
        worker = asyncio.create_task(
            work(self._settings, self._store, self._broker, self._telemetry, stop, beside=_BESIDE)
        )
        try:
            yield worker
        finally:
            stop.set()
            await worker

    def advance(self, seconds: float) -> None:
        """Let so many seconds pass at once: what is due by then runs at the next `drain`.

        A handler's own sleeps, and the timeout of a running attempt, take their time all the same.

        Raises:
            ValueError: they are negative.
        """
        if seconds < 0:
            raise ValueError(f"time does not go back: {seconds}")
        self._clock.ahead += to_ms(seconds)

    def assert_submitted(
        self,
        action: Callable[..., Any] | str,
        data: Mapping[str, Any] | None = None,
        *,
        count: int | None = None,
    ) -> None:
        """Check that a task was submitted, however it came and whatever became of it.

        Args:
            data: members that its `data` has; others may stand beside them.
            count: how many there are exactly; None is one or more.

        Raises:
            AssertionError: it was not; the text tells which were.
        """
        __tracebackhide__ = True
        name, members = name_of(action), to_jsonable_python(dict(data or {}))
        submitted = [(task.action, json.loads(task.payload)["data"]) for task in self._tasks()]
        found = sum(other == name and members.items() <= its.items() for other, its in submitted)
        if found != count if count is not None else not found:
            wanted = "at least one" if count is None else count
            told = "".join(f"\n  {other} {json.dumps(its)}" for other, its in submitted) or " no task"
            raise AssertionError(f"expected {wanted} of {name} {json.dumps(members)}, found {found} among{told}")

    async def _settled(self) -> bool:
        """Whether all that is due is final."""
        self._committed.clear()
        reads = self._store.reads
        version = await reads.data_version()
        # Not before: what was written until then may be due since this moment.
        now = self._clock()
        overview = await reads.overview(since_minute=0, now=now, actions=0)
        busy = overview.oldest_waiting is not None or overview.by_status.get(Status.RUNNING, 0)
        # The two are read one after the other: together they are true where nobody wrote meanwhile.
        return not busy and await reads.data_version() == version

    def _is_due(self, task: Task) -> bool:
        return task.status not in FINAL and (task.status is not Status.PENDING or task.run_at <= self._clock())

    def _tasks(self) -> list[Task]:
        """All there are, oldest first, for who can't await them."""
        with ThreadPoolExecutor(1) as thread:
            return thread.submit(asyncio.run, _read_tasks(self._settings)).result()

    def _hear(self, happening: object) -> None:
        match happening:
            case Committed():
                self._committed.set()
            case TaskEnded(claim, Outcome.ERROR | Outcome.TIMEOUT, status, str(error)):
                told = json.loads(error)
                self.failures.append(Failure(claim.id, claim.action, claim.attempt, **told, status=status))
            case TaskGivenUp(id, action):
                told = f"nothing that was imported registers {action!r}"
                self.failures.append(Failure(id, action, 0, "UnknownAction", told, None, Status.FAILED))


async def _read_tasks(settings: Settings) -> list[Task]:
    async with open_store(settings.database, write_timeout=settings.write_timeout) as store:
        page = await store.reads.find(limit=_PAGE)
        tasks = page.tasks
        while page.next is not None:
            page = await store.reads.find(limit=_PAGE, cursor=page.next)
            tasks += page.tasks
    return tasks[::-1]


async def _either(working: asyncio.Task[None], event: asyncio.Event) -> None:
    waiting = asyncio.create_task(event.wait())
    await asyncio.wait({working, waiting}, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
