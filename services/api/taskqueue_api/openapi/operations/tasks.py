"""Tasks: submit, find, read, and act on one."""

from taskqueue.contract.answers import AcceptedAnswer, BatchAnswer, BulkAnswer, CancelAnswer
from taskqueue.contract.keys import Role
from taskqueue.contract.requests import BatchBody, BatchQuery, ListQuery, SubmitBody
from taskqueue.contract.tasks import PageAnswer, WholeTaskAnswer
from taskqueue_api.openapi import answers, examples, headers
from taskqueue_api.openapi.terms import Answer, Content, Operation, answer

SUBMIT_TASK = Operation(
    id="submit_task",
    group="Tasks",
    role=Role.SUBMIT,
    narrows=True,
    summary="Submit a task",
    description="An accepted task is durable, and is run at least once.",
    headers=(headers.IDEMPOTENCY_KEY, headers.PREFER_WAIT, headers.TRACEPARENT),
    body=(
        Content(
            SubmitBody,
            {
                "a task": examples.UPPERCASE,
                "with all its options": examples.WITH_OPTIONS,
                "at a time": examples.AT_A_TIME,
            },
        ),
    ),
    answers=answers.OF_WRITES
    | {
        200: answer(
            "With `Prefer: wait`: it is final.",
            WholeTaskAnswer,
            examples.WHOLE_TASK,
            headers.LOCATION,
            headers.PREFERENCE_APPLIED,
            headers.REPLAYED,
        ),
        202: answer(
            "Accepted.",
            AcceptedAnswer,
            examples.ACCEPTED,
            headers.LOCATION,
            headers.PREFERENCE_APPLIED,
            headers.REPLAYED,
        ),
        400: answers.bad(
            "action required; unknown member 'prority'",
            details=[
                {"path": "action", "error": "action required"},
                {"path": "prority", "error": "unknown member 'prority'"},
            ],
        ),
        422: answers.NOT_TAKEN,
        503: answers.NOT_STORED,
    },
)

SUBMIT_BATCH = Operation(
    id="submit_batch",
    group="Tasks",
    role=Role.SUBMIT,
    narrows=True,
    summary="Submit up to 1,000 tasks, all or none",
    # Most that make a client of the document know no NDJSON, so it is told in words.
    description="As a JSON object; or as NDJSON, a task a line, with `Content-Type: application/x-ndjson`. "
    "A dry run checks all of it, and stores nothing: who has more tasks than a batch takes learns what is wrong "
    "before any is accepted.",
    query=BatchQuery,
    headers=(headers.IDEMPOTENCY_KEY, headers.TRACEPARENT),
    body=(Content(BatchBody, {"two tasks": examples.BATCH}),),
    answers=answers.OF_WRITES
    | {
        200: answer("Of a dry run: all would be accepted.", BulkAnswer, {"count": 2, "dry_run": True}),
        202: answer("All are accepted.", BatchAnswer, examples.ACCEPTED_BATCH, headers.REPLAYED),
        400: answers.bad(
            "tasks.1.action required",
            details=[{"path": "tasks.1.action", "error": "tasks.1.action required", "index": 1}],
        ),
        422: answers.NONE_TAKEN,
        503: answers.NOT_STORED,
    },
)

FIND_TASKS = Operation(
    id="find_tasks",
    group="Tasks",
    role=Role.READ,
    narrows=True,
    summary="Find tasks, newest first",
    description="Pages don't shift while tasks are added or change: what was there at the first page comes "
    "once. A page ends early where its tasks are large.",
    query=ListQuery,
    answers={
        200: answer("A page.", PageAnswer, examples.PAGE, headers.LINK),
        400: answers.bad("limit: Input should be less than or equal to 1000"),
        503: answers.UNAVAILABLE,
    },
)

GET_TASK = Operation(
    id="get_task",
    group="Tasks",
    role=Role.READ,
    narrows=True,
    summary="Read a task, with its attempts",
    headers=(headers.PREFER_WAIT, headers.TASK_IF_NONE_MATCH),
    answers={
        200: answer(
            "The task.",
            WholeTaskAnswer,
            examples.WHOLE_TASK,
            headers.TASK_ETAG,
            headers.PREFERENCE_APPLIED,
        ),
        304: answers.SAME_TASK,
        400: answers.bad("Prefer: wait is a whole number of seconds from 0 to 86400"),
        404: answers.NO_TASK,
        503: answers.NO_WAIT,
    },
)

DELETE_TASK = Operation(
    id="delete_task",
    group="Tasks",
    role=Role.OPERATE,
    narrows=True,
    summary="Forget a final task",
    answers=answers.OF_WRITES
    | {
        204: Answer("It is forgotten."),
        400: answers.bad("unknown query parameter 'force'"),
        404: answers.NO_TASK,
        409: answers.conflict("the task is queued: cancel it first", "queued"),
        503: answers.UNAVAILABLE,
    },
)

CANCEL_TASK = Operation(
    id="cancel_task",
    group="Tasks",
    role=Role.OPERATE,
    narrows=True,
    summary="Cancel a task",
    description="At once where it waits. A running one is asked to stop: it is `cancelled` once it has, or "
    "final in another way where that came first.",
    answers=answers.OF_WRITES
    | {
        202: answer(
            "It is cancelled, or will be.",
            CancelAnswer,
            {"id": examples.ID, "status": "cancelled", "cancel_requested": True},
        ),
        400: answers.bad("unknown query parameter 'force'"),
        404: answers.NO_TASK,
        409: answers.conflict("the task is already completed", "completed"),
        503: answers.UNAVAILABLE,
    },
)

RETRY_TASK = Operation(
    id="retry_task",
    group="Tasks",
    role=Role.OPERATE,
    narrows=True,
    summary="Run a failed or cancelled task again",
    description="It has all its attempts anew; those that were stay in its history.",
    answers=answers.OF_WRITES
    | {
        202: answer("It will run.", AcceptedAnswer, {"id": examples.ID, "status": "pending"}),
        400: answers.bad("unknown member 'delay'"),
        404: answers.NO_TASK,
        409: answers.conflict("the task is running: only a failed or cancelled one is retried", "running"),
        503: answers.UNAVAILABLE_OR_FULL,
    },
)
