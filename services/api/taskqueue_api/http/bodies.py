"""Reads what clients send: every error is told, at once where there are several."""

import io
import itertools
from typing import Any, TypeVar, get_args, get_origin

from multidict import MultiMapping
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails, from_json

from taskqueue.contract.bounds import TooDeepError, TooManyValuesError, check_depth, check_values
from taskqueue_api.http.errors import bad_request, too_large

M = TypeVar("M", bound=BaseModel)

#: Of what we don't know, an answer names so many, and so many characters of each.
_UNKNOWN_TOLD, _NAME_TOLD = 20, 100
#: Errors that an answer tells.
_ERRORS_TOLD = 100


def read_json(model: type[M], body: bytes) -> M:
    """Parse and validate a request body.

    Raises:
        HTTPBadRequest: it isn't JSON, or doesn't fit the model.
        HTTPRequestEntityTooLarge: there is too much in it.
    """
    value = parse(body)
    if not isinstance(value, dict):
        raise bad_request("the body must be a JSON object")
    return validate(model, value, "member")


def read_lines(body: bytes, limit: int) -> list[Any]:
    """Parse NDJSON: a JSON value a line; empty lines don't count. What comes after `limit` values isn't read.

    Raises:
        HTTPBadRequest: lines aren't JSON; it tells which.
        HTTPRequestEntityTooLarge: there is too much in it.
    """
    _check_values(body)
    values: list[Any] = []
    wrong: list[dict[str, str | int]] = []
    for number, line in enumerate(io.BytesIO(body), start=1):
        if len(values) == limit or len(wrong) == _ERRORS_TOLD:
            break
        if line.strip():
            try:
                check_depth(line)
                values.append(from_json(line.rstrip(b"\r\n"), allow_inf_nan=False))
            except ValueError as error:
                index = len(values)
                text, where = _not_json(error, number)
                item: dict[str, str | int] = {
                    "path": f"tasks.{index}",
                    "error": f"line {number}: {text}",
                    "index": index,
                }
                wrong.append(item | ({"detail": where} if where else {}))
                values.append(None)
    if wrong:
        raise bad_request("; ".join(str(detail["error"]) for detail in wrong), wrong)
    return values


def read_query(model: type[M], query: MultiMapping[str]) -> M:
    """Validate a query string. A list's values are given one by one, or separated by commas.

    Raises:
        HTTPBadRequest: it doesn't fit the model, or names a parameter twice that is not a list.
    """
    values: dict[str, Any] = {}
    for name in query:
        field = model.model_fields.get(name)
        given = query.getall(name)
        if field is not None and get_origin(field.annotation) is list:
            values[name] = ",".join(given).split(",")
        elif field is not None and len(given) > 1:
            raise bad_request(f"{name} is given more than once")
        else:
            values[name] = given[0]
    return validate(model, values, "query parameter")


def parse(body: bytes) -> Any:
    """A JSON value.

    Raises:
        HTTPBadRequest: it isn't JSON.
        HTTPRequestEntityTooLarge: there is too much in it.
    """
    _check_values(body)
    try:
        check_depth(body)
        return from_json(body, allow_inf_nan=False)
    except ValueError as error:
        text, where = _not_json(error)
        raise bad_request(text, detail=where) from error


def validate(model: type[M], value: dict[str, Any], kind: str) -> M:
    """Validate what was parsed; `kind` is what its parts are called.

    Raises:
        HTTPBadRequest: it doesn't fit the model.
    """
    value = _trimmed(model, value)
    for name, field in model.model_fields.items():
        match value.get(name), get_args(field.annotation):
            case list(items), (type() as part,) if issubclass(part, BaseModel):
                value[name] = [_trimmed(part, item) if isinstance(item, dict) else item for item in items]
    try:
        return model.model_validate(value)
    except ValidationError as error:
        details = [_detail(item, kind) for item in error.errors(include_url=False)[:_ERRORS_TOLD]]
        whole = "; ".join(str(item["error"]) for item in details)
        raise bad_request(whole, details if len(details) > 1 or "index" in details[0] else None) from error


def _trimmed(model: type[BaseModel], value: dict[str, Any]) -> dict[str, Any]:
    """Without most of what is not known, where there is much: a million errors take seconds, and a gigabyte."""
    if len(value) <= len(model.model_fields) + _UNKNOWN_TOLD:
        return value
    known = {name: value[name] for name in model.model_fields if name in value}
    return known | dict.fromkeys(itertools.islice((name for name in value if name not in known), _UNKNOWN_TOLD))


def _check_values(body: bytes) -> None:
    """Before objects are made of it, which may take fifty times its bytes."""
    try:
        check_values(body)
    except TooManyValuesError as error:
        raise too_large(f"the body has {error}", error.limit + 1, error.limit) from error


def _not_json(error: ValueError, line: int | None = None) -> tuple[str, str | None]:
    """What is wrong, and for bad syntax where: the place, and the parser's own words.

    Args:
        line: which one was parsed, where it was one of many.
    """
    if isinstance(error, TooDeepError):
        return str(error), None
    cause, _, place = str(error).rpartition(" at line ")
    its_line, _, column = place.partition(" column ")
    return "invalid JSON", f"line {line or its_line}, column {column}: {cause}"


def _detail(item: ErrorDetails, kind: str) -> dict[str, str | int]:
    detail: dict[str, str | int] = {"path": _path(item), "error": _explain(item, kind)}
    match item["loc"]:
        case ("tasks", int(index), *_):
            detail["index"] = index
    return detail


def _path(item: ErrorDetails) -> str:
    return ".".join(map(str, item["loc"]))[:_NAME_TOLD]


def _explain(item: ErrorDetails, kind: str) -> str:
    path = _path(item)
    match item["type"]:
        case "missing":
            return f"{path} required"
        case "string_too_short":
            missing = kind == "member" and item["loc"][-1] == "action"
            return f"{path} required" if missing else f"{path}: must not be empty"
        case "extra_forbidden":
            return f"unknown {kind} {path!r}"
        case "dict_type" | "model_type":
            return f"{path}: must be a JSON object"
        case "enum":
            known = item["ctx"]["expected"].replace("'", "")
            return f"unknown {item['loc'][0]} {str(item['input'])[:_NAME_TOLD]!r}; known: {known}"
        case _:
            return f"{path}: {item['msg']}" if path else item["msg"]
