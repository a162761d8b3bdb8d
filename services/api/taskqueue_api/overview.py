"""`GET /stats`, `/workers` and `/actions`: what goes on, from counters; nothing here scans tasks."""

import itertools
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from aiohttp import web

from taskqueue.store import now_ms
from taskqueue_api.bodies import read_query
from taskqueue_api.keys import STORE
from taskqueue_api.models import StatsQuery


async def stats(request: web.Request) -> web.Response:
    """`GET /stats`: tasks by status, and what happened in the last minutes."""
    query = read_query(StatsQuery, request.query)
    now = now_ms()
    # The present minute has only begun: it is told as well, but is none of the `minutes` that are over.
    since = now // 60_000 - query.minutes
    overview = await request.app[STORE].overview(since_minute=since, now=now)
    by_action: defaultdict[str, dict[str, Any]] = defaultdict(_no_tasks)
    per_minute: defaultdict[int, dict[str, int]] = defaultdict(_no_tasks)
    for minute, action, what, tasks in overview.minutes:
        by_action[action][what] += tasks
        per_minute[minute][what] += tasks
    histograms: defaultdict[str, dict[str, list[tuple[int, int]]]] = defaultdict(lambda: {"wait": [], "run": []})
    for action, what, bound, attempts in overview.times:
        histograms[action][what].append((bound, attempts))
    answer = {
        "tasks": {str(status): overview.by_status[status] for status in overview.by_status},
        "oldest_waiting": None
        if overview.oldest_waiting is None
        else max(0, now - overview.oldest_waiting) / 1000,
        "minutes": [{"at": minute * 60} | per_minute[minute] for minute in range(since, now // 60_000 + 1)],
        "wait": _percentiles(_merged(histogram["wait"] for histogram in histograms.values())),
        "run": _percentiles(_merged(histogram["run"] for histogram in histograms.values())),
        "actions": {
            action: by_action[action]
            | {"wait": _percentiles(histograms[action]["wait"]), "run": _percentiles(histograms[action]["run"])}
            for action in sorted(by_action.keys() | histograms.keys())
        },
    }
    return web.json_response(answer)


async def workers(request: web.Request) -> web.Response:
    """`GET /workers`: who works, and on what."""
    known = await request.app[STORE].workers()
    answer = [
        {
            "id": worker.id,
            "host": worker.host,
            "pid": worker.pid,
            "started_at": worker.started_at / 1000,
            "last_seen": worker.last_seen / 1000,
            "consumers": worker.consumers,
            "prefetch": worker.prefetch,
            "running": worker.running,
        }
        for worker in known
    ]
    return web.json_response({"workers": answer, "count": len(answer)})


async def actions(request: web.Request) -> web.Response:
    """`GET /actions`: what the workers can run, and the JSON Schema of each one's arguments."""
    known: dict[str, dict[str, Any]] = {}
    for worker in await request.app[STORE].workers():
        for action in worker.actions:
            told = known.setdefault(action["name"], action | {"workers": 0})
            told["workers"] += 1
    answer = [known[name] for name in sorted(known)]
    return web.json_response({"actions": answer, "count": len(answer)})


def _no_tasks() -> dict[str, int]:
    return {"accepted": 0, "completed": 0, "failed": 0, "cancelled": 0}


def _merged(histograms: Iterable[list[tuple[int, int]]]) -> list[tuple[int, int]]:
    merged: defaultdict[int, int] = defaultdict(int)
    for bound, attempts in itertools.chain.from_iterable(histograms):
        merged[bound] += attempts
    return sorted(merged.items())


def _percentiles(histogram: list[tuple[int, int]]) -> dict[str, float | None]:
    return {"p50": percentile(histogram, 0.50), "p95": percentile(histogram, 0.95)}


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
