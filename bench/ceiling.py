"""What the load generator can do at most, and what it costs: measured against a handler that does nothing."""

import sys
import time
from pathlib import Path

from bench.load import flood
from bench.processes import running
from bench.system import SUBMIT, free_port, until_answers


async def ceiling(folder: Path, connections: int = 32, seconds: float = 2) -> tuple[float, float]:
    """Requests a second, and CPU seconds of the generator a request."""
    port = free_port()
    env = {"PYTHONPATH": str(Path(__file__).parents[1]), "BENCH_PORT": str(port)}
    command = [sys.executable, "-m", "bench.programs.bare"]
    async with running("bare", command, log=folder / "bare.log", env=env, cwd=folder) as process:
        await until_answers(port, "/tasks/0", process, lambda _: True)
        await flood(port, SUBMIT, connections=connections, seconds=0.5, most=sys.maxsize)
        spent = time.process_time()
        answers = await flood(port, SUBMIT, connections=connections, seconds=seconds, most=sys.maxsize)
        spent = time.process_time() - spent
    return len(answers.bodies) / answers.took, spent / len(answers.bodies)
