"""Which systems are compared, by the names that `ONLY=` takes."""

from dataclasses import dataclass

from bench.measure import Load
from bench.ours import Code, Embedded, WithRabbitMQ
from bench.peers import CELERY, FLOOR, TASKIQ
from bench.system import BATCH, SUBMIT_AND_WAIT, SUBMIT_BATCH, Start

_SINGLY = Load()
_BATCHED = Load(SUBMIT_BATCH, tasks=BATCH, connections=2)
_WAITING = Load(SUBMIT_AND_WAIT)


@dataclass(frozen=True)
class Variant:
    """A system under a load."""

    name: str
    #: For the table.
    title: str
    start: Start
    load: Load = _SINGLY


BESIDE = [
    Variant("floor", "floor: aiohttp → RabbitMQ → worker, 10 in flight → one insert", FLOOR),
    Variant("taskiq", "aiohttp + taskiq, 10 in flight, one insert a task", TASKIQ),
    Variant("celery", "aiohttp + Celery, prefork 2", CELERY),
]


def of(code: Code, whose: str) -> list[Variant]:
    """The set-ups of taskqueue, from a checkout; their names begin with `whose`."""
    ten = WithRabbitMQ(code, consumers=10)
    return [
        Variant(f"{whose}-{name}", f"{whose}: {title}", start, load)
        for name, title, start, load in (
            ("default", "default (1 worker, 2 consumers)", WithRabbitMQ(code), _SINGLY),
            ("10", "10 consumers", ten, _SINGLY),
            ("4-workers", "4 workers", WithRabbitMQ(code, workers=4), _SINGLY),
            ("embedded", "embedded, 2 consumers", Embedded(code), _SINGLY),
            ("embedded-10", "embedded, 10 consumers", Embedded(code, consumers=10), _SINGLY),
            ("batch", "batches of 1,000, 10 consumers", ten, _BATCHED),
            ("wait", "`Prefer: wait`, 10 consumers", ten, _WAITING),
        )
    ]
