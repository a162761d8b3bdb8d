"""What workers do with each other: beat, take the tasks of a lost one back, say goodbye. On a transaction."""

from collections.abc import Callable
from dataclasses import asdict, dataclass

from taskqueue.store.engine.protocol import Transaction
from taskqueue.store.verbs import back_off, fail, release
from taskqueue.task import Claim, Outcome, Status


@dataclass(frozen=True, slots=True)
class WorkerInfo:
    """What a worker tells of itself."""

    id: str
    host: str
    pid: int
    consumers: int
    prefetch: int
    started_at: int
    queue: str = ""
    #: JSON text: what it can run, as `describe_actions` tells it.
    actions: str = "[]"
    #: JSON text, `{package: version}`: taskqueue's, and those of its actions.
    versions: str = "{}"


@dataclass(frozen=True, slots=True)
class Held:
    """A task that is running in a worker's name."""

    claim: Claim
    cancel_requested: bool


def beat(tx: Transaction, worker: WorkerInfo, memory: int | None = None) -> list[Held]:
    """Raise the worker's beat counter, and tell what runs in its name. One that is not known is made known, with
    its actions.

    Args:
        memory: resident bytes of its process.
    """
    now = tx.now
    if not tx.change("beat", id=worker.id, memory=memory, now=now):
        tx.change("add_worker", **asdict(worker), memory=memory, now=now)
        tx.change("register_actions", actions=worker.actions, now=now)
    return held_by(tx, worker.id)


def held_by(tx: Transaction, worker: str) -> list[Held]:
    """What runs in a worker's name."""
    rows = [dict(row) for row in tx.run("claims_of", worker=worker)]
    return [Held(cancel_requested=bool(row.pop("cancel_requested")), claim=Claim(**row)) for row in rows]


def rescue(
    tx: Transaction, worker: str, beat: int, error: str, backoff: Callable[[int], int]
) -> list[tuple[Claim, Status]] | None:
    """`running` → `pending` or `failed` for the tasks of a lost worker, and forget it.

    Args:
        beat: the counter that stood still; a worker that has beaten since is left alone (None).
        error: JSON text for the attempts.
        backoff: milliseconds to wait after that many failures.
    """
    row = tx.run("worker_beat", worker=worker)
    if not row or row[0]["beat"] != beat:
        return None
    rescued: list[tuple[Claim, Status]] = []
    for lost in (held.claim for held in held_by(tx, worker)):
        failures = lost.failures + 1
        if failures < lost.max_attempts:
            status = back_off(tx, lost, Outcome.WORKER_LOST, error, backoff(failures))
        else:
            status = fail(tx, lost, Outcome.WORKER_LOST, error)
        if status is None:
            raise AssertionError("a claim read in this transaction is still its worker's")
        rescued.append((lost, status))
    _forget(tx, worker)
    return rescued


def retire(tx: Transaction, worker: str) -> int:
    """Release what a worker that stops still has running, and forget it; how many tasks that were."""
    held = held_by(tx, worker)
    for task in held:
        release(tx, task.claim)
    _forget(tx, worker)
    return len(held)


def _forget(tx: Transaction, worker: str) -> None:
    tx.change("part_from_actions", worker=worker, now=tx.now)
    tx.change("forget_worker", worker=worker)
