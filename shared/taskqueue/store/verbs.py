"""Every change of a task: one function an edge of the lifecycle, on a transaction.

Each is guarded: where its guard is unmet it changes nothing, and says so in what it returns. What it changed it
owes to the ledger. Spans of time are in milliseconds, times in Unix milliseconds.
"""

import json
from collections.abc import Callable, Sequence
from enum import Enum, auto

from taskqueue.store.catalogue import GivenUp, Repertoire, SetAside, set_aside, takes
from taskqueue.store.engine.protocol import Row, Transaction
from taskqueue.store.ledger import Changed, Forgotten, Progressed, Took
from taskqueue.task import FINAL, Claim, Dispatch, NewTask, Outcome, Status

#: Bytes of payloads after which no more tasks are leased at a time.
LEASED_BYTES = 4 * 1024 * 1024

#: The attempts of a task that are kept, the last ones: a handler may snooze for ever.
ATTEMPTS_KEPT = 100


class Refusal(Enum):
    """Why a claim was refused."""

    #: There is no such task.
    UNKNOWN = auto()
    #: Somebody else was first, it is final, or its time has not come.
    NOT_CLAIMABLE = auto()
    #: The worker was taken for lost: its next beat mends that.
    WORKER_UNKNOWN = auto()


# Into the queue


def submit(tx: Transaction, task: NewTask, dispatch_id: str | None = None, lease: int = 0) -> int:
    """A new task: `queued` under a dispatch lease, where the caller publishes it under this id; else `pending`.

    Returns:
        the task's `seq`.
    """
    now = tx.now
    status = Status.PENDING if dispatch_id is None else Status.QUEUED
    seq = tx.insert(
        "submit",
        id=task.id,
        action=task.action,
        payload=task.payload,
        created_at=task.created_at,
        run_at=task.run_at,
        priority=task.priority,
        max_attempts=task.max_attempts,
        timeout=task.timeout,
        tags=json.dumps(task.tags),
        request_id=task.request_id,
        parent=task.parent,
        traceparent=task.traceparent,
        status=status,
        queued_at=None if dispatch_id is None else now,
        dispatch_id=dispatch_id,
        dispatch_until=None if dispatch_id is None else now + lease,
    )
    if task.tags:
        tx.change("add_tags", seq=seq, tags=json.dumps(task.tags))
    tx.owed.append(Changed(seq, task.action, None, status, 0, task.created_at))
    return seq


def settle(tx: Transaction, confirmed: Sequence[tuple[int, str]]) -> None:
    """Take the dispatch leases of confirmed publishes, (`seq`, dispatch id), off tasks that still wait so."""
    tx.change("settle", confirmed=json.dumps(confirmed))


def demote(tx: Transaction, unconfirmed: Sequence[tuple[int, str]]) -> set[int]:
    """`queued` → `pending`, and due, for publishes (`seq`, dispatch id) that the broker did not confirm.

    Returns:
        the `seq` of each: others were claimed or cancelled meanwhile, or demoted by somebody else.
    """
    return _demoted(tx, tx.run("demote", unconfirmed=json.dumps(unconfirmed), now=tx.now))


def demote_expired(tx: Transaction, lease: int, limit: int) -> set[int]:
    """`queued` → `pending` where the dispatch lease, which lasts so long, has run out: its publisher is gone."""
    return _demoted(tx, tx.run("demote_expired", now=tx.now, lease=lease, limit=limit))


def demote_lost(
    tx: Transaction, priority: int, queued_before: int, limit: int, *, also_later: bool = False
) -> set[int]:
    """`queued` → `pending` for tasks of a priority that have been queued for too long.

    Args:
        also_later: also those queued later than now, before the clock was set back: nobody knows how long ago.
    """
    now = tx.now
    values = {"priority": priority, "queued_before": queued_before, "limit": limit, "now": now}
    return _demoted(tx, tx.run("demote_lost", **values, later=now if also_later else _NEVER))


def demote_all(tx: Transaction, after: int, limit: int) -> set[int]:
    """`queued` → `pending`, whatever their leases, by `seq`: the queue is gone with all its messages."""
    return _demoted(tx, tx.run("demote_all", now=tx.now, after=after, limit=limit))


def lease_due(tx: Transaction, priorities: Sequence[int], limit: int, lease: int, token: str) -> list[Dispatch]:
    """Take pending tasks that are due, by priority, then by time, for the caller alone to publish. Where some are
    large they are fewer than `limit`, but at least one.

    Args:
        lease: how long the caller has for it.
        token: new for each call; it becomes part of the dispatch ids.
    """
    leased: list[Dispatch] = []
    left = LEASED_BYTES
    for priority in priorities:
        values = {"priority": priority, "limit": limit - len(leased), "lease": lease, "token": token}
        due = [Dispatch(**row) for row in tx.run("lease_due", **values, most=left, now=tx.now)]
        left -= sum(len(dispatch.payload.encode()) for dispatch in due)
        leased += due
    return leased


def mark_queued(tx: Transaction, confirmed: Sequence[tuple[int, str]]) -> set[int]:
    """`pending` → `queued`: the broker has confirmed the publishes (`seq`, dispatch id).

    Returns:
        the `seq` of each: others were claimed or cancelled meanwhile, or leased anew.
    """
    now = tx.now
    rows = tx.run("mark_queued", confirmed=json.dumps(confirmed), now=now)
    return _moved(tx, rows, Status.PENDING, Status.QUEUED, now)


# One attempt


def claim(
    tx: Transaction,
    id: str,
    worker: str,
    repertoire: Repertoire,
    patience: int,
    attempts_of: Callable[[str], int] = lambda action: 1,
) -> Claim | Refusal | SetAside | GivenUp:
    """`queued`, or `pending` and due → `running`, as this worker's next attempt.

    A pending task with a dispatch id was due when it was published, whatever the clock says now.

    Args:
        repertoire: what the worker can run. A task with another action is set aside at no cost: it is `pending`
            for as long as it has waited so far.
        patience: how long a task may wait for a worker that knows its action; then it is `failed`.
        attempts_of: how many attempts a task of an action has that doesn't say: from its first claim on, it does.
    """
    now = tx.now
    found = tx.run("claimable", id=id, worker=worker)
    if not found:
        return Refusal.UNKNOWN
    [row] = found
    old = Status(row["status"])
    published = old is Status.PENDING and (row["run_at"] <= now or row["dispatch_id"] is not None)
    if old is not Status.QUEUED and not published:
        return Refusal.NOT_CLAIMABLE
    if not row["worker_known"]:
        return Refusal.WORKER_UNKNOWN
    if not takes(tx, repertoire, row["action"]):
        return set_aside(tx, row, id, old, patience)
    seq, attempt = row["seq"], row["attempt"] + 1
    if row["has_attempt"]:
        tx.change("archive_attempt", seq=seq)
        if attempt > ATTEMPTS_KEPT:
            tx.change("forget_attempts", seq=seq, until=attempt - ATTEMPTS_KEPT)
    max_attempts = row["max_attempts"] or attempts_of(row["action"])
    values = {"attempt": attempt, "worker": worker, "max_attempts": max_attempts, "now": now}
    if not tx.change("claim", seq=seq, old=old, **values):
        return Refusal.NOT_CLAIMABLE
    tx.owed.append(Changed(seq, row["action"], old, Status.RUNNING, attempt, now))
    waited = now - row["run_at"]
    tx.owed.append(Took(row["action"], "wait", waited, now))
    return Claim(
        seq=seq,
        id=id,
        attempt=attempt,
        worker=worker,
        action=row["action"],
        payload=row["payload"],
        failures=row["failures"],
        max_attempts=max_attempts,
        timeout=row["timeout"],
        started_at=now,
        request_id=row["request_id"],
        priority=row["priority"],
        tags=() if row["tags"] == "[]" else tuple(json.loads(row["tags"])),
        waited=waited,
        traceparent=row["traceparent"],
    )


def complete(tx: Transaction, claim: Claim, result: str, submitted: Sequence[NewTask] = ()) -> Status | None:
    """`running` → `completed`. None: the claim is no longer its worker's.

    Args:
        submitted: what the task has submitted. It is stored as `pending`, or not at all.
    """
    now = tx.now
    status = _ended(tx, "complete", claim, Status.COMPLETED, now, result=result)
    if status:
        tx.owed.append(Took(claim.action, "run", now - claim.started_at, now))
        for task in submitted:
            submit(tx, task)
    return status


def back_off(tx: Transaction, claim: Claim, outcome: Outcome, error: str, delay: int) -> Status | None:
    """`running` → `pending`, due after a delay, with one failure more; or `cancelled`, if asked.

    None: the claim is no longer its worker's.
    """
    now = tx.now
    return _cancelled_if_asked(tx, claim, error, now) or _ended(
        tx, "back_off", claim, Status.PENDING, now, outcome=outcome, error=error, run_at=now + delay
    )


def fail(tx: Transaction, claim: Claim, outcome: Outcome, error: str) -> Status | None:
    """`running` → `failed`; or `cancelled`, if asked. None: the claim is no longer its worker's."""
    now = tx.now
    return _cancelled_if_asked(tx, claim, error, now) or _ended(
        tx, "fail", claim, Status.FAILED, now, outcome=outcome, error=error
    )


def release(tx: Transaction, claim: Claim) -> Status | None:
    """`running` → `pending` at no cost, for a clean shutdown; or `cancelled`, if asked.

    None: the claim is no longer its worker's.
    """
    now = tx.now
    return _cancelled_if_asked(tx, claim, None, now) or _ended(tx, "release", claim, Status.PENDING, now)


def snooze(tx: Transaction, claim: Claim, delay: int) -> Status | None:
    """`running` → `pending` at no cost, due after a delay; or `cancelled`, if asked.

    None: the claim is no longer its worker's.
    """
    now = tx.now
    return _cancelled_if_asked(tx, claim, None, now) or _ended(
        tx, "snooze", claim, Status.PENDING, now, run_at=now + delay
    )


def tell_progress(tx: Transaction, claim: Claim, progress: str) -> bool:
    """Store how far a running task has come, as JSON text. False: the claim is no longer its worker's."""
    if not tx.change("tell_progress", **_fence(claim), progress=progress):
        return False
    tx.owed.append(Progressed(claim.seq, claim.attempt, tx.now, progress))
    return True


# What clients ask for


def cancel(tx: Transaction, id: str) -> Status | None:
    """`pending` or `queued` → `cancelled`; a running task's worker is asked to.

    Returns:
        the status after that: `running` where the worker has been asked, another final one where the task was
        final already, None for an unknown id.
    """
    row = _standing(tx, id)
    if row is None:
        return None
    old = Status(row["status"])
    if old is Status.RUNNING:
        tx.change("ask_to_cancel", seq=row["seq"])
        return old
    if old in FINAL:
        return old
    now = tx.now
    tx.change("cancel", seq=row["seq"], now=now)
    tx.owed.append(Changed(row["seq"], row["action"], old, Status.CANCELLED, row["attempt"], now))
    return Status.CANCELLED


def retry(tx: Transaction, id: str, request_id: str | None = None) -> bool:
    """`failed` or `cancelled` → `pending`: a new run, with all its attempts. False: it is neither.

    Args:
        request_id: which request asks for it.
    """
    row, now = _standing(tx, id), tx.now
    if row is None or not tx.change("retry", seq=row["seq"], request_id=request_id, now=now):
        return False
    old = Status(row["status"])
    tx.owed.append(Changed(row["seq"], row["action"], old, Status.PENDING, row["attempt"], now))
    return True


def delete(tx: Transaction, id: str) -> bool:
    """Delete a final task, with its attempts. False: it isn't final, or there is none."""
    row = _standing(tx, id)
    if row is None or not tx.change("delete", seq=row["seq"]):
        return False
    tx.owed.append(Forgotten(Status(row["status"]), 1))
    return True


def status_of(tx: Transaction, id: str) -> Status | None:
    """The task's status; None where there is none."""
    row = _standing(tx, id)
    return Status(row["status"]) if row else None


#: Later than any time.
_NEVER = 2**62


def _standing(tx: Transaction, id: str) -> Row | None:
    found = tx.run("standing", id=id)
    return found[0] if found else None


def _demoted(tx: Transaction, rows: Sequence[Row]) -> set[int]:
    return _moved(tx, rows, Status.QUEUED, Status.PENDING, tx.now)


def _moved(tx: Transaction, rows: Sequence[Row], old: Status, new: Status, now: int) -> set[int]:
    tx.owed.extend(Changed(row["seq"], row["action"], old, new, row["attempt"], now) for row in rows)
    return {row["seq"] for row in rows}


def _cancelled_if_asked(tx: Transaction, claim: Claim, error: str | None, now: int) -> Status | None:
    """Every edge out of `running` but `complete` leads to `cancelled` where a client asked for that."""
    return _ended(tx, "cancel_running", claim, Status.CANCELLED, now, error=error)


def _ended(tx: Transaction, query: str, claim: Claim, new: Status, now: int, **values: object) -> Status | None:
    """The status that an attempt's end led to; None where it is no longer this claim's to end."""
    if not tx.change(query, **_fence(claim), now=now, **values):
        return None
    tx.owed.append(Changed(claim.seq, claim.action, Status.RUNNING, new, claim.attempt, now))
    return new


def _fence(claim: Claim) -> dict[str, object]:
    return {"seq": claim.seq, "attempt": claim.attempt, "worker": claim.worker}
