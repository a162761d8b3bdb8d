"""The audit: who changed what."""

from taskqueue.contract.audit import AuditAnswer
from taskqueue.contract.keys import Role
from taskqueue.contract.requests import AuditQuery
from taskqueue_api.openapi import answers, examples
from taskqueue_api.openapi.terms import Operation, answer

READ_AUDIT = Operation(
    id="read_audit",
    group="Keys",
    role=Role.ADMIN,
    summary="What people and keys changed",
    description="Other than by submitting: a task has the name of the request that it came with. What was "
    "refused, failed or only counted is not among it. Dead letters are noted before they are ended, and counted "
    "then: `tasks` is 0 where the broker went away, or the API stopped, amid it. Kept for 90 days.",
    query=AuditQuery,
    answers={
        200: answer("A page, newest first.", AuditAnswer, examples.AUDIT),
        400: answers.bad("limit: Input should be greater than or equal to 1"),
        503: answers.UNAVAILABLE,
    },
)
