"""The registry of actions: what a file of handlers imports, and where the worker looks a task's action up.

    from taskqueue import action

    @action
    async def greet(name: str) -> dict:
        return {"output": f"hello {name}"}

The members of a task's `data` are the function's keyword arguments, checked against its annotations.
"""

import importlib
import inspect
import json
import pkgutil
import threading
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, overload

import typing_extensions
from pydantic import ConfigDict, PydanticUserError, TypeAdapter

#: What a handler may return: a JSON object, now or when awaited.
Handler = Callable[..., "dict[str, Any] | Awaitable[dict[str, Any]]"]

#: The name under which the handler of all other actions registers.
FALLBACK = "*"

_YEAR = 366 * 86_400


class Retry(Exception):  # noqa: N818  # raised to ask for something, like StopIteration
    """Raised by a handler: this attempt failed, try again.

    Args:
        after: seconds until then, at most a year; without it, the usual backoff.

    Raises:
        ValueError: `after` is negative, too long or not a number.
    """

    def __init__(self, reason: str = "the handler asked for a retry", *, after: float | None = None) -> None:
        if after is not None and not 0 <= after <= _YEAR:
            raise ValueError(f"after: {after} is not between 0 and {_YEAR} seconds")
        super().__init__(reason)
        self.after = after


class Reject(Exception):  # noqa: N818  # raised to ask for something, like StopIteration
    """Raised by a handler: fail the task now, whatever attempts it has left."""


class HandlersError(Exception):
    """The handlers can't be loaded. The text says which and why."""


@dataclass(frozen=True, slots=True)
class TaskContext:
    """The task that a handler runs for; passed to a parameter annotated with this class."""

    #: The same on each attempt: use it as an idempotency key.
    id: str
    action: str
    #: 1 for the first attempt.
    attempt: int
    _cancelled: threading.Event = field(default_factory=threading.Event)
    _tell_progress: Callable[[str], None] = lambda progress: None

    @property
    def cancelled(self) -> bool:
        """Whether a plain `def` handler should stop: a client asked to cancel, it is out of time, or the
        worker is stopping. An `async def` handler is cancelled instead."""
        return self._cancelled.is_set()

    def progress(self, fraction: float, message: str | None = None) -> None:
        """Tell how far the task has come: it stands in the task and in the event stream.

        It returns at once, on the loop and in a thread; of many calls in a moment the last one counts.

        Args:
            fraction: between 0 and 1.
            message: a few words, 500 characters at most.

        Raises:
            ValueError: `fraction` or `message` is out of its range.
        """
        if not 0 <= fraction <= 1:
            raise ValueError("progress is a fraction between 0 and 1")
        if message is not None and len(message) > 500:
            raise ValueError("a progress message has 500 characters at most")
        self._tell_progress(json.dumps({"fraction": fraction, "message": message}))


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
        return inspect.iscoroutinefunction(self.function)

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


_registry: dict[str, Action] = {}

#: Makes a class at run time, for pydantic alone: nothing that a type checker could follow.
_typed_dict: Any = typing_extensions.TypedDict


@overload
def action(name: str) -> Callable[[Handler], Handler]: ...
@overload
def action(name: Handler) -> Handler: ...
def action(name: str | Handler) -> Callable[[Handler], Handler] | Handler:
    """Register a function as the handler of the action of its name, or of the name given.

    `@action("*")` registers the handler of every action that has no other.

    Raises:
        HandlersError: the name is taken, or the parameters can't be filled from a JSON object.
    """
    if not isinstance(name, str):
        return _register(name.__name__, name)
    return lambda function: _register(name, function)


def find_action(name: str) -> Action | None:
    """The handler of an action: its own, else the fallback, else None."""
    return _registry.get(name) or _registry.get(FALLBACK)


def describe_actions() -> list[dict[str, Any]]:
    """The registered actions, each with its `name` and the JSON Schema of its `arguments`."""
    return [{"name": name, "arguments": _schema(_registry[name])} for name in sorted(_registry)]


def _schema(action: Action) -> dict[str, Any]:
    try:
        return action.arguments.json_schema()
    except PydanticUserError:  # a type that validates by a function of its own
        return {}


def load_handlers(modules: str) -> list[str]:
    """Import modules, and all modules of packages, so that they register their actions.

    Args:
        modules: dotted names separated by commas.

    Returns:
        the names of the actions known now.

    Raises:
        HandlersError: one can't be imported.
    """
    for name in filter(None, (part.strip() for part in modules.split(","))):
        _import(name)
    return sorted(_registry)


def _import(name: str) -> None:
    try:
        module = importlib.import_module(name)
    except HandlersError:
        raise
    except (Exception, SystemExit) as error:
        raise HandlersError(f"handlers {name!r} can't be imported: {type(error).__name__}: {error}") from error
    for child in pkgutil.iter_modules(getattr(module, "__path__", ())):
        _import(f"{name}.{child.name}")


def _register(name: str, function: Handler) -> Handler:
    if name in _registry:
        other = _registry[name].function
        raise HandlersError(f"action {name!r} is registered twice, by {other!r} and {function!r}")
    _registry[name] = _read_signature(name, function)
    return function


def _read_signature(name: str, function: Handler) -> Action:
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
