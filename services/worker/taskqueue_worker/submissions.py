"""What a handler submits: taken note of while it runs, and stored with its completion or not at all."""

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from random import Random, SystemRandom
from typing import Any, Unpack

from taskqueue.actions import registry
from taskqueue.contract.bounds import check_bounds
from taskqueue.contract.limits import MAX_BATCH
from taskqueue.contract.options import TaskOptions, task, to_json
from taskqueue.contract.requests import SubmitBody
from taskqueue.intake import new_task
from taskqueue.message import Message, encode, redated
from taskqueue.settings import Settings
from taskqueue.store.clock import now_ms
from taskqueue.task import Claim, NewTask, new_id

_RANDOM = SystemRandom()


class Submissions:
    """Of one attempt. They may come from any thread."""

    def __init__(
        self,
        claim: Claim,
        settings: Settings,
        clock: Callable[[], int] = now_ms,
        random: Random = _RANDOM,
    ) -> None:
        self._claim = claim
        self._settings = settings
        self._clock = clock
        self._random = random
        #: In the order in which they came.
        self.tasks: list[NewTask] = []
        self._bytes = 0
        self._over = False
        self._lock = threading.Lock()

    def add(self, action: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> str:
        """Take note of a task, and tell its id. Arguments and errors are those of `TaskContext.submit`."""
        if isinstance(action, str):
            new = self._new_task(action, *args, **kwargs)
        else:
            submission = action.options()
            data = submission.data(args, kwargs)
            new = self._new_task(submission.action.name, data, **submission.told)
        size = len(new.payload.encode())
        if size > (most := self._settings.max_task_bytes):
            raise ValueError(f"the task makes a message of {size} bytes; TASKQUEUE_MAX_TASK_BYTES is {most}")
        with self._lock:
            if self._over:
                raise RuntimeError("the attempt is over: no task can be submitted with it")
            if len(self.tasks) == MAX_BATCH:
                raise ValueError(f"a task submits {MAX_BATCH} others at most")
            if self._bytes + size > (most := self._settings.max_batch_bytes):
                raise ValueError(f"what a task submits has {most} bytes at most (TASKQUEUE_MAX_BATCH_BYTES)")
            self._bytes += size
            self.tasks.append(new)
        return new.id

    def close(self) -> None:
        """The attempt is over: take no more."""
        with self._lock:
            self._over = True

    def _new_task(
        self, action: str, data: Mapping[str, Any] | None = None, **options: Unpack[TaskOptions]
    ) -> NewTask:
        text = to_json(task(action, data, options))
        check_bounds(text)
        body = SubmitBody.model_validate_json(text)
        if known := registry.ACTIONS.get(action):
            known.arguments.validate_json(to_json(body.data))
            body = body.with_defaults(known.options.told())
        claim, now = self._claim, self._clock()
        id = new_id(now, self._random)
        payload = encode(Message(id, action, body.data, now / 1000))
        return new_task(
            body,
            id=id,
            payload=payload,
            now=now,
            request_id=claim.request_id,
            parent=claim.id,
            traceparent=claim.traceparent,
        )


def accepted_at(now: int, task: NewTask) -> NewTask:
    """The task as it is stored: it is accepted with the completion of the one that submitted it.

    Args:
        now: Unix milliseconds.
    """
    return replace(task, created_at=now, run_at=max(task.run_at, now), payload=redated(task.payload, now / 1000))
