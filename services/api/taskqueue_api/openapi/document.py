"""The OpenAPI 3.1 document, made from the route table and the models that it names."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from taskqueue.contract.events import EventData
from taskqueue.contract.keys import Role
from taskqueue.version import VERSION
from taskqueue_api.http.credentials import COOKIE
from taskqueue_api.openapi import answers, headers
from taskqueue_api.openapi.docs import FILES
from taskqueue_api.openapi.terms import JSON, SSE, Answer, Content, Header, Operation, Route

_ABOUT = """
A task queue. POST a task; a worker runs its action; read the result back.

Times are in Unix seconds, spans in seconds; requests may have times in ISO 8601, too. Every error is a JSON object
with an `error` text. A GET also answers HEAD, but for the streams; a method that a path doesn't have is answered
405 with `Allow`, an unknown path 404.

Where `TASKQUEUE_AUTH` is `on`, a request needs a key: `Authorization: Bearer tq_...`. Its role says what it may:
`read`; `submit`, which may read, too; `operate`, which may also cancel, retry and delete; `admin`, which may all.
"""

_GROUPS = {
    "Tasks": "Submit, find, wait for and act on tasks.",
    "Bulk": "Act on all tasks that fit a filter.",
    "Events": "Watch tasks change.",
    "Overview": "What goes on.",
    "Dead letters": "Messages that can't be tasks.",
    "Keys": "Who may use the API.",
    "Health": "For health checks.",
    "Documentation": "This document, and a page to browse it.",
}

#: The schema of what streams tell.
_EVENT = "StreamEvent"

_PATH_PARAMETERS: dict[str, dict[str, Any]] = {
    "id": {"description": "The task's id.", "schema": {"type": "string", "format": "uuid"}},
    "key": {"description": "The key's id.", "schema": {"type": "string"}},
    "file": {"description": "A file of the page.", "schema": {"type": "string", "enum": list(FILES)}},
}


#: How a request may show whose it is.
_SCHEMES: dict[str, Any] = {
    "key": {"type": "http", "scheme": "bearer", "description": "A key: `tq_...`."},
    "session": {"type": "apiKey", "in": "cookie", "name": COOKIE, "description": "Of a page that took a key."},
}


def document(routes: Iterable[Route], *, keys: bool = False) -> dict[str, Any]:
    """The document of these routes.

    Args:
        keys: whether they are asked for.
    """
    routes = list(routes)
    schemas = _schemas([route.operation for route in routes]) | {_EVENT: _event(EventData)}
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route) | (
            _security(route) if keys else {}
        )
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "taskqueue",
            "version": VERSION,
            "description": _ABOUT.strip(),
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "tags": [{"name": name, "description": text} for name, text in _GROUPS.items()],
        "paths": paths,
        "components": {"schemas": dict(sorted(schemas.items()))} | ({"securitySchemes": _SCHEMES} if keys else {}),
    }


def _schemas(operations: list[Operation]) -> dict[str, Any]:
    """The schemas of all bodies and answers, by model."""
    contents = [
        content
        for operation in operations
        for content in (
            *operation.body,
            *(part for answer in operation.answers.values() for part in answer.content),
        )
    ]
    models = dict.fromkeys(content.model for content in contents if content.model)
    _, schemas = models_json_schema(
        [(model, "validation") for model in models], ref_template="#/components/schemas/{model}"
    )
    return {name: _untitled(schema) for name, schema in schemas["$defs"].items()}


def _operation(route: Route) -> dict[str, Any]:
    operation = route.operation
    told: dict[str, Any] = {
        "operationId": operation.id,
        "tags": [operation.group],
        "summary": operation.summary,
    }
    needs = "Open to all." if operation.role is None else f"Needs the role `{operation.role}`."
    if operation.role not in {None, Role.ADMIN} and not operation.narrows:
        needs += " Not for keys that are bound to some tasks."
    told["description"] = f"{operation.description} {needs}".strip()
    parameters = [
        *(_path_parameter(name) for name in re.findall(r"{(\w+)}", route.path)),
        *(_query_parameters(operation.query) if operation.query else ()),
        *(
            {"name": header.name, "in": "header", **_header(header)}
            for header in (*operation.headers, headers.REQUEST_ID)
        ),
    ]
    told["parameters"] = parameters
    if operation.body:
        told["requestBody"] = {"required": True, "content": _contents(operation.body)}
    told["responses"] = _answers(operation.answers)
    return told


def _security(route: Route) -> dict[str, Any]:
    """What is told beside where keys are asked for."""
    role = route.operation.role
    if role is None:
        return {"security": []}
    answered = {**route.operation.answers, 401: answers.NO_KEY}
    answered[403] = answers.FOREIGN_OR_TOO_LOW if 403 in answered else answers.TOO_LOW
    return {
        "security": [{name: [role.value]} for name in _SCHEMES],
        "responses": _answers(answered),
    }


def _path_parameter(name: str) -> dict[str, Any]:
    return {"name": name, "in": "path", "required": True, **_PATH_PARAMETERS[name]}


def _query_parameters(model: type[BaseModel]) -> Iterable[dict[str, Any]]:
    schema = _untitled(model.model_json_schema(ref_template="#/components/schemas/{model}"))
    for name, field in schema["properties"].items():
        description = field.pop("description")
        if field.get("type") == "array":
            description += " Several: given more than once, or separated by commas."
        yield {"name": name, "in": "query", "description": description, "schema": _never_null(field)}


def _never_null(schema: dict[str, Any]) -> dict[str, Any]:
    """Without the null that stands for a parameter that was not given."""
    match schema:
        case {"anyOf": [some, {"type": "null"}], "default": None}:
            return dict(some)
        case {"anyOf": [*several, {"type": "null"}], "default": None}:
            return {"anyOf": several}
        case _:
            return schema


def _answers(told: Mapping[int, Answer]) -> dict[str, Any]:
    return {str(status): _answer(answer) for status, answer in sorted(told.items())}


def _answer(answer: Answer) -> dict[str, Any]:
    told: dict[str, Any] = {"description": answer.description}
    told["headers"] = {
        header.name: _header(header) | {"required": header.always}
        for header in (*answer.headers, headers.ANSWERED_ID)
    }
    if answer.content:
        told["content"] = _contents(answer.content)
    return told


def _header(header: Header) -> dict[str, Any]:
    schema = {"type": "string"} | ({"pattern": header.pattern} if header.pattern else {})
    return {"description": header.description, "schema": schema, "example": header.example}


def _contents(contents: Iterable[Content]) -> dict[str, Any]:
    return {
        content.media_type: {"schema": _schema_of(content)}
        | ({"examples": {name: {"value": value} for name, value in content.examples.items()}})
        for content in contents
    }


def _schema_of(content: Content) -> dict[str, Any]:
    if content.model is None:
        return {"type": "string"}
    if content.media_type == SSE:
        return _reference(_EVENT)
    assert content.media_type == JSON, "nothing says how a model describes another media type"
    return _reference(content.model.__name__)


def _reference(name: str) -> dict[str, Any]:
    return {"$ref": f"#/components/schemas/{name}"}


def _event(data: type[BaseModel]) -> dict[str, Any]:
    """One event of a stream; OpenAPI 3.2 would call it the item's schema."""
    nothing = {"type": "object", "maxProperties": 0}
    return {
        "type": "object",
        "description": "One of the events.",
        "properties": {
            "event": {"type": "string", "enum": ["status", "progress", "reset"]},
            "id": {"type": "string", "pattern": "^[0-9]+$"},
            "data": {
                "type": "string",
                "contentMediaType": JSON,
                "contentSchema": {"anyOf": [_reference(data.__name__), nothing]},
                "description": "JSON; {} of a `reset`.",
            },
        },
        "required": ["event", "id", "data"],
    }


def _untitled(schema: Any) -> Any:
    """Without the titles that pydantic makes from names."""
    match schema:
        case dict():
            return {
                name: _untitled(value)
                for name, value in schema.items()
                if not (name == "title" and isinstance(value, str))
            }
        case list():
            return [_untitled(item) for item in schema]
        case _:
            return schema
