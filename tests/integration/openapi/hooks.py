"""What schemathesis has to be told about this API. It imports this module in its own process."""

from uuid import uuid4

import schemathesis


@schemathesis.hook
def before_call(_context: schemathesis.HookContext, case: schemathesis.Case, _options: dict[str, object]) -> None:
    """What is valid by its form may yet be refused for what came before: that is tested elsewhere."""
    if case.meta is None or case.meta.generation.mode.is_negative:
        return
    # A key for a second body is answered 422; one for the same body with the first answer, also when that
    # task is deleted by now.
    if "Idempotency-Key" in case.headers:
        case.headers["Idempotency-Key"] = uuid4().hex
    # An event that is still to come is refused.
    if "Last-Event-ID" in case.headers:
        case.headers["Last-Event-ID"] = "0"
    # An end that has been is refused.
    if case.operation.path == "/keys" and isinstance(case.body, dict):
        case.body.pop("expires_at", None)
    # Only what a page gave is a cursor.
    if case.operation.path == "/tasks":
        case.query.pop("cursor", None)
