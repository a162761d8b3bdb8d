"""What clients send: request bodies and query strings, validated, every error told at once."""

from collections.abc import Mapping
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, ValidationError
from pydantic_core import ErrorDetails, from_json

from taskqueue.task import Status
from taskqueue_api.errors import bad_request

M = TypeVar("M", bound=BaseModel)


def _printable(text: str) -> str:
    if not text.isprintable():
        raise ValueError("must not contain control characters")
    return text


ActionName = Annotated[str, StringConstraints(min_length=1, max_length=200), AfterValidator(_printable)]


class SubmitBody(BaseModel):
    """The body of `POST /tasks`."""

    model_config = ConfigDict(extra="forbid", strict=True)

    action: ActionName = Field(description="Name of the action to run.")
    data: dict[str, Any] = Field(default_factory=dict, description="The action's arguments.")


class ListQuery(BaseModel):
    """The query string of `GET /tasks`."""

    model_config = ConfigDict(extra="forbid")

    status: Status | None = Field(None, description="Only tasks with this status.")
    limit: int = Field(100, ge=1, le=1000, description="How many tasks at most.")


def read_json(model: type[M], body: bytes) -> M:
    """Parse and validate a request body.

    Raises:
        HTTPBadRequest: it isn't JSON, or doesn't fit the model.
    """
    try:
        value = from_json(body, allow_inf_nan=False)
    except ValueError as error:
        raise bad_request("JSON nested too deeply" if "recursion" in str(error) else "invalid JSON") from error
    if not isinstance(value, dict):
        raise bad_request("the body must be a JSON object")
    return _validate(model, value)


def read_query(model: type[M], query: Mapping[str, str]) -> M:
    """Validate a query string.

    Raises:
        HTTPBadRequest: it doesn't fit the model.
    """
    return _validate(model, dict(query))


def _validate(model: type[M], value: dict[str, Any]) -> M:
    try:
        return model.model_validate(value)
    except ValidationError as error:
        details = [
            {"path": ".".join(map(str, item["loc"])), "error": _explain(item)}
            for item in error.errors(include_url=False)
        ]
        raise bad_request(
            "; ".join(item["error"] for item in details), details if len(details) > 1 else None
        ) from error


def _explain(item: ErrorDetails) -> str:
    path = ".".join(map(str, item["loc"]))
    match item["type"]:
        case "missing" | "string_too_short":
            return f"{path} required"
        case "extra_forbidden":
            return f"unknown member {path!r}"
        case "dict_type":
            return f"{path}: must be a JSON object"
        case "enum":
            return f"unknown {path} {item['input']!r}; known: {item['ctx']['expected'].replace(chr(39), '')}"
        case _:
            return f"{path}: {item['msg']}"
