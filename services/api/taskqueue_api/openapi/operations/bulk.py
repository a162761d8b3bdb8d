"""Acting on all tasks of a filter."""

from typing import Any, Literal

from taskqueue.contract.answers import BulkAnswer
from taskqueue.contract.keys import Role
from taskqueue.contract.requests import BulkBody
from taskqueue_api.openapi import answers
from taskqueue_api.openapi.terms import Answer, Content, Operation, answer


def _bulk(
    verb: Literal["cancel", "retry", "delete"], summary: str, example: dict[str, Any], unavailable: Answer
) -> Operation:
    return Operation(
        id=f"{verb}_tasks",
        group="Bulk",
        role=Role.OPERATE,
        narrows=True,
        summary=summary,
        description="In slices: where it ends with 503, those before are done. Tasks accepted meanwhile are not "
        "touched.",
        body=(Content(BulkBody, {"only count them": example | {"dry_run": True}, "do it": example}),),
        answers=answers.OF_WRITES
        | {
            200: answer("It is done.", BulkAnswer, {"count": 12, "dry_run": False}),
            400: answers.bad("ids: List should have at least 1 item after validation, not 0"),
            503: unavailable,
        },
    )


CANCEL_TASKS = _bulk(
    "cancel", "Cancel all tasks of a filter that are not final", {"tag": "customer-7"}, answers.UNAVAILABLE
)

RETRY_TASKS = _bulk(
    "retry",
    "Run all failed or cancelled tasks of a filter again",
    {"status": ["failed"], "action": "resize", "created_after": "2026-11-22T10:00:00Z"},
    answers.UNAVAILABLE_OR_FULL,
)

DELETE_TASKS = _bulk(
    "delete", "Forget all final tasks of a filter", {"created_before": 1795341600}, answers.UNAVAILABLE
)
