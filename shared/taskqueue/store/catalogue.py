"""Who takes which task: by the actions that a worker knows, and those that the catalogue has. On a transaction.

A worker that gets a task which it doesn't take sets it aside, at no cost, for another one.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto

from taskqueue.store.engine.protocol import Row, Transaction
from taskqueue.store.ledger import Changed
from taskqueue.task import Status

#: How long a task is set aside, at least and at most.
_SHORTEST_PAUSE, _LONGEST_PAUSE = 1_000, 60_000


class CatchAll(Enum):
    """A handler of all actions that have no other."""

    #: The one that ships: it takes nothing once there has been an action of one's own.
    SHIPPED = auto()
    #: One's own: it takes nothing that the catalogue has by its name.
    OWN = auto()


@dataclass(frozen=True, slots=True)
class Repertoire:
    """What a worker can run."""

    #: By their names.
    actions: frozenset[str]
    catch_all: CatchAll | None = None


@dataclass(frozen=True, slots=True)
class SetAside:
    """A claim was refused since its worker doesn't know the action: the task waits for another worker."""

    id: str
    action: str
    #: Whether no other task waits for this action.
    first: bool


@dataclass(frozen=True, slots=True)
class GivenUp:
    """The same, and it has waited long enough: it has failed."""

    id: str
    action: str


def takes(tx: Transaction, repertoire: Repertoire, action: str) -> bool:
    """Whether a worker takes this action's tasks: what another one has a handler for is not for a catch-all."""
    if action in repertoire.actions:
        return True
    match repertoire.catch_all:
        case CatchAll.SHIPPED:
            return not tx.run("own_action")
        case CatchAll.OWN:
            return not tx.run("named_action", action=action)
        case None:
            return False


def set_aside(tx: Transaction, row: Row, id: str, old: Status, patience: int) -> SetAside | GivenUp:
    """`pending` or `queued` → `pending`, for as long as it has waited so far; or `failed`, after `patience`."""
    now = tx.now
    since = now if row["unknown_since"] is None else min(row["unknown_since"], now)
    seq, action, waited = row["seq"], row["action"], now - since
    if waited >= patience:
        told = f"no worker knows the action {action!r}" + f", for {patience / 1000:g} s by now" * bool(patience)
        error = {"type": "UnknownAction", "message": told, "traceback": None}
        tx.change("give_up", seq=seq, error=json.dumps(error, separators=(",", ":")), now=now)
        tx.owed.append(Changed(seq, action, old, Status.FAILED, row["attempt"], now))
        return GivenUp(id, action)
    first = not tx.run("waits_for_worker", action=action)
    pause = min(max(waited, _SHORTEST_PAUSE), _LONGEST_PAUSE, patience - waited)
    tx.change("set_aside", seq=seq, run_at=now + pause, unknown_since=since)
    tx.owed.append(Changed(seq, action, old, Status.PENDING, row["attempt"], now))
    return SetAside(id, action, first)


def take_up(tx: Transaction, repertoire: Repertoire, actions: Sequence[str], limit: int) -> set[int]:
    """Tasks with these actions that were set aside are due, where a worker takes them that has come.

    Returns:
        the `seq` of each.
    """
    names = [action for action in actions if takes(tx, repertoire, action)]
    return {row["seq"] for row in tx.run("take_up", names=json.dumps(names), now=tx.now, limit=limit)}
