"""What open dashboards cost: 500 tasks a second arrive, without any and with a hundred."""

import asyncio
import tempfile
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from bench.load import arrive, ask, connected, get
from bench.measure import accepted_ids, cpu_by_process, warm_up
from bench.ours import Code, Taskqueue, WithRabbitMQ
from bench.processes import FailedError
from bench.rabbitmq import RabbitMQ
from bench.report import spread, table
from bench.system import SUBMIT, until_final

_TABS, _RATE, _SECONDS = 100, 500, 8
#: Seconds after which an overview is read again.
_AGAIN = 2


@asynccontextmanager
async def _nobody(_: Taskqueue) -> AsyncIterator[None]:
    yield


@asynccontextmanager
async def _overviews(system: Taskqueue) -> AsyncIterator[None]:
    """Tabs with the overview, not all in the same moment."""

    async def tab(number: int) -> None:
        async with connected(system.port) as [connection]:
            await asyncio.sleep(_AGAIN * number / _TABS)
            while True:
                status, body = await ask(connection, get("/overview?window=1h"))
                if status != 200:
                    raise FailedError(f"GET /overview: {status} {body!r}")
                await asyncio.sleep(_AGAIN)

    tabs = [asyncio.create_task(tab(number)) for number in range(_TABS)]
    try:
        yield
    finally:
        _end(tabs)


@asynccontextmanager
async def _lists(system: Taskqueue) -> AsyncIterator[None]:
    """Tabs with the list of tasks: each follows all events."""

    async def tab() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", system.port)
        writer.write(get("/events"))
        while await reader.read(1 << 16):
            pass

    tabs = [asyncio.create_task(tab()) for _ in range(_TABS)]
    try:
        yield
    finally:
        _end(tabs)


def _end(tabs: list[asyncio.Task[None]]) -> None:
    for tab in tabs:
        if tab.done():
            tab.result()
        tab.cancel()


_KINDS = {"none": _nobody, "100 overviews": _overviews, "100 lists, live": _lists}


async def dashboards(code: Code, broker: RabbitMQ, rounds: int) -> str:
    """A table: the API's CPU, by what is open."""
    shares = defaultdict(list)
    for number in range(rounds):
        for name in _KINDS if number % 2 == 0 else reversed(_KINDS):
            with tempfile.TemporaryDirectory() as folder:
                async with WithRabbitMQ(code, consumers=10)(broker, Path(folder)) as system:
                    await warm_up(system)
                    before = await system.count_final()
                    async with _KINDS[name](system):
                        spent = cpu_by_process(system)["API"]
                        answers = await arrive(system.port, SUBMIT, rate=_RATE, seconds=_SECONDS)
                        shares[name].append((cpu_by_process(system)["API"] - spent) / answers.took * 100)
                    await until_final(system, before + len(answers.bodies))
                    await system.check(accepted_ids(answers))
    more = {name: [one - none for one, none in zip(shares[name], shares["none"], strict=True)] for name in _KINDS}
    rows = [[name, spread(shares[name]), spread(more[name])] for name in _KINDS]
    return table([f"open, while {_RATE} tasks/s arrive", "the API's CPU, % of a core", "more than none"], rows)
