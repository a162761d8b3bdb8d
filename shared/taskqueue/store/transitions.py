"""The verbs, as functions on a connection inside a write transaction: each takes guarded edges of the lifecycle.

`TaskStore` runs them in its writer, the worker's heartbeat thread in a transaction of its own.
Times are Unix milliseconds.
"""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from enum import Enum, auto
from typing import Any

from taskqueue.store.queries import QUERIES
from taskqueue.store.sqlite import Connection
from taskqueue.task import Claim, Dispatch, NewTask, Outcome, Status


class Refusal(Enum):
    """Why a claim was refused."""

    #: There is no such task.
    UNKNOWN = auto()
    #: Somebody else was first, it is final, or its time has not come.
    NOT_CLAIMABLE = auto()


@dataclass(frozen=True, slots=True)
class WorkerInfo:
    """What a worker tells of itself."""

    id: str
    host: str
    pid: int
    consumers: int
    prefetch: int
    started_at: int
    #: JSON text, `[{"name", "arguments"}]`: what it can run.
    actions: str = "[]"


@dataclass(frozen=True, slots=True)
class IdempotentRequest:
    """A request that may be sent again. `fingerprint` tells whether it is the same one."""

    key: str
    fingerprint: str
    #: Unix milliseconds; a key kept before that is forgotten.
    expired: int


@dataclass(frozen=True, slots=True)
class Replay:
    """What an idempotent request found: its key was used before. `answer` is JSON text."""

    answer: str
    same_request: bool


def submit(db: Connection, task: NewTask, dispatch_id: str | None, dispatch_until: int | None) -> None:
    values = asdict(task) | {
        "tags": json.dumps(task.tags),
        "dispatch_id": dispatch_id,
        "dispatch_until": dispatch_until,
    }
    seq = db.execute(QUERIES["submit"], values).fetchone()["seq"]
    for tag in task.tags:
        db.execute(QUERIES["tag"], {"tag": tag, "seq": seq})


def find_answer(db: Connection, request: IdempotentRequest) -> Replay | None:
    row = db.execute(QUERIES["idempotent_answer"], {"key": request.key, "expired": request.expired}).fetchone()
    return row and Replay(row["answer"], row["fingerprint"] == request.fingerprint)


def keep_answer(db: Connection, request: IdempotentRequest, answer: str, now: int) -> None:
    values = {"key": request.key, "fingerprint": request.fingerprint, "answer": answer, "now": now}
    db.execute(QUERIES["keep_answer"], values)


def amend_answer(db: Connection, request: IdempotentRequest, answer: str) -> None:
    values = {"key": request.key, "fingerprint": request.fingerprint, "answer": answer}
    db.execute(QUERIES["amend_answer"], values)


def mark_queued(db: Connection, id: str, dispatch_id: str, now: int) -> bool:
    return _changed(db, "mark_queued", id=id, dispatch_id=dispatch_id, now=now)


def lease_due(
    db: Connection, priorities: tuple[int, ...], limit: int, lease: int, token: str, now: int
) -> list[Dispatch]:
    leased: list[Dispatch] = []
    for priority in priorities:
        rows = db.execute(
            QUERIES["lease_due"],
            {
                "priority": priority,
                "limit": limit - len(leased),
                "lease": lease,
                "token": token,
                "now": now,
            },
        ).fetchall()
        leased += [Dispatch(**row) for row in rows]
    return leased


def claim(db: Connection, id: str, worker: str, now: int) -> Claim | Refusal:
    row = db.execute(QUERIES["claim"], {"id": id, "worker": worker, "now": now}).fetchone()
    if row is None:
        return Refusal.NOT_CLAIMABLE if status_of(db, id) else Refusal.UNKNOWN
    columns = dict(row)
    seq = columns.pop("seq")
    values = {name: columns[name] for name in ("attempt", "request_id")}
    db.execute(QUERIES["start_attempt"], values | {"seq": seq, "worker": worker, "now": now})
    return Claim(id=id, worker=worker, **columns)


def complete(db: Connection, claim: Claim, result: str, now: int) -> bool:
    if not _changed(db, "complete", **_fence(claim), result=result, now=now):
        return False
    _end_attempt(db, claim, Outcome.OK, None, now)
    return True


def retry(db: Connection, claim: Claim, outcome: Outcome, error: str, run_at: int, now: int) -> Status | None:
    if _cancel_if_asked(db, claim, error, now):
        return Status.CANCELLED
    if not _changed(db, "retry", **_fence(claim), error=error, run_at=run_at):
        return None
    _end_attempt(db, claim, outcome, error, now)
    return Status.PENDING


def fail(db: Connection, claim: Claim, outcome: Outcome, error: str, now: int) -> Status | None:
    if _cancel_if_asked(db, claim, error, now):
        return Status.CANCELLED
    if not _changed(db, "fail", **_fence(claim), error=error, now=now):
        return None
    _end_attempt(db, claim, outcome, error, now)
    return Status.FAILED


def release(db: Connection, claim: Claim, now: int) -> Status | None:
    if _cancel_if_asked(db, claim, None, now):
        return Status.CANCELLED
    if not _changed(db, "release", **_fence(claim), now=now):
        return None
    _end_attempt(db, claim, Outcome.SHUTDOWN, None, now)
    return Status.PENDING


def requeue(db: Connection, after: int, queued_before: int, limit: int, now: int) -> list[int]:
    values = {"after": after, "queued_before": queued_before, "limit": limit, "now": now}
    rows = db.execute(QUERIES["requeue"], values)
    return [row["seq"] for row in rows.fetchall()]


def cancel(db: Connection, id: str, now: int) -> Status | None:
    if _changed(db, "cancel_waiting", id=id, now=now):
        return Status.CANCELLED
    _changed(db, "ask_to_cancel", id=id)
    return status_of(db, id)


def rerun(db: Connection, id: str, request_id: str | None, now: int) -> bool:
    return _changed(db, "rerun", id=id, request_id=request_id, now=now)


def delete(db: Connection, id: str) -> bool:
    return _changed(db, "delete", id=id)


def tell_progress(db: Connection, claim: Claim, progress: str) -> bool:
    return _changed(db, "tell_progress", **_fence(claim), progress=progress)


def status_of(db: Connection, id: str) -> Status | None:
    row = db.execute(QUERIES["status"], {"id": id}).fetchone()
    return Status(row["status"]) if row else None


def prune(db: Connection, what: str, before: int, limit: int, status: Status | None = None) -> int:
    values = {"before": before, "limit": limit, "status": status}
    return db.execute(QUERIES[f"prune_{what}"], values).rowcount


def beat(db: Connection, worker: WorkerInfo, now: int) -> list[tuple[str, int]]:
    fields = asdict(worker)
    db.execute(QUERIES["beat"], fields | {"worker": fields.pop("id"), "now": now})
    rows = db.execute(QUERIES["cancels_asked"], {"worker": worker.id})
    return [(row["id"], row["attempt"]) for row in rows.fetchall()]


def rescue(
    db: Connection,
    worker: str,
    beat: int,
    error: str,
    retry_at: Callable[[int], int],
    now: int,
) -> list[tuple[Claim, Status]] | None:
    row = db.execute(QUERIES["worker_beat"], {"worker": worker}).fetchone()
    if row is None or row["beat"] != beat:
        return None
    rescued: list[tuple[Claim, Status]] = []
    for columns in db.execute(QUERIES["claims_of"], {"worker": worker}).fetchall():
        lost = Claim(**columns)
        failures = lost.failures + 1
        if failures < lost.max_attempts:
            status = retry(db, lost, Outcome.WORKER_LOST, error, retry_at(failures), now)
        else:
            status = fail(db, lost, Outcome.WORKER_LOST, error, now)
        if status is None:
            raise AssertionError("a claim read in this transaction is still its worker's")
        rescued.append((lost, status))
    db.execute(QUERIES["forget_worker"], {"worker": worker})
    return rescued


def retire_worker(db: Connection, worker: str, now: int) -> int:
    claims = [Claim(**row) for row in db.execute(QUERIES["claims_of"], {"worker": worker}).fetchall()]
    for claim in claims:
        release(db, claim, now)
    db.execute(QUERIES["forget_worker"], {"worker": worker})
    return len(claims)


def _cancel_if_asked(db: Connection, claim: Claim, error: str | None, now: int) -> bool:
    """Every edge out of `running` but `complete` leads to `cancelled` where a client asked for that."""
    if not _changed(db, "cancel_running", **_fence(claim), error=error, now=now):
        return False
    _end_attempt(db, claim, Outcome.CANCELLED, error, now)
    return True


def _end_attempt(db: Connection, claim: Claim, outcome: Outcome, error: str | None, now: int) -> None:
    values = {"id": claim.id, "attempt": claim.attempt, "outcome": outcome, "error": error, "now": now}
    db.execute(QUERIES["end_attempt"], values)


def _fence(claim: Claim) -> dict[str, Any]:
    return {"id": claim.id, "attempt": claim.attempt, "worker": claim.worker}


def _changed(db: Connection, query: str, **values: Any) -> bool:
    return db.execute(QUERIES[query], values).rowcount == 1
