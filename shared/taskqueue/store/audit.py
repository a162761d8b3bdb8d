"""What people and keys changed: noted with the change, in its transaction. The verbs are on a transaction."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from taskqueue.store.engine.protocol import Transaction

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Deed:
    """Who asks for which change, and from where."""

    operation: str
    #: The key's id, and its label now; None where no keys are asked for.
    key: str | None
    label: str | None
    address: str | None
    request_id: str | None
    #: A task's or a key's id.
    target: str | None = None
    #: Or which tasks, as JSON text.
    filter: str | None = None


@dataclass(frozen=True, slots=True)
class Noted:
    """A deed that was done, as it is kept."""

    seq: int
    #: Unix milliseconds.
    at: int
    operation: str
    key: str | None
    label: str | None
    target: str | None
    filter: str | None
    tasks: int | None
    address: str | None
    request_id: str | None


def note(tx: Transaction, deed: Deed, *, tasks: int | None = None) -> int:
    """Note a deed that is done in this transaction.

    Args:
        tasks: how many it changed.

    Returns:
        the note's `seq`.
    """
    return tx.insert(
        "note_deed",
        now=tx.now,
        operation=deed.operation,
        key=deed.key,
        label=deed.label,
        target=deed.target,
        filter=deed.filter,
        tasks=tasks,
        address=deed.address,
        request_id=deed.request_id,
    )


def add_to_note(tx: Transaction, seq: int, tasks: int) -> None:
    """So many more tasks were changed."""
    tx.change("add_to_note", seq=seq, tasks=tasks)


def noting(
    tx: Transaction, deed: Deed, verb: Callable[[Transaction], T], changed: Callable[[T], bool] = bool
) -> T:
    """What a verb returns that changes one task; where it did change it, the deed is noted."""
    outcome = verb(tx)
    if changed(outcome):
        note(tx, deed, tasks=1)
    return outcome
