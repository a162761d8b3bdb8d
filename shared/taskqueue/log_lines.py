"""The log line of each happening that telemetry tells."""

import json
import logging
from collections.abc import Callable
from typing import Any

from taskqueue import telemetry
from taskqueue.task import Claim, Outcome, Status

_API = logging.getLogger("taskqueue.api")
_DISPATCH = logging.getLogger("taskqueue.dispatch")
_WORKER = logging.getLogger("taskqueue.worker")


def log_happening(happening: object) -> None:
    """A listener: the line of a happening. Those that nobody reads in a log have none."""
    if line := _LINES.get(type(happening)):
        line(happening)


def task_fields(id: str, action: str, **more: Any) -> dict[str, Any]:
    """The `extra` of a line about a task: its id and action stand on each of them."""
    return {"task_id": id, "action": action, **more}


def claim_fields(claim: Claim, **more: Any) -> dict[str, Any]:
    """The `extra` of a line about an attempt, with the request that submitted its task."""
    request = {} if claim.request_id is None else {"request_id": claim.request_id}
    return task_fields(claim.id, claim.action, attempt=claim.attempt, **request, **more)


def _accepted(told: telemetry.TaskAccepted) -> None:
    _API.info("task accepted", extra=task_fields(told.id, told.action, status=told.status))


def _refused(told: telemetry.TaskRefused) -> None:
    _API.warning("task refused: %s", told.error)


def _not_confirmed(told: telemetry.NotConfirmed) -> None:
    fields = task_fields(told.id, told.action)
    if told.expected:
        _DISPATCH.warning("message not confirmed, the relay will publish it: %s", told.error, extra=fields)
    else:
        _DISPATCH.error("publishing failed, the relay will try again", exc_info=told.error, extra=fields)


def _leases_kept(told: telemetry.LeasesKept) -> None:
    _DISPATCH.warning("could not write that %d tasks are queued: %s", told.tasks, told.error)


def _demoted(told: telemetry.Demoted) -> None:
    _DISPATCH.warning("%d queued tasks will be published again: %s", told.tasks, told.why)


def _claimed(told: telemetry.TaskClaimed) -> None:
    _WORKER.info("processing task", extra=claim_fields(told.claim))


def _ended(told: telemetry.TaskEnded) -> None:
    fields = claim_fields(told.claim, outcome=told.outcome)
    match told.status:
        case None:
            _WORKER.warning("outcome refused: the task was taken from this worker", extra=fields)
        case Status.COMPLETED:
            _WORKER.info("task completed", extra=fields)
        case Status.FAILED:
            _WORKER.error("task failed", extra=fields | _error_fields(told.error))
        case Status.PENDING if told.outcome in {Outcome.ERROR, Outcome.TIMEOUT}:
            _WORKER.warning("attempt failed, to be tried again", extra=fields | _error_fields(told.error))
        case _:  # cancelled, snoozed or given back
            _WORKER.info("task %s", told.status, extra=fields | _error_fields(told.error))


def _error_fields(error: str | None) -> dict[str, str]:
    """Its type and message, and the traceback apart: it has many lines."""
    if error is None:
        return {}
    told = json.loads(error)
    fields = {"error": f"{told['type']}: {told['message']}"}
    return fields | {"traceback": told["traceback"]} if told.get("traceback") else fields


def _set_aside(told: telemetry.TaskSetAside) -> None:
    fields = task_fields(told.id, told.action)
    if told.first:  # one line for all of this action that will come
        _WORKER.warning("tasks wait for a worker with the action %r: this one has none", told.action, extra=fields)
    else:
        _WORKER.debug("task set aside: its action is not known here", extra=fields)


def _given_up(told: telemetry.TaskGivenUp) -> None:
    _WORKER.error("task failed: no worker knows its action", extra=task_fields(told.id, told.action))


def _taken_up(told: telemetry.TasksTakenUp) -> None:
    _WORKER.info("%d tasks that waited for a worker with their action are due", told.tasks)


def _waiting(told: telemetry.TasksWaiting) -> None:
    _WORKER.warning("%d tasks wait for workers with other actions", told.tasks)


def _duplicate_dropped(told: telemetry.DuplicateDropped) -> None:
    _WORKER.info("duplicate message dropped", extra={"task_id": told.id})


def _buried(told: telemetry.MessageBuried) -> None:
    _WORKER.warning(
        "message dead-lettered: %s", told.reason, extra={} if told.id is None else {"task_id": told.id}
    )


def _store_awaited(told: telemetry.StoreAwaited) -> None:
    fields = {} if told.id is None else {"task_id": told.id}
    _WORKER.warning("%s waits for the store: %s", told.what, told.error, extra=fields)


def _slot_held(told: telemetry.SlotHeld) -> None:
    _WORKER.error(
        "the handler goes on after it was told to stop: its slot waits for it", extra=claim_fields(told.claim)
    )


def _stray_released(told: telemetry.StrayReleased) -> None:
    _WORKER.warning("a task that this worker did not know of was given back", extra=claim_fields(told.claim))


def _started(told: telemetry.WorkerStarted) -> None:
    _WORKER.info("worker started", extra={"worker": told.worker, "actions": ",".join(told.actions)})


def _stopping(told: telemetry.WorkerStopping) -> None:
    _WORKER.info("stopping: no new tasks, finishing %d", told.running)


def _not_closed(told: telemetry.ResourceNotClosed) -> None:
    _WORKER.error("resource %r could not be closed", told.name, exc_info=told.error)


def _worker_lost(told: telemetry.WorkerLost) -> None:
    _WORKER.warning("worker lost", extra={"worker": told.worker, "tasks": len(told.rescued)})
    for claim, status in told.rescued:
        level = logging.ERROR if status is Status.FAILED else logging.WARNING
        _WORKER.log(level, "task rescued", extra=claim_fields(claim, status=status, worker=told.worker))


def _beat_missed(told: telemetry.BeatMissed) -> None:
    if told.ends:
        _WORKER.critical("the heartbeat failed: ending this worker", exc_info=told.error)
    else:
        _WORKER.warning("heartbeat not written: %s", told.error)


def _loop_blocked(told: telemetry.LoopBlocked) -> None:
    _WORKER.critical(
        "a handler has blocked the event loop beyond its timeout: ending this worker",
        extra=claim_fields(told.claim),
    )


def _put_off(told: telemetry.SweepPutOff) -> None:
    _WORKER.warning("%s put off: %s", told.sweep, told.error)


def _pruned(told: telemetry.Pruned) -> None:
    _WORKER.info("pruned %d %s tasks", told.tasks, told.status)


def _recounted(told: telemetry.Recounted) -> None:
    _WORKER.error("the counters of %s tasks were wrong, and were counted anew", ", ".join(told.statuses))


_LINES: dict[type, Callable[[Any], None]] = {
    telemetry.TaskAccepted: _accepted,
    telemetry.TaskRefused: _refused,
    telemetry.NotConfirmed: _not_confirmed,
    telemetry.LeasesKept: _leases_kept,
    telemetry.Demoted: _demoted,
    telemetry.TaskClaimed: _claimed,
    telemetry.TaskEnded: _ended,
    telemetry.TaskSetAside: _set_aside,
    telemetry.TaskGivenUp: _given_up,
    telemetry.TasksTakenUp: _taken_up,
    telemetry.TasksWaiting: _waiting,
    telemetry.DuplicateDropped: _duplicate_dropped,
    telemetry.MessageBuried: _buried,
    telemetry.StoreAwaited: _store_awaited,
    telemetry.SlotHeld: _slot_held,
    telemetry.StrayReleased: _stray_released,
    telemetry.WorkerStarted: _started,
    telemetry.WorkerStopping: _stopping,
    telemetry.ResourceNotClosed: _not_closed,
    telemetry.WorkerLost: _worker_lost,
    telemetry.BeatMissed: _beat_missed,
    telemetry.LoopBlocked: _loop_blocked,
    telemetry.SweepPutOff: _put_off,
    telemetry.Pruned: _pruned,
    telemetry.Recounted: _recounted,
}
