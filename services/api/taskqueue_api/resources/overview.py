"""`GET /overview`, `/stats`, `/workers` and `/actions`: what goes on, from counters. Nothing here scans tasks, but
for those that wait for a worker: these are counted in their index.
"""

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
from taskqueue.contract.windows import OverviewQuery
from taskqueue_api.http.bodies import read_query
from taskqueue_api.keys import HOLDER, OVERVIEWS, STORE
from taskqueue_api.live.percentiles import percentiles

#: Actions that are told, at most.
ACTIONS_TOLD = 100
#: Histograms of the attempts' waits and runs: (upper bound in milliseconds, attempts), by bound.
_Times = dict[str, list[tuple[int, int]]]


async def overview(request: web.Request) -> web.Response:
    """`GET /overview`: how it stands, what happened in a window, and what needs attention."""
    query = read_query(OverviewQuery, request.query)
    return web.json_response(text=await request.app[OVERVIEWS].text(query.window))


async def stats(request: web.Request) -> web.Response:
    """`GET /stats`: tasks by status, and what happened in the last minutes."""
    query = read_query(StatsQuery, request.query)
    now = request.app[STORE].clock()
    # The present minute has only begun: it is told as well, but is none of the `minutes` that are over.
    since = now // 60_000 - query.minutes
    counted = await request.app[STORE].reads.overview(since_minute=since, now=now, actions=ACTIONS_TOLD)
    per_minute: defaultdict[int, dict[str, int]] = defaultdict(_no_tasks)
    for minute, what, tasks in counted.minutes:
        per_minute[minute][what] = tasks
    times: _Times = {"wait": [], "run": []}
    for what, bound, attempts in counted.times:
        times[what].append((bound, attempts))
    by_action: defaultdict[str, dict[str, int]] = defaultdict(_no_tasks)
    for action, what, tasks in counted.actions:
        by_action[action][what] = tasks
    times_by_action: defaultdict[str, _Times] = defaultdict(lambda: {"wait": [], "run": []})
    for action, what, bound, attempts in counted.action_times:
        times_by_action[action][what].append((bound, attempts))
    answer = StatsAnswer(
        tasks=counted.by_status,
        oldest_waiting=None if counted.oldest_waiting is None else max(0, now - counted.oldest_waiting) / 1000,
        waiting_for_workers=counted.waiting_for_workers,
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
    return {what: percentiles(histogram) for what, histogram in times.items()}
