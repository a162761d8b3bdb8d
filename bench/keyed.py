"""What a key costs a POST: two APIs, one that asks for keys and one that doesn't, are flooded in turns."""

import asyncio
import sys
import tempfile
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from bench.load import ask, connected, flood, post
from bench.measure import cpu_by_process
from bench.ours import Code, Embedded, Taskqueue
from bench.processes import FailedError
from bench.report import spread, table

#: Due tomorrow, so that nothing is run meanwhile.
_BODY = b'{"action": "uppercase", "data": {"text": "hello world"}, "delay": 86400}'
_POSTS, _CONNECTIONS, _TURNS = 2_000, 32, 4


async def keyed(code: Code, rounds: int) -> str:
    """A table: POSTs a second and CPU of each, with a key and without, and the ratio of neighbours."""
    rates, cpu = defaultdict(list), defaultdict(list)
    with tempfile.TemporaryDirectory() as open_one, tempfile.TemporaryDirectory() as asking:
        async with (
            Embedded(code).on(Path(open_one)) as free,
            _asking_for_keys(code, Path(asking)) as (locked, key),
        ):
            systems = {"no key": (free, ""), "a key": (locked, f"Authorization: Bearer {key}\r\n")}
            for number in range(rounds * _TURNS):
                # Every second one backwards, so that none always comes after the same one.
                for name in systems if number % 2 == 0 else reversed(systems):
                    system, headers = systems[name]
                    before = cpu_by_process(system)["embedded"]
                    request = post("/tasks", _BODY, headers)
                    answers = await flood(system.port, request, connections=_CONNECTIONS, seconds=60, most=_POSTS)
                    rates[name].append(_POSTS / answers.took)
                    cpu[name].append((cpu_by_process(system)["embedded"] - before) / _POSTS * 1000)
    rows = [[name, spread(rates[name]), spread(cpu[name], 3)] for name in rates]
    by_rate = [one / other for one, other in zip(rates["no key"], rates["a key"], strict=True)]
    by_cpu = [one / other for one, other in zip(cpu["a key"], cpu["no key"], strict=True)]
    rows.append(["a key ÷ no key: time, CPU", spread(by_rate, 2), spread(by_cpu, 2)])
    return table(["POST /tasks, embedded", "POSTs/s", "CPU of each, ms"], rows)


@asynccontextmanager
async def _asking_for_keys(code: Code, folder: Path) -> AsyncIterator[tuple[Taskqueue, str]]:
    """One that asks for keys, and one of these."""
    async with Embedded(code, auth="on").on(folder) as system:
        make = ("-m", "taskqueue_cli", "keys", "create", "--role", "submit", "--label", "bench")
        env = code.environment(data_dir=folder / "data")
        creating = await asyncio.create_subprocess_exec(
            *(sys.executable, *make), env=env, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
        )
        output, errors = await creating.communicate()
        [key] = [word for word in output.decode().split() if word.startswith("tq_")] or [""]
        if not key:
            raise FailedError(f"no key was made: {errors.decode()}")
        await _until_taken(system, key)
        yield system, key


async def _until_taken(system: Taskqueue, key: str) -> None:
    async with connected(system.port) as [connection]:
        while True:
            status, body = await ask(connection, post("/tasks", _BODY, f"Authorization: Bearer {key}\r\n"))
            if status == 202:
                return
            if status != 401:
                raise FailedError(f"{status} {body!r}")
            await asyncio.sleep(0.2)
