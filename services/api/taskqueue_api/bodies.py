"""What clients send: request bodies and query strings, validated, every error told at once."""

import itertools
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    model_validator,
)
from pydantic_core import ErrorDetails, PydanticCustomError, from_json

from taskqueue.settings import MAX_TIMEOUT
from taskqueue.task import Status
from taskqueue_api.errors import bad_request

M = TypeVar("M", bound=BaseModel)

#: Of what we don't know, an answer names so many, and so many characters of each.
_UNKNOWN_TOLD, _NAME_TOLD = 20, 100


def _printable(text: str) -> str:
    if not text.isprintable():
        raise PydanticCustomError("printable", "must not contain control characters")
    return text


ActionName = Annotated[str, StringConstraints(min_length=1, max_length=200), AfterValidator(_printable)]


#: The end of the year 9999, in Unix seconds.
_LATEST = 253_402_300_799


class SubmitBody(BaseModel):
    """The body of `POST /tasks`. Times are in Unix seconds, spans in seconds."""

    model_config = ConfigDict(extra="forbid", strict=True)

    action: ActionName = Field(description="Name of the action to run.")
    data: dict[str, Any] = Field(default_factory=dict, description="The action's arguments.")
    run_at: float | None = Field(None, ge=0, le=_LATEST, description="Not to be started before this time.")
    delay: float | None = Field(None, ge=0, le=_LATEST, description="Not to be started within this span from now.")
    priority: Literal["high", "normal", "low"] = Field("normal", description="Which of the waiting go first.")
    max_attempts: int | None = Field(None, ge=1, le=100, description="Attempts until the task has failed.")
    timeout: float | None = Field(None, ge=0.001, le=MAX_TIMEOUT, description="How long an attempt may take.")

    @model_validator(mode="after")
    def _one_time(self) -> Self:
        if self.run_at is not None and self.delay is not None:
            raise PydanticCustomError("one_time", "run_at and delay exclude each other")
        return self


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
    return _validate(model, value, "member")


def read_query(model: type[M], query: Mapping[str, str]) -> M:
    """Validate a query string.

    Raises:
        HTTPBadRequest: it doesn't fit the model, or names a parameter twice.
    """
    names = [name for name, _ in query.items()]  # a multi-mapping: one for each time that it is given
    for name in model.model_fields:
        if names.count(name) > 1:
            raise bad_request(f"{name} is given more than once")
    return _validate(model, dict(query), "query parameter")


def _validate(model: type[M], value: dict[str, Any], kind: str) -> M:
    known = {name: value[name] for name in model.model_fields if name in value}
    unknown = itertools.islice((name for name in value if name not in known), _UNKNOWN_TOLD)
    try:
        return model.model_validate(known | dict.fromkeys(unknown))
    except ValidationError as error:
        details = [
            {"path": _path(item), "error": _explain(item, kind)} for item in error.errors(include_url=False)
        ]
        raise bad_request(
            "; ".join(item["error"] for item in details), details if len(details) > 1 else None
        ) from error


def _path(item: ErrorDetails) -> str:
    return ".".join(map(str, item["loc"]))[:_NAME_TOLD]


def _explain(item: ErrorDetails, kind: str) -> str:
    path = _path(item)
    match item["type"]:
        case "missing" | "string_too_short":
            return f"{path} required"
        case "extra_forbidden":
            return f"unknown {kind} {path!r}"
        case "dict_type":
            return f"{path}: must be a JSON object"
        case "enum":
            known = item["ctx"]["expected"].replace("'", "")
            return f"unknown {path} {item['input'][:_NAME_TOLD]!r}; known: {known}"
        case _:
            return f"{path}: {item['msg']}" if path else item["msg"]
