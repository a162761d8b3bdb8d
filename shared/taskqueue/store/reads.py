"""What can be read of the store."""

import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from taskqueue.store.audit import Noted
from taskqueue.store.engine.protocol import Engine, tuples
from taskqueue.store.idempotency import IdempotentRequest, Replay
from taskqueue.store.identity import Identity
from taskqueue.store.keys import StoredKey
from taskqueue.store.pages import (
    EVERYTHING,
    SEARCHED,
    Cursor,
    Filter,
    count_query,
    failures_query,
    ids_query,
    is_quick,
    narrow,
    page_query,
    reads_each,
)
from taskqueue.task import Attempt, Event, Outcome, Status, Task

#: Bytes of payloads and results for which room is made before they are read.
LARGE = 64 * 1024
_ANY = 2**62
#: Events, of all tasks, among which those of one are looked for at a time: it takes a few milliseconds.
_EVENTS_LOOKED_AT = 20_000

#: Is awaited before so many bytes are read.
MakeRoom = Callable[[int], Awaitable[None]]


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
    queue: str
    #: Their names.
    actions: list[str]
    #: By action: where it runs.
    executors: dict[str, str]
    #: By package: taskqueue's, and those of its actions.
    versions: dict[str, str]
    #: Resident bytes at its last beat; None where that can't be read.
    memory: int | None
    #: The tasks that it runs, each `{"id", "action", "attempt", "started_at"}`.
    running: list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class KnownAction:
    """An action that a worker has been able to run. `arguments` and `defaults` are JSON text."""

    name: str
    arguments: str
    defaults: str
    version: str | None
    #: When a worker that knows it started or ended last, in Unix milliseconds.
    last_seen: int


@dataclass(frozen=True, slots=True)
class Accepts:
    """What an action takes, or more (a JSON Schema), and what it says of its tasks; as JSON text."""

    name: str
    #: Whether it is none of those that ship.
    own: bool
    accepts: str
    defaults: str


@dataclass(frozen=True, slots=True)
class Overview:
    """Counters of all tasks, and of the recent minutes."""

    by_status: dict[Status, int]
    #: Since when the longest waiting task has been due; Unix milliseconds.
    oldest_waiting: int | None
    #: How many wait for a worker that knows their action.
    waiting_for_workers: int
    #: (minute, 'accepted' or a final status, tasks)
    minutes: list[tuple[int, str, int]]
    #: ('wait' or 'run', bucket's upper bound in milliseconds, attempts), ordered.
    times: list[tuple[str, int, int]]
    #: The same by action, of the actions with most to tell: (action, 'accepted' or a final status, tasks)
    actions: list[tuple[str, str, int]]
    #: (action, 'wait' or 'run', bucket's upper bound, attempts), ordered.
    action_times: list[tuple[str, str, int, int]]


@dataclass(frozen=True, slots=True)
class Failures:
    """Failed tasks of the same action with the same error. Times are Unix milliseconds."""

    action: str
    type: str
    #: The beginning of it.
    message: str
    tasks: int
    first_at: int
    last_at: int
    #: The id of the one that was accepted last.
    last: str


@dataclass(frozen=True, slots=True)
class Standing:
    """How it stands now."""

    by_status: dict[Status, int]
    #: Since when the longest waiting task has been due; Unix milliseconds.
    oldest_waiting: int | None
    #: `pending` tasks that are due: hardly any while the broker takes them; 100,000 at most are counted.
    due: int
    #: By action, how many wait for a worker that knows it.
    set_aside: dict[str, int]
    #: Workers that are known, and how many tasks these run at a time.
    workers: int
    slots: int


@dataclass(frozen=True, slots=True)
class Measures:
    """What is measured of the store."""

    by_status: dict[Status, int]
    #: Since when the longest waiting task has been due; Unix milliseconds.
    oldest_waiting: int | None
    #: How many wait for a worker that knows their action.
    waiting_for_workers: int
    #: Workers that are known, and how many tasks these run at a time.
    workers: int
    slots: int
    #: The first event that is still kept, and the last there ever was.
    first_event: int
    last_event: int
    #: (minute, action, 'accepted' or a final status, tasks)
    counts: list[tuple[int, str, str, int]]
    #: (minute, action, 'wait' or 'run', bucket's upper bound in milliseconds, attempts)
    times: list[tuple[int, str, str, int, int]]


class Reads:
    """Reads tasks, events and counters.

    Raises StoreUnavailableError where the store can't be read now.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def get(self, id: str, make_room: MakeRoom | None = None) -> Task | None:
        """The task with its attempts, if there is one.

        Args:
            make_room: for a large one.
        """
        most = LARGE if make_room else _ANY
        rows = await self._engine.read("get", id=id, most=most)
        if make_room and rows and rows[0]["size"] > most:
            await make_room(rows[0]["size"])
            rows = await self._engine.read("get", id=id, most=_ANY)
        return _whole_task(dict(rows[0])) if rows else None

    async def outline(self, id: str) -> Task | None:
        """The task with its attempts; where it is large its payload (empty then) and its result are left out."""
        rows = await self._engine.read("get", id=id, most=LARGE)
        return _whole_task(dict(rows[0])) if rows else None

    async def known(self, ids: Sequence[str]) -> dict[str, int]:
        """The `seq` of those that are stored, by id."""
        return {row["id"]: row["seq"] for row in await self._engine.read("known", ids=json.dumps(ids))}

    async def find(
        self,
        filter: Filter = EVERYTHING,
        *,
        limit: int,
        cursor: Cursor | None = None,
        max_bytes: int | None = None,
        make_room: MakeRoom | None = None,
    ) -> Page:
        """A page of the tasks that fit a filter, newest first. One of a search for text may have fewer than the
        next: it looks only so far back.

        Args:
            limit: tasks at most.
            cursor: where the page before said that this one begins.
            max_bytes: payloads, results and errors at most; at least one task is told.
            make_room: for a page that is large.
        """
        cursor = cursor or await self.first_page(filter)
        floor = await self._searched_to(cursor) if reads_each(filter) else cursor.floor
        sql, values = page_query(filter, Cursor(cursor.before, floor), limit + 1)
        ask = self._engine.look if is_quick(filter) else self._engine.search
        seqs = [row["seq"] for row in await ask(sql, values)]
        told, size = await self._fitting(seqs[:limit], max_bytes)
        if make_room and size > LARGE:
            await make_room(size)
        rows = [dict(row) for row in await self._engine.read("page", seqs=json.dumps(told))]
        # Some may have changed since they were found.
        tasks = [_task(row) for row in rows if not filter.statuses or row["status"] in filter.statuses]
        if len(seqs) > len(told):
            return Page(tasks, Cursor(told[-1], cursor.floor))
        return Page(tasks, Cursor(floor, cursor.floor) if floor > max(cursor.floor, 1) else None)

    async def _searched_to(self, cursor: Cursor) -> int:
        """The place down to which a page from this cursor on looks for text."""
        [row] = await self._engine.read("newest_place")
        return max(cursor.floor, min(cursor.before, int(row["seq"]) + 1) - SEARCHED)

    async def _fitting(self, seqs: list[int], max_bytes: int | None) -> tuple[list[int], int]:
        """The first of these, with so many bytes at most, but at least one; and how many bytes these have."""
        # One that is gone has none.
        sizes = {row["seq"]: row["size"] for row in await self._engine.read("sizes", seqs=json.dumps(seqs))}
        total = 0
        for count, seq in enumerate(seqs):
            size = sizes.get(seq, 0)
            if count and max_bytes is not None and total + size > max_bytes:
                return seqs[:count], total
            total += size
        return seqs, total

    async def count(self, filter: Filter, statuses: frozenset[Status]) -> int:
        """How many tasks fit the filter and have one of these statuses."""
        narrowed = narrow(filter, statuses)
        if narrowed is None:
            return 0
        [row] = await self._engine.count(*count_query(narrowed, await self.first_page(narrowed)))
        return int(row["tasks"])

    async def failures(self, filter: Filter, *, limit: int) -> list[Failures]:
        """The errors of the failed tasks that fit a filter, in no order.

        Args:
            limit: how many tasks to look at, the newest.
        """
        failed = replace(filter, statuses=frozenset({Status.FAILED}))
        rows = await self._engine.search(*failures_query(failed, await self.first_page(failed), limit))
        return [Failures(**dict(row)) for row in rows]

    async def find_ids(self, filter: Filter, cursor: Cursor, *, limit: int) -> list[tuple[int, str]]:
        """The place (`seq`) and the id of each task of a page."""
        rows = await self._engine.search(*ids_query(filter, cursor, limit))
        return [(row["seq"], row["id"]) for row in rows]

    async def first_answer(self, request: IdempotentRequest) -> Replay | None:
        """What a request was answered that came with this key before."""
        rows = await self._engine.read("kept_answer", key=request.key, expired=request.expired)
        return Replay.of(rows, request)

    async def events_after(self, seq: int, *, limit: int) -> list[Event]:
        """The events after one, oldest first."""
        return [_event(dict(row)) for row in await self._engine.read("events_after", after=seq, limit=limit)]

    async def events_of(self, task_seq: int, *, after: int, until: int) -> list[Event]:
        """The events of a task after one and up to another, oldest first."""
        events: list[Event] = []
        for start in range(after, until, _EVENTS_LOOKED_AT):
            end = min(until, start + _EVENTS_LOOKED_AT)
            rows = await self._engine.read("events_of", task_seq=task_seq, after=start, until=end)
            events += [_event(dict(row)) for row in rows]
        return events

    async def event_range(self) -> tuple[int, int]:
        """The first event that is still kept, and the last there ever was; (1, 0) where there is none."""
        [row] = await self._engine.read("event_range")
        last = row["last"] or 0
        return (last + 1 if row["first"] is None else row["first"]), last

    async def end_event(self, task_seq: int) -> int | None:
        """The event that told the task's (last) end; None where there is none, or it is no longer kept."""
        [row] = await self._engine.read("end_event", task_seq=task_seq)
        return None if row["seq"] is None else int(row["seq"])

    async def data_version(self) -> int:
        """A number that changes whenever anybody has written: cheap to ask often."""
        [row] = await self._engine.read("data_version")
        return int(row["data_version"])

    async def overview(self, *, since_minute: int, now: int, actions: int) -> Overview:
        """The counters.

        Args:
            since_minute: the oldest minute to tell, in Unix minutes.
            now: Unix milliseconds.
            actions: how many of them to tell. Clients choose their names: there may be any number.
        """
        survey = self._engine.survey
        [oldest] = await survey("oldest_waiting", now=now)
        busiest = await survey("busiest_actions", since=since_minute, until=_ANY, limit=actions)
        names = json.dumps([row["action"] for row in busiest])
        return Overview(
            by_status={Status(row["status"]): row["tasks"] for row in await survey("status_counts")},
            oldest_waiting=oldest["run_at"],
            waiting_for_workers=sum((await self.set_aside_counts()).values()),
            minutes=tuples(await survey("minute_counts", since=since_minute)),
            times=tuples(await survey("minute_times", since=since_minute)),
            actions=tuples(await survey("action_counts", since=since_minute, names=names)),
            action_times=tuples(await survey("action_times", since=since_minute, names=names)),
        )

    async def measures(self, *, now: int, counts_since: int, times_since: int) -> Measures:
        """What is measured.

        Args:
            now: Unix milliseconds.
            counts_since, times_since: the oldest minute to tell, in Unix minutes.
        """
        survey = self._engine.survey
        [oldest], [workers] = await survey("oldest_waiting", now=now), await survey("worker_count")
        first, last = await self.event_range()
        return Measures(
            by_status={Status(row["status"]): row["tasks"] for row in await survey("status_counts")},
            oldest_waiting=oldest["run_at"],
            waiting_for_workers=sum((await self.set_aside_counts()).values()),
            workers=workers["workers"],
            slots=int(workers["slots"]),
            first_event=first,
            last_event=last,
            counts=tuples(await survey("counts_by_minute", since=counts_since)),
            times=tuples(await survey("times_by_minute", since=times_since)),
        )

    async def wrong_counts(self) -> dict[str, int]:
        """By status, how many tasks its counter lacks; of statuses whose counter is wrong only."""
        return {row["status"]: row["missing"] for row in await self._engine.survey("wrong_counts")}

    async def standing(self, now: int) -> Standing:
        """How it stands, from counters and the ends of indexes.

        Args:
            now: Unix milliseconds.
        """
        survey = self._engine.survey
        [oldest], [workers] = await survey("oldest_waiting", now=now), await survey("worker_count")
        [due] = await survey("due_count", now=now)
        return Standing(
            by_status={Status(row["status"]): row["tasks"] for row in await survey("status_counts")},
            oldest_waiting=oldest["run_at"],
            due=due["tasks"],
            set_aside=await self.set_aside_counts(),
            workers=workers["workers"],
            slots=int(workers["slots"]),
        )

    async def waiting_count(self) -> int:
        """How many tasks wait, `pending` or `queued`: from counters, cheap to ask often."""
        [row] = await self._engine.read("waiting_count")
        return int(row["tasks"])

    async def workers(self) -> list[Worker]:
        """The workers that are known, with what they run."""
        running: dict[str, list[dict[str, Any]]] = {}
        for row in await self._engine.read("running"):
            task = dict(row)
            running.setdefault(task.pop("worker"), []).append(task)
        return [_worker(dict(row), running.get(row["id"], [])) for row in await self._engine.read("workers")]

    async def tags(self, prefix: str, *, limit: int) -> list[str]:
        """The first tags of tasks that begin so, in their order."""
        found = [row["tag"] for row in await self._engine.read("tags", first=prefix, limit=limit)]
        return [tag for tag in found if tag.startswith(prefix)]

    async def actions(self) -> list[KnownAction]:
        """What workers can run, or could, by name."""
        return [KnownAction(**row) for row in await self._engine.read("actions")]

    async def catalogue(self) -> list[Accepts]:
        """What tasks are checked against before they are stored."""
        rows = await self._engine.read("catalogue")
        return [Accepts(row["name"], bool(row["own"]), row["accepts"], row["defaults"]) for row in rows]

    async def set_aside_counts(self) -> dict[str, int]:
        """By action, how many tasks wait for a worker that knows it."""
        return {row["action"]: row["tasks"] for row in await self._engine.survey("set_aside_counts")}

    async def worker_beats(self) -> dict[str, int]:
        """Each known worker's beat counter."""
        return {row["id"]: row["beat"] for row in await self._engine.read("worker_beats")}

    async def identity(self) -> Identity:
        """Which store this is, and which queue its tasks go through."""
        return Identity.of(await self._engine.read("identity"))

    async def keys(self) -> list[StoredKey]:
        """All keys of the API, newest first."""
        return [StoredKey(**dict(row)) for row in await self._engine.read("keys")]

    async def audit(
        self, limit: int, *, before: int | None = None, key: str | None = None, operation: str | None = None
    ) -> list[Noted]:
        """What was noted, newest first: before a `seq`, by a key, of an operation."""
        values = {"before": _ANY if before is None else before, "key": key, "operation": operation, "limit": limit}
        return [Noted(**dict(row)) for row in await self._engine.read("audit", **values)]

    async def first_page(self, filter: Filter) -> Cursor:
        """The cursor of the newest page: it knows the range that the filter's times lead to."""
        before, floor = Cursor().before, 0
        if filter.created_after is not None:
            [row] = await self._engine.read("none_created_since_below", at=filter.created_after)
            floor = before if row["seq"] is None else row["seq"]
        if filter.created_before is not None:
            [row] = await self._engine.read("none_created_before_from", at=filter.created_before)
            before = row["seq"] or 0
        return Cursor(before, floor)


def _task(columns: dict[str, Any]) -> Task:
    columns["status"] = Status(columns["status"])
    columns["cancel_requested"] = bool(columns["cancel_requested"])
    columns["tags"] = tuple(json.loads(columns["tags"]))
    return Task(**columns)


def _whole_task(columns: dict[str, Any]) -> Task:
    earlier = json.loads(columns.pop("earlier") or "[]")
    last = [columns.pop(f"attempt_{name}") for name in _ATTEMPT]
    columns["children"] = tuple(json.loads(columns["children"] or "[]"))
    attempts = [_attempt(*attempt) for attempt in earlier]
    if last[0] is not None:
        attempts.append(_attempt(columns["attempt"], *last))
    columns["attempts"] = tuple(attempts)
    del columns["size"]
    return _task(columns)


#: What a task's row has of its last attempt.
_ATTEMPT = ("worker", "started", "ended", "outcome", "error", "request_id")


def _attempt(
    number: int,
    worker: str,
    started_at: int,
    ended_at: int | None,
    outcome: str | None,
    error: str | None,
    request_id: str | None,
) -> Attempt:
    ended = None if outcome is None else Outcome(outcome)
    return Attempt(number, worker, started_at, ended_at, ended, error, request_id)


def _event(columns: dict[str, Any]) -> Event:
    columns["status"] = Status(columns["status"])
    columns["tags"] = tuple(json.loads(columns["tags"] or "[]"))
    return Event(**columns)


def _worker(row: dict[str, Any], running: list[dict[str, Any]]) -> Worker:
    actions = json.loads(row.pop("actions"))
    return Worker(
        actions=[action["name"] for action in actions],
        executors={action["name"]: executor for action in actions if (executor := action.get("executor"))},
        versions=json.loads(row.pop("versions")),
        running=running,
        **row,
    )
