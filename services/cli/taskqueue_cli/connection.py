"""How the commands reach the API, and what becomes of their errors: a line, and an exit code."""

from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from taskqueue.client import (
    Client,
    ForbiddenError,
    InvalidRequestError,
    NotFoundError,
    RefusedError,
    TaskFailedError,
    TaskqueueError,
    TooLargeError,
    UnauthorizedError,
    UnavailableError,
    WaitTimeoutError,
)
from taskqueue_cli.output import complain

Url = Annotated[str, typer.Option(envvar="TASKQUEUE_URL", help="Where the API is.")]
HERE = "http://127.0.0.1:8080"

#: Exit codes, beside 0 and those of the programs. The last three are those of sysexits.h.
FAILED = 1  # a task has no result, or doesn't allow what was asked for
USAGE = 2  # what was said makes no sense, or was refused as wrong
NOT_FOUND = 3  # there is no such task, key or dead letter
UNAVAILABLE = 69  # nobody is there who can do it now
NOT_YET = 75  # there was not time enough
NOT_ALLOWED = 77  # the key doesn't open it, or none was shown

#: Seconds in which a request is sent again where nobody answers: a person waits.
SHORT = 3
#: ... and where what was begun is to come to its end, whatever is restarted meanwhile.
LONG = 120


def connect(url: str, *, patient: bool = False) -> Client:
    """A client of the API there.

    Raises:
        typer.BadParameter: the URL is none.
    """
    try:
        return Client(url, retry_for=LONG if patient else SHORT)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--url, TASKQUEUE_KEY") from error


def explain(error: TaskqueueError) -> str:
    """What went wrong, with each of several errors on a line."""
    if not isinstance(error, RefusedError):
        return str(error)
    if isinstance(error, UnauthorizedError):
        return f"{error.error} (the command line shows the one in TASKQUEUE_KEY)"
    # Each detail names its path; where the whole has their texts already, they say nothing more.
    details = [detail.error for detail in error.details if detail.error not in error.error]
    return "\n  ".join([error.error, *details])


def exit_code(error: TaskqueueError) -> int:  # noqa: PLR0911  # a table
    """The code to exit with where this was raised."""
    match error:
        case InvalidRequestError() | TooLargeError():
            return USAGE
        case NotFoundError():
            return NOT_FOUND
        case UnauthorizedError() | ForbiddenError():
            return NOT_ALLOWED
        case WaitTimeoutError():
            return NOT_YET
        case TaskFailedError():
            return FAILED
        case RefusedError() if not isinstance(error, UnavailableError):
            return FAILED
        case _:
            return UNAVAILABLE


class Commands(TyperGroup):
    """Ends a command whose request was not carried out with what went wrong, and a code."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except TaskqueueError as error:
            complain(explain(error))
            raise typer.Exit(exit_code(error)) from error
