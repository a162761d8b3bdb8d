"""Four tasks that compute, at the same time: in threads of the worker, and in child processes.

`python -m bench.executors` prints it; `make bench` has it among the others.
"""

import asyncio
import json
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import uvloop

from bench.load import RefusedError, ask, connected, post
from bench.machine import in_words
from bench.ours import Code
from bench.processes import FailedError, running
from bench.report import spread, table
from bench.system import free_port, until_answers

_TASKS = 4
_STEPS = 10_000_000
_WHERE = ("thread", "process")


async def executors(code: Code, rounds: int) -> str:
    """A table: how long the tasks take, by where they run, and how many times as fast processes are."""
    took = defaultdict(list)
    async with _embedded(code) as port:
        for number in range(rounds):
            # Every second one backwards, so that none always comes after the same one.
            for where in _WHERE if number % 2 == 0 else reversed(_WHERE):
                took["one", where].append(await _compute(port, where, 1))
                took["all", where].append(await _compute(port, where, _TASKS))
    rows = [[where, spread(took["one", where], 2), spread(took["all", where], 2)] for where in _WHERE]
    ratios = [one / other for one, other in zip(took["all", "thread"], took["all", "process"], strict=True)]
    rows.append(["process ÷ thread, tasks/s", "", spread(ratios, 2)])
    return table(["executor", "one task, s", f"{_TASKS} tasks at once, s"], rows)


@asynccontextmanager
async def _embedded(code: Code) -> AsyncIterator[int]:
    """Run it until left; its port."""
    port = free_port()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        env = code.environment(
            data_dir=folder / "data", port=port, handlers="bench.programs.computing", consumers=_TASKS
        )
        env["PYTHONPATH"] += f":{Path(__file__).parents[1]}"
        command = code.command(code.embedded)
        async with running("embedded", command, log=folder / "embedded.log", env=env, cwd=folder) as process:
            await until_answers(port, "/readyz", process, lambda _: True)
            yield port


async def _compute(port: int, where: str, tasks: int) -> float:
    """Seconds from the first POST to the last result."""
    body = json.dumps({"action": f"compute_in_{where}", "data": {"steps": _STEPS}})
    request = post("/tasks", body.encode(), "Prefer: wait=60\r\n")
    async with connected(port, tasks) as connections:
        began = time.perf_counter()
        answers = await asyncio.gather(*(ask(connection, request) for connection in connections))
        took = time.perf_counter() - began
    for status, answer in answers:
        if status != 200 or json.loads(answer)["status"] != "completed":
            raise FailedError(f"a task did not complete: {status} {answer!r}")
    return took


async def _main() -> None:
    told = await executors(Code(Path(__file__).parents[1]), 5)
    print(f"On {in_words('not used')}.\n\n{told}")  # noqa: T201  # what the command is for


if __name__ == "__main__":
    try:
        uvloop.run(_main())
    except (FailedError, RefusedError) as error:
        sys.exit(f"bench: {error}")
