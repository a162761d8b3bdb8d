"""An action's own types, at both ends of a task: its arguments are checked, and its result is read as they say."""

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any

from pydantic import PydanticUserError, TypeAdapter, ValidationError

from taskqueue.actions.signatures import Action, Handler
from taskqueue.client.errors import InvalidRequestError, InvalidResultError
from taskqueue.contract.answers import ErrorDetail
from taskqueue.contract.options import to_json


def check_arguments(action: Action, data: Mapping[str, Any]) -> None:
    """Hold data against the action's annotations, as a worker will.

    Raises:
        InvalidRequestError: it doesn't fit; `details` has each error by its path.
    """
    try:
        action.arguments.validate_json(to_json(data))
    except ValidationError as error:
        details = [
            ErrorDetail(path=(path := ".".join(map(str, item["loc"]))), error=f"{path}: {item['msg']}")
            for item in error.errors(include_url=False)
        ]
        text = f"{action.name}: " + "; ".join(detail.error for detail in details)
        raise InvalidRequestError(422, text, details) from error


@functools.cache
def reads_result_of(function: Handler) -> Callable[[Any], Any]:
    """Makes of a task's result what the action's function is annotated to return.

    Raises (what it returns):
        InvalidResultError: the result is not that; the worker has another version of the action.
    """
    annotation = inspect.signature(function, eval_str=True).return_annotation
    if annotation is inspect.Signature.empty:
        return lambda result: result
    try:
        adapter: TypeAdapter[Any] = TypeAdapter(annotation)
    except PydanticUserError:  # which the worker made JSON of, and nobody can make it of JSON again
        return lambda result: result

    def read(result: Any) -> Any:
        try:
            return adapter.validate_python(result)
        except ValidationError as error:
            raise InvalidResultError(f"the task returned what is no {annotation}: {error}") from error

    return read
