"""What can be asked of the API: a coroutine for each verb, on any wire."""

import contextlib
import time
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any, ParamSpec, TypeVar, Unpack, overload
from urllib.parse import quote as percent_encoded
from uuid import uuid4

import httpx
from pydantic import BaseModel

from taskqueue.actions.submitting import Submittable
from taskqueue.client.asking import ask
from taskqueue.client.batches import Batch, Task, cut
from taskqueue.client.bodies import BulkFilter, EventFilter, FailedFilter, Filter, SubmitOptions, query
from taskqueue.client.calls import KEY, Again, Call, answer, nothing
from taskqueue.client.errors import (
    BatchError,
    ConflictError,
    NotFoundError,
    RefusedError,
    TaskqueueError,
    TooLargeError,
    WaitTimeoutError,
)
from taskqueue.client.events import Event, follow, until_last
from taskqueue.client.handles import AsyncHandle
from taskqueue.client.typed import check_arguments, reads_result_of
from taskqueue.client.wires import Wire
from taskqueue.contract.answers import AcceptedAnswer, BatchAnswer, BulkAnswer, CancelAnswer
from taskqueue.contract.audit import AuditAnswer, AuditedOperation, AuditEntry
from taskqueue.contract.dead_letters import DeadLettersAnswer, EndedLettersAnswer
from taskqueue.contract.failures import ErrorGroup, ErrorsAnswer
from taskqueue.contract.keys import KeyAnswer, KeysAnswer, NewKeyAnswer, Role
from taskqueue.contract.options import TaskOptions, plain, task, to_json
from taskqueue.contract.overview import ActionAnswer, ActionsAnswer, StatsAnswer, WorkerAnswer, WorkersAnswer
from taskqueue.contract.tags import TagsAnswer
from taskqueue.contract.tasks import PageAnswer, TaskAnswer, WholeTaskAnswer
from taskqueue.contract.windows import OverviewAnswer, WindowName
from taskqueue.task import FINAL, Status

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")
M = TypeVar("M", bound=BaseModel)
B = TypeVar("B", BatchAnswer, BulkAnswer)

#: Seconds that one request waits for a task: proxies end those that say nothing for a minute.
_LONGEST_POLL = 25
#: Seconds between two requests that wait, where the API answers at once.
_SHORTEST_PAUSE = 0.2

_JSON = {"Content-Type": "application/json"}
_LINES = {"Content-Type": "application/x-ndjson"}


class Verbs:
    """The verbs; `AsyncClient` and `Client` are made of them.

    Each raises one of the errors in `taskqueue.client.errors`.
    """

    def __init__(self, wire: Wire, retry_for: float) -> None:
        self._wire = wire
        self._retry_for = retry_for

    # Submit

    @overload
    async def submit(
        self, action: str, /, data: Mapping[str, Any] | None = None, **options: Unpack[SubmitOptions]
    ) -> AsyncHandle[Any]: ...
    @overload
    async def submit(self, action: Submittable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> AsyncHandle[R]: ...
    async def submit(self, action: Any, /, *args: Any, **kwargs: Any) -> AsyncHandle[Any]:
        """Submit a task. It is sent again where that is needed, and accepted once.

        By name, with its data (JSON, and what pydantic makes JSON of) and options (SubmitOptions):

            await client.submit("resize", {"path": "a.png", "width": 200}, delay=60)

        Or with types, by its function and the arguments of this, which are checked before it is sent:

            await client.submit(resize.options(delay=60), path="a.png", width=200)

        Raises:
            InvalidRequestError: it is refused as it is.
            ConflictError: the key was used for another task.
            AnswerLostError: it may have been accepted; the error has the key to try again with.
        """
        if isinstance(action, str):
            return await self._submit_named(action, *args, **kwargs)
        submission = action.options()
        data = submission.data(args, kwargs)
        check_arguments(submission.action, data)
        read = reads_result_of(submission.action.function)
        return await self._submit_named(submission.action.name, data, read, **submission.told)

    async def _submit_named(
        self,
        action: str,
        data: Mapping[str, Any] | None = None,
        read: Callable[[Any], Any] = lambda result: result,
        *,
        key: str | None = None,
        wait: float | None = None,
        **options: Unpack[TaskOptions],
    ) -> AsyncHandle[Any]:
        wait = wait or 0
        until = time.monotonic() + wait
        seconds = min(int(wait), _LONGEST_POLL)
        submit = Call(
            method="POST",
            path="/tasks",
            content=to_json(task(action, data, options)),
            headers={**_JSON, KEY: key or str(uuid4()), **_prefer(seconds)},
            read=_accepted_or_final,
            wait=seconds,
        )
        handle = AsyncHandle[Any](self, await self._ask(submit), read)
        with contextlib.suppress(WaitTimeoutError):
            if handle.status not in FINAL and time.monotonic() < until:
                await handle.wait(until - time.monotonic())
        return handle

    async def submit_many(
        self, tasks: Iterable[Task] | AsyncIterable[Task]
    ) -> AsyncGenerator[AsyncHandle[Any], None]:
        """Submit tasks in batches, as many as there are, and give a handle of each, in their order.

        The next batch is read and sent when the handles of the one before are taken: take them all.

        Args:
            tasks: each as `POST /tasks` takes it: `{"action": ..., "data": ..., "delay": ...}`.

        Raises:
            BatchError: a batch was refused, or nobody knows whether it was accepted. The error tells which.
        """
        async for batch in cut(tasks):
            async for accepted in self._send_batch(batch, BatchAnswer):
                for answered in accepted.tasks:
                    yield AsyncHandle(self, answered)

    async def check_many(self, tasks: Iterable[Task] | AsyncIterable[Task]) -> int:
        """Have tasks checked, as many as there are, without submitting any: their form, their size, and whether
        their data fits their actions.

        Args:
            tasks: as `submit_many` takes them.

        Returns:
            how many there are.

        Raises:
            BatchError: one is wrong; the error tells which.
        """
        count = 0
        async for batch in cut(tasks):
            async for checked in self._send_batch(batch, BulkAnswer, dry_run=True):
                count += checked.count
        return count

    async def _send_batch(self, batch: Batch, kind: type[B], *, dry_run: bool = False) -> AsyncGenerator[B, None]:
        """The answer to a batch; or to several, where it is too large to be sent as one."""
        submit = Call(
            method="POST",
            path="/tasks/batch",
            params={"dry_run": True} if dry_run else {},
            content=batch.content,
            headers=_LINES if dry_run else {**_LINES, KEY: str(uuid4())},
            read=answer(kind),
        )
        try:
            answered = await self._ask(submit)
        except TooLargeError as error:
            if len(batch.lines) == 1:
                raise BatchError(error, batch.places, batch.start, dry_run=dry_run) from error
        except TaskqueueError as error:
            raise BatchError(error, batch.places, _wrong_one(error, batch), dry_run=dry_run) from error
        else:
            yield answered
            return
        for half in batch.halves():
            async for answered in self._send_batch(half, kind, dry_run=dry_run):
                yield answered

    # Read

    async def get(self, id: str) -> WholeTaskAnswer:
        """A task, with its attempts.

        Raises:
            NotFoundError: there is none with this id.
        """
        return await self._ask(_read_task(id, 0))

    async def wait(self, id: str, timeout: float | None = None) -> WholeTaskAnswer:
        """A task once it is final.

        Args:
            timeout: seconds; None waits for as long as it takes.

        Raises:
            WaitTimeoutError: it is not final by then.
            NotFoundError: there is none with this id.
        """
        until = time.monotonic() + (float("inf") if timeout is None else timeout)
        while True:
            asked = time.monotonic()
            seconds = int(min(max(0, until - asked), _LONGEST_POLL))
            found = await ask(self._wire, _read_task(id, seconds), self._retry_for, until)
            if found.status in FINAL:
                return found
            now = time.monotonic()
            if now >= until:
                raise WaitTimeoutError(found)
            if now - asked < _SHORTEST_PAUSE:
                await self._wire.sleep(min(_SHORTEST_PAUSE, until - now))

    async def find(self, *, page: int = 100, **wanted: Unpack[Filter]) -> AsyncGenerator[TaskAnswer, None]:
        """The tasks that fit a filter, newest first; without one, all.

        Args:
            page: how many are asked for at a time, 1000 at most.
            wanted: see Filter.
        """
        params = query(wanted) | {"limit": page}
        while True:
            found = await self._ask(Call(method="GET", path="/tasks", params=params, read=answer(PageAnswer)))
            for each in found.tasks:
                yield each
            if found.next is None:
                return
            params["cursor"] = found.next

    def watch(self, id: str, *, after: str | None = None) -> AsyncGenerator[Event, None]:
        """Where a task stands, and each change until it is final.

        Args:
            after: the id of an event, after which to go on.

        Raises:
            NotFoundError: there is none with this id.
        """
        call = Call(method="GET", path=f"/tasks/{_one(id)}/events", read=nothing)
        return until_last(follow(self._wire, call, self._retry_for, after))

    def watch_all(self, *, after: str | None = None, **wanted: Unpack[EventFilter]) -> AsyncGenerator[Event, None]:
        """Each change of the tasks that fit a filter, from now on, without an end.

        Args:
            after: the id of an event, after which to go on.
            wanted: see EventFilter.
        """
        call = Call(method="GET", path="/events", params=query(wanted), read=nothing)
        return follow(self._wire, call, self._retry_for, after)

    # Act

    async def cancel(self, id: str) -> CancelAnswer:
        """Cancel a task; one that runs is asked to stop.

        Raises:
            ConflictError: it is final.
            NotFoundError: there is none with this id.
        """
        try:
            return await self._ask(_act(id, "cancel", CancelAnswer))
        except ConflictError as error:
            if error.after_loss and error.task_status is Status.CANCELLED:
                return CancelAnswer(id=id, status=Status.CANCELLED, cancel_requested=True)
            raise

    async def retry(self, id: str) -> AcceptedAnswer:
        """Run a failed or cancelled task again.

        Raises:
            ConflictError: it is neither.
            NotFoundError: there is none with this id.
            AnswerLostError: it may run again, or not: a second retry could be one too many.
        """
        return await self._ask(_act(id, "retry", AcceptedAnswer, again="refused"))

    async def delete(self, id: str) -> None:
        """Forget a final task.

        Raises:
            ConflictError: it is not final.
            NotFoundError: there is none with this id.
        """
        try:
            await self._ask(Call(method="DELETE", path=f"/tasks/{_one(id)}", read=nothing))
        except NotFoundError as error:
            if not error.after_loss:
                raise

    async def cancel_all(self, *, dry_run: bool = False, **wanted: Unpack[BulkFilter]) -> BulkAnswer:
        """Cancel all tasks of a filter that are not final, or only count them; none is accepted meanwhile.

        Args:
            wanted: see BulkFilter; something must narrow it.

        Raises:
            AnswerLostError, UnavailableError: some may be done. It is safe to ask again, and not done unasked,
                since the count would be that of the last time.
        """
        return await self._ask(_act_on_all("cancel", dry_run, wanted))

    async def retry_all(self, *, dry_run: bool = False, **wanted: Unpack[BulkFilter]) -> BulkAnswer:
        """Run all failed and cancelled tasks of a filter again, or only count them.

        Args, Raises: as `cancel_all` has them; asked again, it retries those that have failed again since, too.
        """
        return await self._ask(_act_on_all("retry", dry_run, wanted))

    async def delete_all(self, *, dry_run: bool = False, **wanted: Unpack[BulkFilter]) -> BulkAnswer:
        """Forget all final tasks of a filter, or only count them.

        Args, Raises: as `cancel_all` has them.
        """
        return await self._ask(_act_on_all("delete", dry_run, wanted))

    # What goes on

    async def overview(self, window: WindowName = "1h") -> OverviewAnswer:
        """How it stands, what happened in the last hour, day (`24h`) or week (`7d`), and what needs attention."""
        params = {"window": window}
        return await self._ask(Call(method="GET", path="/overview", params=params, read=answer(OverviewAnswer)))

    async def errors(self, **wanted: Unpack[FailedFilter]) -> list[ErrorGroup]:
        """What fails, and how often: the errors of failed tasks, alike ones together, the most frequent first.

        Args:
            wanted: see FailedFilter.
        """
        call = Call(method="GET", path="/errors", params=query(wanted), read=answer(ErrorsAnswer))
        return (await self._ask(call)).errors

    async def tags(self, prefix: str = "", *, limit: int = 20) -> list[str]:
        """The first tags of tasks that begin so, in their order.

        Args:
            limit: how many at most; 100 are the most.
        """
        params = {"prefix": prefix, "limit": limit}
        return (await self._ask(Call(method="GET", path="/tags", params=params, read=answer(TagsAnswer)))).tags

    async def stats(self, minutes: int = 15) -> StatsAnswer:
        """Counters: tasks by status, and the last minutes."""
        params = {"minutes": minutes}
        return await self._ask(Call(method="GET", path="/stats", params=params, read=answer(StatsAnswer)))

    async def workers(self) -> list[WorkerAnswer]:
        """The workers that are known, and what they run."""
        return (await self._ask(Call(method="GET", path="/workers", read=answer(WorkersAnswer)))).workers

    async def actions(self) -> list[ActionAnswer]:
        """What can be run, with the JSON Schema of each one's data."""
        return (await self._ask(Call(method="GET", path="/actions", read=answer(ActionsAnswer)))).actions

    # Dead letters

    async def dead_letters(self, limit: int = 100) -> DeadLettersAnswer:
        """The oldest messages that can't be tasks, and how many there are.

        Args:
            limit: how many are told, 1000 at most.
        """
        params = {"limit": limit}
        return await self._ask(Call(method="GET", path="/dead", params=params, read=answer(DeadLettersAnswer)))

    async def requeue_dead_letters(self, ids: Iterable[str] | None, *, limit: int = 1000) -> EndedLettersAnswer:
        """Put dead letters back into the queue of tasks.

        Args:
            ids: as `dead_letters` tells them; None is all among the oldest `limit`.

        Raises:
            NotFoundError: one of them is not there; nothing was done.
            AnswerLostError, UnavailableError: some may be done. It is not asked again unasked.
        """
        return await self._ask(_end_dead_letters("requeue", ids, limit))

    async def drop_dead_letters(self, ids: Iterable[str] | None, *, limit: int = 1000) -> EndedLettersAnswer:
        """Delete dead letters for good.

        Args, Raises: as `requeue_dead_letters` has them.
        """
        return await self._ask(_end_dead_letters("drop", ids, limit))

    # Keys

    async def create_key(
        self,
        label: str,
        role: Role | str,
        *,
        expires_in: float | timedelta | None = None,
        expires_at: float | datetime | None = None,
        actions: Iterable[str] | None = None,
        tag_prefix: str | None = None,
    ) -> NewKeyAnswer:
        """Make a key; what is returned alone has it.

        Args:
            label: what it is for, for people.
            role: `read`, `submit`, `operate` or `admin`.
            expires_in, expires_at: seconds, or a time (a number is in Unix seconds), with which it ends.
            actions, tag_prefix: it is bound to tasks with one of these actions, and with a tag that begins so.

        Raises:
            AnswerLostError: it may have been made: `keys` tells, and none can read it any more.
        """
        body = {"label": label, "role": role, "expires_in": expires_in, "expires_at": expires_at}
        wanted = {name: plain(value) for name, value in body.items() if value is not None}
        bounds = {"actions": None if actions is None else list(actions), "tag_prefix": tag_prefix}
        if scope := {name: value for name, value in bounds.items() if value is not None}:
            wanted["scope"] = scope
        return await self._ask(
            Call(
                method="POST",
                path="/keys",
                content=to_json(wanted),
                headers=_JSON,
                read=answer(NewKeyAnswer),
                again="refused",
            )
        )

    async def keys(self) -> list[KeyAnswer]:
        """All keys, newest first; those that are revoked or expired, too."""
        return (await self._ask(Call(method="GET", path="/keys", read=answer(KeysAnswer)))).keys

    async def revoke_key(self, id: str) -> KeyAnswer:
        """End a key for good.

        Raises:
            NotFoundError: there is none with this id.
        """
        return await self._ask(Call(method="DELETE", path=f"/keys/{_one(id)}", read=answer(KeyAnswer)))

    async def audit(
        self, *, key: str | None = None, operation: AuditedOperation | str | None = None, page: int = 100
    ) -> AsyncGenerator[AuditEntry, None]:
        """What people and keys changed, newest first.

        Args:
            key: only what was done with the key of this id.
            operation: only this.
            page: how many are asked for at a time, 1000 at most.
        """
        wanted = {"key": key, "operation": operation, "limit": page}
        params = {name: value for name, value in wanted.items() if value is not None}
        while True:
            found = await self._ask(Call(method="GET", path="/audit", params=params, read=answer(AuditAnswer)))
            for each in found.entries:
                yield each
            if found.next is None:
                return
            params["before"] = found.next

    async def _ask(self, call: Call[T]) -> T:
        return await ask(self._wire, call, self._retry_for)


def _accepted_or_final(response: httpx.Response) -> AcceptedAnswer | WholeTaskAnswer:
    if response.status_code == 200:
        return answer(WholeTaskAnswer)(response)
    return answer(AcceptedAnswer)(response)


def _prefer(seconds: int) -> dict[str, str]:
    return {"Prefer": f"wait={seconds}"} if seconds else {}


def _one(id: str) -> str:
    """An id as a part of a path, whatever is in it."""
    return percent_encoded(id, safe="")


def _read_task(id: str, seconds: int) -> Call[WholeTaskAnswer]:
    return Call(
        method="GET",
        path=f"/tasks/{_one(id)}",
        headers=_prefer(seconds),
        read=answer(WholeTaskAnswer),
        wait=seconds,
    )


def _act(id: str, verb: str, kind: type[M], again: Again = "lost") -> Call[M]:
    return Call(method="POST", path=f"/tasks/{_one(id)}/{verb}", read=answer(kind), again=again)


def _act_on_all(verb: str, dry_run: bool, wanted: BulkFilter) -> Call[BulkAnswer]:
    return Call(
        method="POST",
        path=f"/tasks/{verb}",
        content=to_json(query(wanted) | {"dry_run": dry_run}),
        headers=_JSON,
        read=answer(BulkAnswer),
        again="lost" if dry_run else "unsent",
    )


def _end_dead_letters(verb: str, ids: Iterable[str] | None, limit: int) -> Call[EndedLettersAnswer]:
    which: dict[str, Any] = {"all": True} if ids is None else {"ids": list(ids)}
    return Call(
        method="POST",
        path=f"/dead/{verb}",
        content=to_json(which | {"limit": limit}),
        headers=_JSON,
        read=answer(EndedLettersAnswer),
        again="unsent",
    )


def _wrong_one(error: TaskqueueError, batch: Batch) -> int | None:
    """The place of the first task that is wrong."""
    if isinstance(error, RefusedError):
        for detail in error.details:
            if detail.index is not None:
                return batch.start + detail.index
    return None
