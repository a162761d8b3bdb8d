"""Handlers as actions: what each takes is read from its signature."""

import functools
import inspect
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import typing_extensions
from pydantic import ConfigDict, PydanticUserError, TypeAdapter

from taskqueue.actions.accepts import accepted
from taskqueue.actions.context import TaskContext

#: What a handler may return: a JSON object, now or when awaited.
Handler = Callable[..., "dict[str, Any] | Awaitable[dict[str, Any]]"]

#: The actions that ship, by their module and name.
SHIPPED = {("handlers.examples", name) for name in ("uppercase", "sum", "*")}

#: Makes a class at run time, for pydantic alone: nothing that a type checker could follow.
_typed_dict: Any = typing_extensions.TypedDict


class HandlersError(Exception):
    """The handlers can't be loaded. The text says which and why."""


@dataclass(frozen=True, slots=True)
class Action:
    """A handler, and what it takes."""

    name: str
    function: Handler
    #: Validates a task's `data`; its JSON Schema describes the action.
    arguments: TypeAdapter[dict[str, Any]]
    context_parameter: str | None

    @property
    def is_async(self) -> bool:
        """Whether it runs on the event loop; others run in a thread."""
        function: Any = self.function
        while isinstance(function, functools.partial):
            function = function.func
        # Of an object, its class says how it is called.
        return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(type(function).__call__)

    def bind(self, data: str, context: TaskContext) -> Callable[[], Any]:
        """The handler's call for one task.

        Args:
            data: a JSON object, as text; it is validated strictly, as JSON.

        Raises:
            pydantic.ValidationError: `data` doesn't fit the handler's parameters.
        """
        arguments = self.arguments.validate_json(data)
        if self.context_parameter:
            arguments[self.context_parameter] = context
        return lambda: self.function(**arguments)

    @property
    def ships(self) -> bool:
        """Whether it is one of those that ship, and not somebody's own."""
        return (getattr(self.function, "__module__", None), self.name) in SHIPPED

    @property
    def package(self) -> str:
        """The top-level package or module that it is from."""
        return str(getattr(self.function, "__module__", "")).partition(".")[0]

    def accepts(self) -> dict[str, Any]:
        """The JSON Schema of what a worker accepts, or more: other data is refused before it is stored."""
        return accepted(self.arguments.core_schema)

    def schema(self) -> dict[str, Any]:
        """The JSON Schema of its arguments."""
        try:
            return self.arguments.json_schema()
        except PydanticUserError:  # a type that validates by a function of its own
            return {}


def read_signature(name: str, function: Handler) -> Action:
    """The action of this name that a function handles.

    Raises:
        HandlersError: its parameters can't be filled from a JSON object.
    """
    members: dict[str, Any] = {}
    context_parameter = None
    config = ConfigDict(strict=True, extra="forbid")
    for parameter in inspect.signature(function, eval_str=True).parameters.values():
        annotation = Any if parameter.annotation is parameter.empty else parameter.annotation
        if annotation is TaskContext:
            context_parameter = parameter.name
        elif parameter.kind is parameter.VAR_KEYWORD:
            config["extra"] = "allow"
        elif parameter.kind in (parameter.POSITIONAL_ONLY, parameter.VAR_POSITIONAL):
            raise HandlersError(f"action {name!r}: parameter {parameter.name!r} can't be passed by name")
        else:
            required = parameter.default is parameter.empty
            members[parameter.name] = annotation if required else typing_extensions.NotRequired[annotation]
    arguments: Any = _typed_dict(name, members)
    arguments.__pydantic_config__ = config
    try:
        return Action(name, function, TypeAdapter(arguments), context_parameter)
    except PydanticUserError as error:
        raise HandlersError(f"action {name!r}: {error}") from error
