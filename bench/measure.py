"""One measurement of one system: as many tasks as it takes for a while, then until the last one is final."""

import json
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from bench.load import Answers, flood, percentile
from bench.processes import cpu_seconds, peak_memory
from bench.rabbitmq import RabbitMQ
from bench.system import SUBMIT, Start, System, size, until_final

#: Tasks that are run before anything is measured.
_WARM_UP = 300


@dataclass(frozen=True)
class Load:
    """What is sent."""

    request: bytes = SUBMIT
    #: Tasks of a request.
    tasks: int = 1
    #: Requests under way at a time.
    connections: int = 32
    #: After how many seconds, or tasks, no more are sent.
    seconds: float = 2.5
    most: int = 6_000


@dataclass
class Measure:
    """What came out."""

    #: Tasks accepted a second, and the median and the 99th percentile of the requests' latencies, in seconds.
    accepted: float
    p50: float
    p99: float
    #: Tasks a second, from the first request until the last task is final.
    finished: float
    #: CPU seconds a task, by process.
    cpu: dict[str, float]
    #: Peak of resident bytes, by process; those of one kind are added up.
    memory: dict[str, int]
    #: Bytes a task on disk, once all processes have ended.
    disk: float = 0


async def measure(start: Start, load: Load, broker: RabbitMQ, folder: Path) -> Measure:
    """Start a system on an empty folder, measure it, check each task, and stop it."""
    async with start(broker, folder) as system:
        empty = size(system.database)
        await warm_up(system)
        outcome = await saturate(system, load, broker)
        tasks = await system.count_final()
    outcome.disk = (size(system.database) - empty) / tasks
    return outcome


async def warm_up(system: System) -> None:
    """Run some tasks, so that nothing is met for the first time."""
    before = await system.count_final()
    answers = await flood(system.port, SUBMIT, connections=16, seconds=30, most=_WARM_UP)
    await until_final(system, before + len(answers.bodies))


async def saturate(system: System, load: Load, broker: RabbitMQ) -> Measure:
    """Send what it takes, wait until the last task is final, and check each."""
    before = await system.count_final()
    spent = _cpu(system, broker)
    began, own = time.perf_counter(), time.process_time()
    answers = await flood(
        system.port,
        load.request,
        connections=load.connections,
        seconds=load.seconds,
        most=load.most // load.tasks,
    )
    own = time.process_time() - own
    tasks = len(answers.bodies) * load.tasks
    await until_final(system, before + tasks)
    took = time.perf_counter() - began
    cpu = {role: (now - spent[role]) / tasks for role, now in _cpu(system, broker).items()}
    await system.check(accepted_ids(answers))
    return Measure(
        accepted=tasks / answers.took,
        p50=percentile(answers.latencies, 0.5),
        p99=percentile(answers.latencies, 0.99),
        finished=tasks / took,
        cpu=cpu | {"load": own / tasks},
        memory=_memory(system),
    )


def accepted_ids(answers: Answers) -> list[str]:
    """Of all tasks that the answers tell."""
    told = [json.loads(body) for body in answers.bodies]
    return [task["id"] for answer in told for task in answer.get("tasks", [answer])]


def cpu_by_process(system: System) -> dict[str, float]:
    """CPU seconds that its processes have had; those of one kind are added up."""
    seconds: defaultdict[str, float] = defaultdict(float)
    for process in system.processes:
        seconds[process.role] += cpu_seconds(process.handle.pid)
    return dict(seconds)


def _cpu(system: System, broker: RabbitMQ) -> dict[str, float]:
    return cpu_by_process(system) | {"RabbitMQ": broker.cpu_seconds()}


def _memory(system: System) -> dict[str, int]:
    most: defaultdict[str, int] = defaultdict(int)
    for process in system.processes:
        most[process.role] += peak_memory(process.handle.pid)
    return dict(most)
