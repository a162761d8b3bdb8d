"""Which store this is, and which queue its tasks go through."""

from dataclasses import dataclass

from taskqueue.store.engine.protocol import Row, Transaction


@dataclass(frozen=True, slots=True)
class Identity:
    """What there is one of."""

    #: Its id: random, and kept by copies of the database.
    store: str
    #: The name of the queue; None before the first start with a broker.
    queue: str | None

    @classmethod
    def of(cls, rows: list[Row]) -> "Identity":
        """What a query read."""
        values = {row["name"]: row["value"] for row in rows}
        return cls(values["store"], values.get("queue"))


def note_queue(tx: Transaction, queue: str, *, takes: bool) -> Identity:
    """Note the queue's name, unless there is another one and it is not taken over; what is noted then."""
    tx.change("note_queue", queue=queue, takes=takes)
    return Identity.of(tx.run("identity"))
