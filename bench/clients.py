"""What the Python client costs beside httpx alone: `python -m bench.clients [TASKS]`.

Both submit to the same embedded taskqueue, in turns, tasks that are due tomorrow; so nothing is run meanwhile. The
CPU is this process's own. `submit_many` then submits TASKS more.
"""

import asyncio
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import httpx

from bench.ours import Code, Embedded
from taskqueue import action
from taskqueue.client import AsyncClient, Client

#: Submits in one turn, turns of each way, and ways.
SUBMITS, TURNS, WAYS = 100, 10, 5
TOMORROW = 86_400
TEXT = "hello world"


@action
async def uppercase(text: str) -> str:
    return text.upper()


@dataclass(frozen=True)
class Took:
    """Of one submit, in milliseconds."""

    wall: float
    cpu: float


async def turn(submit: Callable[[], Awaitable[object]]) -> Took:
    wall, cpu = time.perf_counter(), time.process_time()
    for _ in range(SUBMITS):
        await submit()
    return Took(
        (time.perf_counter() - wall) / SUBMITS * 1000,
        (time.process_time() - cpu) / SUBMITS * 1000,
    )


async def compare(url: str) -> None:
    """Submits one after the other, each way."""
    typed = uppercase.options(delay=TOMORROW)
    async with AsyncClient(url) as client, httpx.AsyncClient() as http:
        with Client(url) as blocking, httpx.Client() as blocking_http:

            def body() -> bytes:
                return json.dumps({"action": "uppercase", "data": {"text": TEXT}, "delay": TOMORROW}).encode()

            def headers() -> dict[str, str]:
                return {"Content-Type": "application/json", "Idempotency-Key": str(uuid4())}

            async def by_httpx() -> None:
                answer = await http.post(f"{url}/tasks", content=body(), headers=headers())
                assert answer.json()["status"] == "pending"

            async def by_blocking_httpx() -> None:
                answer = blocking_http.post(f"{url}/tasks", content=body(), headers=headers())  # noqa: ASYNC212
                assert answer.json()["status"] == "pending"

            async def by_blocking_client() -> None:
                blocking.submit("uppercase", {"text": TEXT}, delay=TOMORROW)

            ways: dict[str, Callable[[], Awaitable[object]]] = {
                "httpx.AsyncClient": by_httpx,
                "AsyncClient": lambda: client.submit("uppercase", {"text": TEXT}, delay=TOMORROW),
                "AsyncClient, with types": lambda: client.submit(typed, text=TEXT),
                "httpx.Client": by_blocking_httpx,
                "Client": by_blocking_client,
            }
            took: dict[str, list[Took]] = {name: [] for name in ways}
            for _ in range(TURNS):
                for name, submit in ways.items():
                    took[name].append(await turn(submit))

    say("| one submit after the other, median | ms | of CPU here, ms | CPU ÷ httpx's |")
    say("| --- | --- | --- | --- |")
    base = 1.0
    for name, times in took.items():
        wall, cpu = (statistics.median(getattr(one, what) for one in times) for what in ("wall", "cpu"))
        base = cpu if name.startswith("httpx") else base
        say(f"| {name} | {wall:.2f} | {cpu:.2f} | {cpu / base:.2f} |")


async def submit_many(url: str, count: int) -> None:
    given = ({"action": "uppercase", "data": {"text": TEXT}, "delay": TOMORROW} for _ in range(count))
    wall, cpu = time.perf_counter(), time.process_time()
    accepted = 0
    async with AsyncClient(url) as client:
        async for _ in client.submit_many(given):
            accepted += 1
        seconds, own = time.perf_counter() - wall, time.process_time() - cpu
        assert accepted == count
        known = sum((await client.stats()).tasks.values())
    assert known == count + TURNS * SUBMITS * WAYS
    say(f"\n`submit_many` of {count:,}: {count / seconds:,.0f} tasks/s, {own / count * 1e6:.0f} µs of CPU each.")


async def main(count: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        async with Embedded(Code(Path(__file__).parents[1])).on(Path(folder)) as system:
            url = f"http://127.0.0.1:{system.port}"
            await compare(url)
            await submit_many(url, count)


def say(line: str) -> None:
    print(line, flush=True)  # noqa: T201  # its answer


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 100_000))
