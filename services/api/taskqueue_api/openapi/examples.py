"""Examples for the OpenAPI document. Tests send those of requests, and hold answers against those of answers."""

from typing import Any

ID = "01a2043a-b7c0-71dd-b05f-f2d70b6d4bd4"
OTHER_ID = "01a2043a-c2f8-7a3e-8d8c-5b0f4f0f7b11"
REQUEST_ID = "8c1f0b52-6a0e-4c55-9d0f-2a4b7d3e9f10"
OTHER_REQUEST_ID = "2b7e4c1d-93f5-4d08-a6c1-7e5d0f8b3a42"
WORKER = "6f1c2d0e9a4b4f6c8d7e5a3b1c0d9e8f"

UPPERCASE = {"action": "uppercase", "data": {"text": "hello world"}}
WITH_OPTIONS = {
    "action": "resize",
    "data": {"image": "/images/7.png", "width": 400},
    "delay": 60,
    "priority": "high",
    "max_attempts": 5,
    "timeout": 30,
    "tags": ["images", "customer-7"],
}
AT_A_TIME = {"action": "mail", "data": {"order": 7}, "run_at": "2030-01-31T08:00:00+01:00"}
BATCH = {"tasks": [UPPERCASE, {"action": "sum", "data": {"numbers": [1, 2, 3]}, "priority": "low"}]}

ACCEPTED = {"id": ID, "status": "queued"}
ACCEPTED_BATCH = {"tasks": [ACCEPTED, {"id": OTHER_ID, "status": "queued"}], "count": 2}

TASK: dict[str, Any] = {
    "id": ID,
    "action": "uppercase",
    "data": {"text": "hello world"},
    "payload": {
        "id": ID,
        "action": "uppercase",
        "data": {"text": "hello world"},
        "created_at": 1795341600.123,
    },
    "status": "completed",
    "result": {"output": "HELLO WORLD"},
    "error": None,
    "progress": None,
    "tags": [],
    "created_at": 1795341600.123,
    "run_at": 1795341600.123,
    "processed_at": 1795341600.157,
    "priority": "normal",
    "attempt": 1,
    "failures": 0,
    "max_attempts": 3,
    "timeout": None,
    "cancel_requested": False,
    "waiting_for": None,
    "request_id": REQUEST_ID,
    "parent": None,
}
WHOLE_TASK = TASK | {
    "attempts": [
        {
            "number": 1,
            "worker": WORKER,
            "started_at": 1795341600.149,
            "ended_at": 1795341600.157,
            "outcome": "ok",
            "error": None,
            "request_id": REQUEST_ID,
        }
    ],
    "children": [],
}
PAGE = {"tasks": [TASK], "count": 1, "next": "MTMuMC5hMWIyYzNkNGU1ZjY"}

STREAM = f"""event: status
id: 7
data: {{"id": "{ID}", "action": "resize", "tags": ["images"], "status": "running", "attempt": 1, \
"at": 1795341600.149, "progress": null}}

event: progress
id: 8
data: {{"id": "{ID}", "action": "resize", "tags": ["images"], "status": "running", "attempt": 1, \
"at": 1795341600.9, "progress": {{"fraction": 0.4, "message": "resizing"}}}}

: heartbeat

"""

ROOT = {"name": "taskqueue", "version": "0.1.0", "docs": "/docs", "openapi": "/openapi.json"}

_TIMES = {"p50": 0.025, "p95": 0.12}
STATS = {
    "tasks": {"pending": 0, "queued": 2, "running": 1, "completed": 120, "failed": 3, "cancelled": 0},
    "oldest_waiting": 0.8,
    "waiting_for_workers": 0,
    "minutes": [
        {"at": 1795341540, "accepted": 60, "completed": 59, "failed": 1, "cancelled": 0},
        {"at": 1795341600, "accepted": 12, "completed": 10, "failed": 0, "cancelled": 0},
    ],
    "wait": _TIMES,
    "run": _TIMES,
    "actions": {
        "uppercase": {
            "accepted": 72,
            "completed": 69,
            "failed": 1,
            "cancelled": 0,
            "wait": _TIMES,
            "run": _TIMES,
        }
    },
}
_POINT = {"cancelled": 0, "wait": _TIMES, "run": _TIMES}
OVERVIEW: dict[str, Any] = {
    "at": 1795341612.5,
    "window": "1h",
    "width": 60,
    "attention": [
        {
            "concern": "failures",
            "severity": "warning",
            "text": "34% of the tasks that ended in the last 10 minutes failed (12); in the rest of the hour 1%. "
            "12 are of 'uppercase'.",
            "advice": "Look at their errors; once the cause is mended, retry them.",
            "action": "uppercase",
        }
    ],
    "tasks": {"pending": 0, "queued": 2, "running": 1, "completed": 120, "failed": 12, "cancelled": 0},
    "oldest_waiting": 0.8,
    "backlog": 2,
    "drains_in": 34.3,
    "workers": 1,
    "slots": 2,
    "points": [
        _POINT | {"at": 1795341540, "accepted": 60, "completed": 47, "failed": 12},
        _POINT | {"at": 1795341600, "accepted": 12, "completed": 10, "failed": 0},
    ],
    "wait": _TIMES,
    "run": _TIMES,
    "actions": {
        "uppercase": {
            "accepted": 72,
            "completed": 57,
            "failed": 12,
            "cancelled": 0,
            "wait": _TIMES,
            "run": _TIMES,
            "ended": [59, 10],
        }
    },
    "others": {"accepted": 0, "completed": 0, "failed": 0, "cancelled": 0},
}
ERRORS = {
    "errors": [
        {
            "action": "resize",
            "type": "TimeoutError",
            "message": "no answer from the image store after … s",
            "tasks": 412,
            "first_at": 1795338000.5,
            "last_at": 1795341600.157,
            "last": ID,
            "error": "TimeoutError: no answer from the image store after",
        }
    ],
    "looked_at": 424,
}
WORKERS = {
    "workers": [
        {
            "id": WORKER,
            "host": "worker-1",
            "pid": 7,
            "started_at": 1795341000.5,
            "last_seen": 1795341600.1,
            "consumers": 2,
            "prefetch": 5,
            "queue": "tasks",
            "actions": ["resize", "uppercase"],
            "executors": {"resize": "process", "uppercase": "async"},
            "versions": {"taskqueue": "0.1.0"},
            "memory": 52428800,
            "running": [{"id": ID, "action": "uppercase", "attempt": 1, "started_at": 1795341599.8}],
        }
    ],
    "count": 1,
}
ACTIONS = {
    "actions": [
        {
            "name": "uppercase",
            "arguments": {
                "type": "object",
                "properties": {"text": {"anyOf": [{"type": "string"}, {"type": "null"}]}},
                "additionalProperties": False,
            },
            "defaults": {"timeout": 30, "max_attempts": 5},
            "version": "0.1.0",
            "workers": 1,
            "last_seen": 1795341600.1,
        }
    ],
    "count": 1,
}

KEY_WANTED = {"label": "the shop", "role": "submit"}
KEY_FOR_A_MONTH = {"label": "Ada, on call", "role": "operate", "expires_in": 2592000}
KEY_OF_A_TENANT = {"label": "Acme", "role": "operate", "scope": {"tag_prefix": "acme:"}}
KEY: dict[str, Any] = {
    "id": "r7Kq2LxV9bTz",
    "label": "the shop",
    "role": "submit",
    "scope": None,
    "created_at": 1795341600.123,
    "expires_at": None,
    "revoked_at": None,
    "last_used_at": None,
}
NEW_KEY = KEY | {"key": "tq_r7Kq2LxV9bTz_" + "0" * 43}
DEAD_LETTER: dict[str, Any] = {
    "id": "790f00d5d5c4",
    "reason": "malformed message: not JSON",
    "died_at": 1795341600.0,
    "message": "hello",
    "size": 5,
    "truncated": False,
}
DEAD_LETTERS = {"letters": [DEAD_LETTER], "count": 1, "total": 12}
AUDIT = {
    "entries": [
        {
            "seq": 18,
            "at": 1795345260.5,
            "operation": "retry_tasks",
            "key": "r7Kq2LxV9bTz",
            "label": "Ada, on call",
            "target": None,
            "filter": {"status": ["failed"], "action": "resize"},
            "tasks": 12,
            "address": "10.0.0.7",
            "request_id": REQUEST_ID,
        },
        {
            "seq": 17,
            "at": 1795345200.0,
            "operation": "cancel_task",
            "key": "r7Kq2LxV9bTz",
            "label": "Ada, on call",
            "target": ID,
            "filter": None,
            "tasks": 1,
            "address": "10.0.0.7",
            "request_id": OTHER_REQUEST_ID,
        },
    ],
    "count": 2,
    "next": 17,
}
METRICS = """# HELP taskqueue_tasks Tasks that there are.
# TYPE taskqueue_tasks gauge
taskqueue_tasks{queue="tasks",status="queued"} 2.0
"""
