"""The OpenAPI document, as what real answers are held against."""

import copy
import json
from dataclasses import dataclass
from typing import Any, Self

from aiohttp import ClientResponse
from jsonschema_rs import Draft202012Validator
from tests.integration.system import System

#: Headers of any answer, which the document doesn't tell for each.
EVERYWHERE = {
    "Cache-Control",
    "Connection",
    "Content-Encoding",
    "Content-Length",
    "Content-Security-Policy",
    "Content-Type",
    "Date",
    "Server",
    "Transfer-Encoding",
    "Vary",
    "X-Content-Type-Options",
}


@dataclass
class Reply:
    """What a request was answered, as it came."""

    status: int
    content_type: str
    headers: dict[str, str]
    body: bytes

    @classmethod
    async def read(cls, response: ClientResponse) -> Self:
        headers = {name.title(): value for name, value in response.headers.items()}
        return cls(response.status, response.content_type, headers, await response.read())

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Described:
    """The document. Its objects are taken to have no members but those that it tells."""

    def __init__(self, document: dict[str, Any]) -> None:
        self.document = document
        self._components = _closed(copy.deepcopy(document["components"]))
        self.operations: dict[str, tuple[str, str, dict[str, Any]]] = {
            operation["operationId"]: (method.upper(), path, operation)
            for path, methods in document["paths"].items()
            for method, operation in methods.items()
        }

    @classmethod
    async def read(cls, system: System) -> Self:
        return cls((await system.get("/openapi.json")).body)

    def answers(self, id: str) -> dict[int, dict[str, Any]]:
        """What the operation may be answered, by status."""
        return {int(status): answer for status, answer in self.operations[id][2]["responses"].items()}

    def check(self, id: str, reply: Reply) -> None:
        """Hold a reply against what the document says of it."""
        answers = self.answers(id)
        assert reply.status in answers, f"{id} answered {reply.status}, which is not documented: {reply.body!r}"
        answer = answers[reply.status]
        if "content" not in answer:
            assert not reply.body
        else:
            assert reply.content_type in answer["content"], reply.content_type
            self.check_body(answer["content"][reply.content_type]["schema"], reply)
        headers = {name.title(): header for name, header in answer.get("headers", {}).items()}
        assert {name for name, header in headers.items() if header["required"]} <= reply.headers.keys()
        assert reply.headers.keys() <= headers.keys() | {name.title() for name in EVERYWHERE}

    def check_body(self, schema: dict[str, Any], reply: Reply) -> None:
        if reply.content_type == "text/event-stream":
            for event in events(reply.body.decode()):
                self.check_event(schema, event)
        elif reply.content_type == "application/json":
            self.check_value(schema, reply.json)
        else:
            assert schema == {"type": "string"}

    def check_event(self, schema: dict[str, Any], event: dict[str, str]) -> None:
        self.check_value(schema, event)
        whole = self.document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
        self.check_value(whole["properties"]["data"]["contentSchema"], json.loads(event["data"]))

    def check_value(self, schema: dict[str, Any], value: Any) -> None:
        whole = schema | {"components": self._components}
        # Its regular expressions are those of ECMAScript, as the standard has it.
        Draft202012Validator(whole, validate_formats=True).validate(value)


def events(stream: str) -> list[dict[str, str]]:
    """The events of a stream; comments are none."""
    blocks = [block.splitlines() for block in stream.split("\n\n") if block and not block.startswith(":")]
    return [dict(line.split(": ", 1) for line in block) for block in blocks]


def _closed(schema: Any) -> Any:
    """With no room for members that aren't told."""
    match schema:
        case dict():
            if schema.get("type") == "object" and "properties" in schema:
                schema.setdefault("additionalProperties", False)
            for value in schema.values():
                _closed(value)
        case list():
            for item in schema:
                _closed(item)
    return schema
