"""`GET /stats`, `/workers` and `/actions`: what goes on, from counters. Nothing here scans tasks, but for those
that wait for a worker: these are counted in their index.
"""

import itertools
from collections import Counter, defaultdict

from aiohttp import web

from taskqueue.contract.answers import Kept
from taskqueue.contract.overview import (
    ActionAnswer,
    ActionsAnswer,
    ActionStats,
    Minute,
    Percentiles,
    RunningTask,
    StatsAnswer,
    WorkerAnswer,
    WorkersAnswer,
)
from taskqueue.contract.requests import StatsQuery
from taskqueue_api.http.bodies import read_query
from taskqueue_api.keys import HOLDER, STORE

#: Actions that are told, at most.
ACTIONS_TOLD = 100
#: Histograms of the attempts' waits and runs: (upper bound in milliseconds, attempts), by bound.
_Times = dict[str, list[tuple[int, int]]]


async def stats(request: web.Request) -> web.Response:
    """`GET /stats`: tasks by status, and what happened in the last minutes."""
    query = read_query(StatsQuery, request.query)
    now = request.app[STORE].clock()
    # The present minute has only begun: it is told as well, but is none of the `minutes` that are over.
    since = now // 60_000 - query.minutes
    overview = await request.app[STORE].reads.overview(since_minute=since, now=now, actions=ACTIONS_TOLD)
    per_minute: defaultdict[int, dict[str, int]] = defaultdict(_no_tasks)
    for minute, what, tasks in overview.minutes:
        per_minute[minute][what] = tasks
    times: _Times = {"wait": [], "run": []}
    for what, bound, attempts in overview.times:
        times[what].append((bound, attempts))
    by_action: defaultdict[str, dict[str, int]] = defaultdict(_no_tasks)
    for action, what, tasks in overview.actions:
        by_action[action][what] = tasks
    times_by_action: defaultdict[str, _Times] = defaultdict(lambda: {"wait": [], "run": []})
    for action, what, bound, attempts in overview.action_times:
        times_by_action[action][what].append((bound, attempts))
    answer = StatsAnswer(
        tasks=overview.by_status,
        oldest_waiting=None if overview.oldest_waiting is None else max(0, now - overview.oldest_waiting) / 1000,
        waiting_for_workers=overview.waiting_for_workers,
        minutes=[Minute(at=minute * 60, **per_minute[minute]) for minute in range(since, now // 60_000 + 1)],
        **_percentiles(times),
        actions={
            action: ActionStats(**by_action[action], **_percentiles(times_by_action[action]))
            for action in sorted(by_action.keys() | times_by_action.keys())
        },
    )
    return web.json_response(text=answer.to_json())


async def workers(request: web.Request) -> web.Response:
    """`GET /workers`: who works, and on what."""
    known = [
        WorkerAnswer(
            id=worker.id,
            host=worker.host,
            pid=worker.pid,
            started_at=worker.started_at / 1000,
            last_seen=worker.last_seen / 1000,
            consumers=worker.consumers,
            prefetch=worker.prefetch,
            queue=worker.queue,
            actions=worker.actions,
            executors=worker.executors,
            versions=worker.versions,
            memory=worker.memory,
            running=[RunningTask(**task | {"started_at": task["started_at"] / 1000}) for task in worker.running],
        )
        for worker in await request.app[STORE].reads.workers()
    ]
    return web.json_response(text=WorkersAnswer(workers=known, count=len(known)).to_json())


async def actions(request: web.Request) -> web.Response:
    """`GET /actions`: what the workers can run, and the JSON Schema of each one's arguments."""
    reads, now, mine = request.app[STORE].reads, request.app[STORE].clock(), request[HOLDER].actions
    workers = Counter(name for worker in await reads.workers() for name in worker.actions)
    known = [
        ActionAnswer(
            name=action.name,
            arguments=Kept(action.arguments),
            defaults=Kept(action.defaults),
            version=action.version,
            workers=workers[action.name],
            last_seen=(now if workers[action.name] else action.last_seen) / 1000,
        )
        for action in await reads.actions()
        if mine is None or action.name in mine
    ]
    return web.json_response(text=ActionsAnswer(actions=known, count=len(known)).to_json())


def _no_tasks() -> dict[str, int]:
    return {"accepted": 0, "completed": 0, "failed": 0, "cancelled": 0}


def _percentiles(times: _Times) -> dict[str, Percentiles]:
    return {
        what: Percentiles(p50=percentile(histogram, 0.50), p95=percentile(histogram, 0.95))
        for what, histogram in times.items()
    }


def percentile(histogram: list[tuple[int, int]], share: float) -> float | None:
    """The time in seconds that this share of the attempts didn't exceed; None without attempts.

    It is the upper bound of the bucket that the percentile falls into, so up to a quarter too high.

    Args:
        histogram: (upper bound in milliseconds, attempts), by bound.
        share: between 0 and 1.
    """
    rank = share * sum(attempts for _, attempts in histogram)
    for (bound, _), reached in zip(
        histogram, itertools.accumulate(attempts for _, attempts in histogram), strict=True
    ):
        if reached >= rank:
            return bound / 1000
    return None
