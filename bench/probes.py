"""What else is measured, each once or a few times: idling, starting, a steady arrival, a backlog, full stores."""

import asyncio
import json
import time
from dataclasses import dataclass
from pathlib import Path

from bench.load import arrive, flood
from bench.measure import Load, Measure, accepted_ids, cpu_by_process, saturate, warm_up
from bench.ours import Embedded
from bench.processes import FailedError
from bench.rabbitmq import RabbitMQ
from bench.system import SUBMIT_AND_WAIT, Accepting, Start, until_final

#: Seconds that a system is left alone: after its start, and then to see what it costs.
_SETTLE, _IDLE = 3, 10
#: Seconds of a steady arrival.
_ARRIVAL = 10
#: So that half of the rate is known before it arrives.
_SHORT = Load(seconds=2)


async def idle(start: Start, broker: RabbitMQ, folder: Path) -> dict[str, float]:
    """The share of a core that each process takes with nothing to do."""
    async with start(broker, folder) as system:
        await asyncio.sleep(_SETTLE)
        before, began = cpu_by_process(system), time.perf_counter()
        await asyncio.sleep(_IDLE)
        took = time.perf_counter() - began
        return {role: (now - before[role]) / took for role, now in cpu_by_process(system).items()}


async def start_time(embedded: Embedded, folder: Path) -> float:
    """Seconds from the start of the process until it is ready, on an empty folder."""
    began = time.perf_counter()
    async with embedded.on(folder):
        return time.perf_counter() - began


@dataclass
class Arrival:
    """Of tasks at a steady rate."""

    #: Tasks a second: half of what the system can do.
    rate: float
    #: Seconds from a POST to its answer with the result, as the client sees it with `Prefer: wait`.
    seen: list[float]
    #: Seconds from `created_at` to `processed_at`.
    told: list[float]


async def steady(start: Start, broker: RabbitMQ, folder: Path) -> Arrival:
    """Let tasks arrive at half of the rate at which the system has just finished them."""
    async with start(broker, folder) as system:
        await warm_up(system)
        rate = (await saturate(system, _SHORT, broker)).finished / 2
        answers = await arrive(system.port, SUBMIT_AND_WAIT, rate=rate, seconds=_ARRIVAL)
        tasks = [json.loads(body) for body in answers.bodies]
        if unfinished := [task for task in tasks if task["status"] != "completed"]:
            raise FailedError(f"{len(unfinished)} of {len(tasks)} tasks had no result in time")
        told = [task["processed_at"] - task["created_at"] for task in tasks]
        return Arrival(rate, answers.latencies, told)


async def backlog(start: Accepting, load: Load, broker: RabbitMQ, folder: Path) -> float:
    """Tasks a second at which a worker drains what was accepted before it was started."""
    async with start.accepting(broker, folder) as (system, start_worker):
        answers = await flood(
            system.port,
            load.request,
            connections=load.connections,
            seconds=load.seconds,
            most=load.most // load.tasks,
        )
        tasks = len(answers.bodies) * load.tasks
        if tasks < load.most:
            raise FailedError(f"only {tasks} of {load.most} tasks were accepted in {load.seconds:.0f} s")
        began = time.perf_counter()
        await start_worker()
        await until_final(system, tasks)
        took = time.perf_counter() - began
        await system.check(accepted_ids(answers))
    return tasks / took


async def on_store(start: Start, broker: RabbitMQ, folder: Path) -> Measure:
    """The usual measurement, on a folder whose store is full."""
    async with start(broker, folder) as system:
        await warm_up(system)
        return await saturate(system, _SHORT, broker)
