"""Handlers as actions: what each takes is read from its signature."""

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import typing_extensions
from pydantic import ConfigDict, PydanticUserError, TypeAdapter

from taskqueue.actions.context import TaskContext
from taskqueue.actions.options import Options

#: It returns the result, now or when awaited.
Handler = Callable[..., Any]

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
    options: Options

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
            data: a JSON object, as text; it is validated as JSON, and as the action's options say.

        Raises:
            pydantic.ValidationError: `data` doesn't fit the handler's parameters.
        """
        arguments = self.arguments.validate_json(data)
        if self.context_parameter:
            arguments[self.context_parameter] = context
        return lambda: self.function(**arguments)

    def schema(self) -> dict[str, Any]:
        """The JSON Schema of its arguments."""
        try:
            return self.arguments.json_schema()
        except PydanticUserError:  # a type that validates by a function of its own
            return {}


def read_signature(name: str, function: Handler, options: Options) -> Action:
    """The action of this name that a function handles.

    Raises:
        HandlersError: its parameters can't be filled from a JSON object.
    """
    members: dict[str, Any] = {}
    context_parameter = None
    config = ConfigDict(strict=options.validate_ == "strict", extra="forbid")
    for parameter in inspect.signature(function, eval_str=True).parameters.values():
        annotation = parameter.annotation
        if annotation is TaskContext:
            context_parameter = parameter.name
        elif parameter.kind is parameter.VAR_KEYWORD:
            config["extra"] = "allow"
        elif parameter.kind in (parameter.POSITIONAL_ONLY, parameter.VAR_POSITIONAL):
            raise HandlersError(f"action {name!r}: parameter {parameter.name!r} can't be passed by name")
        else:
            if annotation is parameter.empty or options.validate_ is False:
                annotation = Any
            required = parameter.default is parameter.empty
            members[parameter.name] = annotation if required else typing_extensions.NotRequired[annotation]
    arguments: Any = _typed_dict(name, members)
    arguments.__pydantic_config__ = config
    try:
        return Action(name, function, TypeAdapter(arguments), context_parameter, options)
    except PydanticUserError as error:
        raise HandlersError(f"action {name!r}: {error}") from error
