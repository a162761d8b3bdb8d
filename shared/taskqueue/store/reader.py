"""What can be read of the store, on a connection that never writes."""

import asyncio
import json
from collections.abc import Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiosqlite

from taskqueue.store.find import EVERYTHING, Cursor, Filter, count_query, ids_query, narrow, page_query
from taskqueue.store.queries import QUERIES
from taskqueue.store.sqlite import Row, StoreUnavailableError, translated_errors
from taskqueue.store.transitions import IdempotentRequest, Replay
from taskqueue.task import Attempt, Event, Outcome, Status, Task

#: Rows with payloads and results that are read at a time, so that a page of large ones stays small in memory.
_CHUNK = 16
#: Seconds that a search may take.
_LONGEST_SEARCH = 20


@dataclass(frozen=True, slots=True)
class Page:
    """Tasks, newest first, and where the next page begins (None: there is none)."""

    tasks: list[Task]
    next: Cursor | None


@dataclass(frozen=True, slots=True)
class Worker:
    """A worker that is known. Times are Unix milliseconds."""

    id: str
    host: str
    pid: int
    consumers: int
    prefetch: int
    started_at: int
    last_seen: int
    #: Each `{"name", "arguments"}`.
    actions: list[dict[str, Any]]
    #: The tasks that it runs, each `{"id", "action", "attempt"}`.
    running: list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Overview:
    """Counters of all tasks, and of the recent minutes."""

    by_status: dict[Status, int]
    #: Since when the longest waiting task has been due; Unix milliseconds.
    oldest_waiting: int | None
    #: (minute, 'accepted' or a final status, tasks)
    minutes: list[tuple[int, str, int]]
    #: ('wait' or 'run', bucket's upper bound in milliseconds, attempts), ordered.
    times: list[tuple[str, int, int]]
    #: The same by action, of the actions with most to tell: (action, 'accepted' or a final status, tasks)
    actions: list[tuple[str, str, int]]
    #: (action, 'wait' or 'run', bucket's upper bound, attempts), ordered.
    action_times: list[tuple[str, str, int, int]]


class Reader:
    """Reads tasks, events and counters.

    Raises StoreUnavailableError where the store can't be read now.
    """

    def __init__(self, path: Path, connection: aiosqlite.Connection, searches: aiosqlite.Connection) -> None:
        self._path = path
        self._connection = connection
        #: A search may take long: it holds up other searches only.
        self._searches = searches
        self._searching = asyncio.Lock()

    async def get(self, id: str) -> Task | None:
        """The task, if there is one."""
        rows = await self._read("get", id=id)
        return _task(dict(rows[0])) if rows else None

    async def attempts_of(self, id: str) -> list[Attempt]:
        """The task's attempts, oldest first."""
        return [_attempt(dict(row)) for row in await self._read("attempts_of", id=id)]

    async def find(
        self,
        filter: Filter = EVERYTHING,
        *,
        limit: int,
        cursor: Cursor | None = None,
        max_bytes: int | None = None,
    ) -> Page:
        """A page of the tasks that fit a filter, newest first.

        Args:
            limit: tasks at most.
            cursor: where the page before said that this one begins.
            max_bytes: payloads, results and errors at most; at least one task is told.
        """
        cursor = cursor or await self.first_page(filter)
        sql, values = page_query(filter, cursor, limit + 1)
        seqs = [row["seq"] for row in await self._search(sql, values)]
        tasks: list[Task] = []
        size = 0
        for start in range(0, min(len(seqs), limit), _CHUNK):
            chunk = seqs[start : min(start + _CHUNK, limit)]
            for row in await self._read("page", seqs=json.dumps(chunk)):
                columns = dict(row)
                seq = columns.pop("seq")
                if filter.statuses and columns["status"] not in filter.statuses:
                    continue  # it has changed since it was found
                size += sum(len((columns[name] or "").encode()) for name in ("payload", "result", "error"))
                if max_bytes is not None and size > max_bytes and tasks:
                    return Page(tasks, Cursor(seq + 1, cursor.floor))
                tasks.append(_task(columns))
        more = len(seqs) > limit
        return Page(tasks, Cursor(seqs[limit - 1], cursor.floor) if more else None)

    async def count(self, filter: Filter, statuses: frozenset[Status]) -> int:
        """How many tasks fit the filter and have one of these statuses."""
        narrowed = narrow(filter, statuses)
        if narrowed is None:
            return 0
        [row] = await self._search(*count_query(narrowed, await self.first_page(narrowed)))
        return int(row["tasks"])

    async def find_ids(self, filter: Filter, cursor: Cursor, *, limit: int) -> list[tuple[int, str]]:
        """The place (`seq`) and the id of each task of a page."""
        rows = await self._search(*ids_query(filter, cursor, limit))
        return [(row["seq"], row["id"]) for row in rows]

    async def first_answer(self, request: IdempotentRequest) -> Replay | None:
        """What a request was answered that came with this key before."""
        rows = await self._read("idempotent_answer", key=request.key, expired=request.expired)
        return Replay(rows[0]["answer"], rows[0]["fingerprint"] == request.fingerprint) if rows else None

    async def events_after(self, seq: int, *, limit: int) -> list[Event]:
        """The events after one, oldest first."""
        return [_event(dict(row)) for row in await self._read("events_after", after=seq, limit=limit)]

    async def event_range(self) -> tuple[int, int]:
        """The first event that is still kept, and the last there ever was; (1, 0) where there is none."""
        [first], last = await self._read("first_event"), await self._read("last_event")
        newest = int(last[0]["seq"]) if last else 0
        return (newest + 1 if first["seq"] is None else int(first["seq"])), newest

    async def end_event(self, id: str) -> int | None:
        """The event that told the task's (last) end; None where there is none, or it is no longer kept."""
        [row] = await self._read("end_event", id=id)
        return None if row["seq"] is None else int(row["seq"])

    async def data_version(self) -> int:
        """A number that changes whenever anybody has written: cheap to ask often."""
        [row] = await self._read("data_version")
        return int(row["data_version"])

    async def overview(self, *, since_minute: int, now: int, actions: int) -> Overview:
        """The counters.

        Args:
            since_minute: the oldest minute to tell, in Unix minutes.
            now: Unix milliseconds.
            actions: how many of them to tell. Clients choose their names: there may be any number.
        """
        [oldest] = await self._read("oldest_waiting", now=now)
        busiest = await self._read("busiest_actions", since=since_minute, limit=actions)
        names = json.dumps([row["action"] for row in busiest])
        return Overview(
            by_status={Status(row["status"]): row["tasks"] for row in await self._read("status_counts")},
            oldest_waiting=oldest["run_at"],
            minutes=[tuple(row) for row in await self._read("minute_counts", since=since_minute)],
            times=[tuple(row) for row in await self._read("minute_times", since=since_minute)],
            actions=[tuple(row) for row in await self._read("action_counts", since=since_minute, names=names)],
            action_times=[tuple(row) for row in await self._read("action_times", since=since_minute, names=names)],
        )

    async def waiting_count(self) -> int:
        """How many tasks wait, `pending` or `queued`: from counters, cheap to ask often."""
        [row] = await self._read("waiting_count")
        return int(row["tasks"])

    async def workers(self) -> list[Worker]:
        """The workers that are known, with what they run."""
        running: dict[str, list[dict[str, Any]]] = {}
        for row in await self._read("running"):
            task = {"id": row["id"], "action": row["action"], "attempt": row["attempt"]}
            running.setdefault(row["worker"], []).append(task)
        return [
            Worker(**dict(row) | {"actions": json.loads(row["actions"]), "running": running.get(row["id"], [])})
            for row in await self._read("workers")
        ]

    async def worker_beats(self) -> dict[str, int]:
        """Each known worker's beat counter."""
        return {row["id"]: row["beat"] for row in await self._read("worker_beats")}

    async def schema_version(self) -> int:
        """The schema's version; shows that the store can be read."""
        [row] = await self._read("schema_version")
        return int(row["version"] or 0)

    async def first_page(self, filter: Filter) -> Cursor:
        """The cursor of the newest page: it knows the range that the filter's times lead to."""
        before, floor = Cursor().before, 0
        if filter.created_after is not None:
            [row] = await self._read("none_created_since_below", at=filter.created_after)
            floor = before if row["seq"] is None else row["seq"]
        if filter.created_before is not None:
            [row] = await self._read("none_created_before_from", at=filter.created_before)
            before = row["seq"] or 0
        return Cursor(before, floor)

    async def _read(self, query: str, **values: Any) -> list[Row]:
        return await self._fetch(self._connection, QUERIES[query], values)

    async def _search(self, sql: str, values: dict[str, Any]) -> list[Row]:
        async with self._searching:
            try:
                async with asyncio.timeout(_LONGEST_SEARCH):
                    return await self._until_cancelled(self._fetch(self._searches, sql, values))
            except TimeoutError as error:
                raise StoreUnavailableError(f"a search took longer than {_LONGEST_SEARCH} s") from error

    async def _until_cancelled(self, search: Coroutine[Any, Any, list[Row]]) -> list[Row]:
        """Run a search to its end, or end it where the caller gives up: it would hold up the next one."""
        searching = asyncio.create_task(search)
        try:
            return await asyncio.shield(searching)
        except asyncio.CancelledError:
            # What the connection's thread has not begun can't be interrupted yet.
            while not searching.done():
                await self._searches.interrupt()
                await asyncio.wait({searching}, timeout=0.01)
            searching.exception()
            raise

    async def _fetch(self, connection: aiosqlite.Connection, sql: str, values: dict[str, Any]) -> list[Row]:
        with translated_errors(self._path):
            # One call on the connection's thread: nothing of it outlives a caller that is cancelled.
            return list(await connection.execute_fetchall(sql, values))


def _task(columns: dict[str, Any]) -> Task:
    columns["status"] = Status(columns["status"])
    columns["cancel_requested"] = bool(columns["cancel_requested"])
    columns["tags"] = tuple(json.loads(columns["tags"]))
    return Task(**columns)


def _event(columns: dict[str, Any]) -> Event:
    columns["status"] = Status(columns["status"])
    columns["tags"] = tuple(json.loads(columns["tags"]))
    return Event(**columns)


def _attempt(columns: dict[str, Any]) -> Attempt:
    columns["outcome"] = columns["outcome"] and Outcome(columns["outcome"])
    return Attempt(**columns)
