"""Requests that may be sent again: the first answer is kept with the request's key. On a transaction."""

from dataclasses import dataclass

from taskqueue.store.engine.protocol import Row, Transaction


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

    @classmethod
    def of(cls, rows: list[Row], request: IdempotentRequest) -> "Replay | None":
        """The one that a lookup found, if any."""
        return cls(rows[0]["answer"], rows[0]["fingerprint"] == request.fingerprint) if rows else None


def find_answer(tx: Transaction, request: IdempotentRequest) -> Replay | None:
    """What a request was answered that came with this key before."""
    return Replay.of(tx.run("kept_answer", key=request.key, expired=request.expired), request)


def keep_answer(tx: Transaction, request: IdempotentRequest, answer: str) -> None:
    """Keep the answer that the request is expected to have."""
    tx.change("keep_answer", key=request.key, fingerprint=request.fingerprint, answer=answer, now=tx.now)


def amend_answer(tx: Transaction, request: IdempotentRequest, answer: str) -> None:
    """Keep another one: what its client is really told."""
    tx.change("amend_answer", key=request.key, fingerprint=request.fingerprint, answer=answer)
