"""The terms in which the API is told, and a route with what is told of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from aiohttp.typedefs import Handler
from pydantic import BaseModel

from taskqueue.contract.keys import Role

JSON, SSE = "application/json", "text/event-stream"


@dataclass(frozen=True, slots=True)
class Header:
    """A header of a request or of an answer."""

    name: str
    description: str
    example: str
    pattern: str | None = None
    #: Of an answer: it is always there.
    always: bool = False


@dataclass(frozen=True, slots=True)
class Content:
    """A body in one media type."""

    #: What JSON is; of a stream, the data of an event.
    model: type[BaseModel] | None
    #: By what each one shows; as text where the media type is not JSON.
    examples: Mapping[str, Any] = field(default_factory=dict)
    media_type: str = JSON


@dataclass(frozen=True, slots=True)
class Answer:
    """What a request may be answered with one status; without content it has no body."""

    description: str
    content: tuple[Content, ...] = ()
    headers: tuple[Header, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """What a request can ask for: all that a client can know of it."""

    id: str
    group: str
    #: Which its holder needs, or one above it; None: it is open to all.
    role: Role | None
    #: Whether it is for keys that are bound to some tasks, too: its handler shows and touches theirs only.
    narrows: bool = False
    summary: str
    description: str = ""
    query: type[BaseModel] | None = None
    headers: tuple[Header, ...] = ()
    body: tuple[Content, ...] = ()
    #: By status.
    answers: Mapping[int, Answer]

    @property
    def streams(self) -> bool:
        """Whether it answers with events, as they happen."""
        return any(content.media_type == SSE for answer in self.answers.values() for content in answer.content)


@dataclass(frozen=True, slots=True)
class Route:
    """A method of a path: what handles it, and what is told of it."""

    method: Literal["GET", "POST", "DELETE"]
    path: str
    handler: Handler
    operation: Operation


def answer(description: str, model: type[BaseModel], example: Any, *headers: Header) -> Answer:
    """An answer in JSON, with an example."""
    return Answer(description, (Content(model, {"example": example}),), headers)
